"""Assignments, imports and definitions: what binds names and changes objects."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from nbkube.dataflow import tables
from nbkube.dataflow.expressions import Expressions
from nbkube.dataflow.values import (
    IMMUTABLE,
    IMPORTED,
    MODULE,
    Carried,
    Class,
    Function,
    Scope,
    Value,
)


class Bindings(Expressions):
    """Statements that bind, change or unbind."""

    def _assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if len(node.targets) == 1 and _paired(target, node.value):
            # `a, b = b, a`: all is evaluated before anything is bound.
            parts = [self.evaluate(one) for one in node.value.elts]  # type: ignore[attr-defined]
            for one, part in zip(target.elts, parts, strict=True):  # type: ignore[attr-defined]
                self.assign(one, part)
            return
        value = self.evaluate(node.value)
        for target in node.targets:
            if type(target) is ast.Name:
                self.store(target.id, value, node.lineno)
                if len(node.targets) > 1 and self.scope is None:
                    # `a = b = []`: both names stand for the one new object.
                    value = self.values.get(target.id, value)
            elif isinstance(target, ast.Tuple | ast.List):
                self.assign(target, self.iterate(value, node.lineno))
            else:
                self.assign(target, value)

    def assign(self, target: ast.expr, value: Value | None) -> None:
        """Bind or change `target`."""
        kind = type(target)
        if kind is ast.Name:
            self.store(target.id, value, target.lineno)  # type: ignore[attr-defined]
        elif isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self.assign(one, value)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            self._change_target(target, value)

    def _change_target(self, target: ast.Attribute | ast.Subscript, value: Value | None) -> None:
        base = self.evaluate(target.value)
        if isinstance(target, ast.Subscript):
            self.evaluate(target.slice)
            if self._into_globals(target, value):
                return
        if base is None or not base.roots:
            return
        self.change(base.roots, target.lineno)
        if value is None or value.flags & (IMMUTABLE | IMPORTED):
            return
        if value.carries:
            self.carry(base.roots, value.carries)
        if not base.made or base.made.partition(".")[0] not in tables.DATA_MODULES:
            self.link(base.roots, value.reach)

    def _into_globals(self, target: ast.Subscript, value: Value | None) -> bool:
        """`globals()["x"] = 1` binds x."""
        call = target.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "globals"):
            return False
        if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
            self.store_global(target.slice.value, value)
        return True

    def _augmented(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            old = self.load(target.id, node.lineno)
            added = self.evaluate(node.value)
            if old is not None and not old.flags & IMMUTABLE:
                self.change(old.roots - {target.id}, node.lineno)
            flags = old.flags & added.flags & IMMUTABLE if old is not None and added is not None else 0
            self.store(target.id, Value(flags=flags) if flags else old, node.lineno)
        else:
            self.evaluate(node.value)
            self._change_target(target, None)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if self.scope is None or self.scope.kind == "class":
            self.annotation(node.annotation)
        value = self.evaluate(node.value) if node.value is not None else None
        if node.value is not None:
            self.assign(node.target, value)
        elif isinstance(node.target, ast.Attribute | ast.Subscript):
            self.evaluate(node.target.value)

    future_annotations = sys.version_info >= (3, 14)
    """Whether annotations are not evaluated: `from __future__ import annotations` holds, or Python is 3.14 or newer."""

    def annotation(self, node: ast.expr | None) -> None:
        """Annotations are read where they are evaluated."""
        if node is not None and not self.future_annotations:
            self.evaluate(node)

    def _delete(self, node: ast.Delete) -> None:
        stack: list[ast.expr] = list(node.targets)
        for target in stack:
            if isinstance(target, ast.Name):
                self.unbind(target.id, node.lineno)
            elif isinstance(target, ast.Tuple | ast.List):
                stack.extend(target.elts)
            elif isinstance(target, ast.Attribute | ast.Subscript):
                self._change_target(target, None)

    def _assert(self, node: ast.Assert) -> None:
        self.evaluate(node.test)
        if node.msg is not None:
            self.path.maybe += 1
            self.evaluate(node.msg)
            self.path.maybe -= 1

    def _import(self, node: ast.Import) -> None:
        top = self.looked is None and self.scope is None and self.path.parent is None
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            dotted = alias.name if alias.asname else name
            self._bind_import(name, dotted, node.lineno, MODULE, replayed=top)

    def _import_from(self, node: ast.ImportFrom) -> None:
        top = self.looked is None and self.scope is None and self.path.parent is None
        module = "." * node.level + (node.module or "")
        if module == "__future__":
            self.future_annotations |= any(alias.name == "annotations" for alias in node.names)
        for alias in node.names:
            if alias.name == "*":
                self.frame.effects |= tables.DYNAMIC
            else:
                self._bind_import(alias.asname or alias.name, f"{module}.{alias.name}", node.lineno, 0, replayed=top)

    def _bind_import(self, name: str, dotted: str, line: int, flags: int, *, replayed: bool) -> None:
        if dotted == "__main__":
            self.frame.effects |= tables.DYNAMIC
        if tables.is_inspecting(dotted):
            self.frame.effects |= tables.INSPECTS
        if self.scope is not None and name not in self.scope.global_names:
            self.store(name, Value(dotted=dotted, flags=IMPORTED | flags), line)
        elif replayed:
            self.store_global(name, Value(dotted=dotted), imported=IMPORTED | flags)
            self.imported(name)
        else:
            self.store_global(name, Value(dotted=dotted))

    def imported(self, name: str) -> None:
        """A replayed import has bound `name`."""
        raise NotImplementedError

    # --- definitions -----------------------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        value = self._decorated(node, self.function(node))
        self.store(node.name, value, node.lineno)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
        """A function object: defaults and annotations are evaluated now, the body when it is called."""
        kept = self.defaults(node.args)
        arguments = node.args
        with self.type_parameters(node):
            for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                self.annotation(one.annotation)
            for extra in (arguments.vararg, arguments.kwarg):
                if extra is not None:
                    self.annotation(extra.annotation)
            self.annotation(node.returns)
        function = Function(node, self.cell, self._type_scope(node))
        return Value(carries=(function,), inner=kept.inner if kept is not None else frozenset())

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, value: Value) -> Value:
        """Decorators are called with the definition; what they return still carries it."""
        for decorator in reversed(node.decorator_list):
            wrapper = self.evaluate(decorator)
            if wrapper is None:
                continue
            if wrapper.dotted:
                self.frame.effects |= tables.library_effects(wrapper.dotted) & tables.INSPECTS
            if wrapper.carries:
                made = self.definitions(wrapper, [value], {}, node.lineno)
                inner = made.carries if made is not None else ()
                together = tuple(dict.fromkeys((*inner, *value.carries)))
                value = Value(carries=together, inner=value.inner | wrapper.reach)
        return value

    def _class(self, node: ast.ClassDef) -> None:
        carries: list[Carried] = []
        outer = self.scope
        with self.type_parameters(node):
            for base in node.bases:
                value = self.evaluate(base)
                if value is not None:
                    carries.extend(value.carries)
            for keyword in node.keywords:
                self.evaluate(keyword.value)
        made = Class(node.name, bases=tuple(carries))
        scope = Scope({"__module__", "__qualname__"}, self._type_scope(node), kind="class")
        self.scope = scope
        for one in node.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                self._add_method(one, made)
            else:
                self.block((one,))
        self.scope = outer
        roots: set[str] = set()
        for inner in scope.values.values():
            if inner is not None and not inner.flags & (IMMUTABLE | IMPORTED):
                roots |= inner.reach
        value = self._decorated(node, Value(carries=(made,), inner=frozenset(roots)))
        self.store(node.name, value, node.lineno)

    def _type_scope(self, node: ast.stmt) -> Scope | None:
        """The scope around a definition, with its type parameters (3.12), which shadow names outside."""
        names = {str(getattr(one, "name", "")) for one in getattr(node, "type_params", ())}
        return Scope(names, self.scope, kind="block") if names else self.scope

    @contextmanager
    def type_parameters(self, node: ast.stmt) -> Iterator[None]:
        """Evaluate annotations and bases where the type parameters of `node` are known."""
        outer = self.scope
        self.scope = self._type_scope(node)
        try:
            yield
        finally:
            self.scope = outer

    def _add_method(self, node: ast.FunctionDef | ast.AsyncFunctionDef, made: Class) -> None:
        value = self.function(node)
        function = next(one for one in value.carries if isinstance(one, Function))
        function.owner = made
        value = self._decorated(node, value)
        for decorator in node.decorator_list:
            name = ast.unparse(decorator).rpartition(".")[2].partition("(")[0]
            if name in ("staticmethod", "classmethod", "property", "cached_property", "setter", "getter"):
                function.kind = {"staticmethod": "static", "classmethod": "class"}.get(name, "property")  # type: ignore[assignment]
        made.methods[node.name] = function
        self.store(node.name, value, node.lineno)


def _paired(target: ast.expr, value: ast.expr) -> bool:
    """Whether both sides of an assignment are displays whose parts correspond."""
    if not isinstance(target, ast.Tuple | ast.List) or not isinstance(value, ast.Tuple | ast.List):
        return False
    starred = any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
    return len(target.elts) == len(value.elts) and not starred
