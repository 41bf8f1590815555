"""What statements bind, change and unbind, along every way through the code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from typing import Any

from nbkube.dataflow.control import Control
from nbkube.dataflow.paths import Path, meet
from nbkube.dataflow.values import (
    Function,
    Value,
)

_ENDS = frozenset({"sys.exit", "os._exit", "builtins.exit", "builtins.quit", "os.abort"})


class Statements(Control):
    """One method per kind of statement, found by `type(node)`."""

    def __init__(self) -> None:
        super().__init__()
        self.statements: dict[type[ast.stmt], Callable[[Any], None]] = {
            ast.Expr: self._expression,
            ast.Assign: self._assign,
            ast.AugAssign: self._augmented,
            ast.AnnAssign: self._annotated,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Match: self._match,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Break: self._break,
            ast.Continue: self._continue,
            ast.Delete: self._delete,
            ast.Assert: self._assert,
        }

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Go through statements until the path ends."""
        table = self.statements
        for one in statements:
            method = table.get(type(one))
            if method is not None:
                method(one)
                if self.path.end:
                    break
            elif not isinstance(one, ast.Pass | ast.Global | ast.Nonlocal):
                self._newer(one)

    def body(self, function: Function) -> None:
        """Fill the frame from a function's body."""
        path, saved = self.path, self.exits
        exits: list[dict[str, int]] = []
        self.exits = exits
        if isinstance(function.node, ast.Lambda):
            self.frame.returns = self.evaluate(function.node.body)
        else:
            self.block(function.node.body)
        self.exits = saved
        if path.end != "raise" or exits:
            ends = exits if path.end else [*exits, path.bound]
            final = Path()
            meet(final, ends)
            self.frame.bound = final.bound

    def _newer(self, node: ast.stmt) -> None:
        """`type X = …` (3.12) and what later versions add."""
        name = getattr(node, "name", None)
        if isinstance(name, ast.Name):
            value = getattr(node, "value", None)
            carries: tuple[Function, ...] = ()
            if isinstance(value, ast.expr):
                empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
                carries = (Function(ast.copy_location(ast.Lambda(empty, value), node), self.cell, self.scope),)
            self.store(name.id, Value(carries=carries), node.lineno)

    # --- simple statements -----------------------------------------------------------------------------------

    def _expression(self, node: ast.Expr) -> None:
        value = node.value
        self.evaluate(value)
        if isinstance(value, ast.Call) and self._leaves(value.func):
            self.path.end = "raise" if self.path.parent is not None or self.looked is not None else ""

    def _leaves(self, func: ast.expr) -> bool:
        if isinstance(func, ast.Name):
            return func.id in ("exit", "quit") and func.id not in self.values
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in ("sys", "os"):
            return f"{func.value.id}.{func.attr}" in _ENDS
        return False
