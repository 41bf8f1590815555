"""Which names a function binds itself: Python's scope rules, as far as data flow needs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from nbkube.dataflow.values import Function

_DEFINITIONS = frozenset({ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef})
_COMPREHENSIONS = frozenset({ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp})
_BINDING = frozenset({ast.Import, ast.ImportFrom, ast.ExceptHandler, ast.MatchAs, ast.MatchStar, ast.MatchMapping})
_YIELDS = frozenset({ast.Yield, ast.YieldFrom})
_LEAVES = frozenset({str, int, float, bool, complex, bytes, type(None), type(...), ast.Constant, ast.Pass, ast.Break,
    ast.Continue, ast.Load, ast.Store, ast.Del})  # fmt: skip


def parameters(arguments: ast.arguments) -> list[str]:
    """All parameter names, positional first, `*args` and `**kwargs` last."""
    names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    names.extend(one.arg for one in (arguments.vararg, arguments.kwarg) if one is not None)
    return names


def prepare(function: Function) -> None:
    """Fill in the names that `function` binds, and those it declares global or nonlocal."""
    node = function.node
    local = set(parameters(node.args))
    declared: dict[str, set[str]] = {"global": set(), "nonlocal": set()}
    body = [node.body] if isinstance(node, ast.Lambda) else node.body
    for one in body:
        _bound(one, local, declared)
    function.generator = "yield" in declared
    function.global_names = frozenset(declared["global"])
    function.nonlocal_names = frozenset(declared["nonlocal"])
    function.local = frozenset(local - declared["global"] - declared["nonlocal"])
    function.prepared = True


def _bound(node: ast.AST, local: set[str], declared: dict[str, set[str]]) -> None:
    stack: list[Any] = [node]
    while stack:
        one = stack.pop()
        kind = type(one)
        if kind is ast.Name:
            if type(one.ctx) is not ast.Load:
                local.add(one.id)
        elif kind in _LEAVES:
            continue
        elif kind in _DEFINITIONS:
            local.add(one.name)
            stack.extend(one.decorator_list)
            if kind is not ast.ClassDef:
                stack.extend((*one.args.defaults, *(default for default in one.args.kw_defaults if default)))
        elif kind is ast.Lambda:
            stack.extend((*one.args.defaults, *(default for default in one.args.kw_defaults if default)))
        elif kind in _COMPREHENSIONS:
            local.update(walrus_names(one))
        elif kind is ast.Global:
            declared["global"].update(one.names)
        elif kind is ast.Nonlocal:
            declared["nonlocal"].update(one.names)
        else:
            if kind in _BINDING:
                _other(one, local)
            elif kind in _YIELDS:
                declared["yield"] = set()
            for name in one._fields:
                part = getattr(one, name, None)
                if type(part) is list:
                    stack.extend(part)
                elif part is not None:
                    stack.append(part)


def _other(one: ast.AST, local: set[str]) -> None:
    if isinstance(one, ast.Import | ast.ImportFrom):
        local.update((alias.asname or alias.name.partition(".")[0]) for alias in one.names if alias.name != "*")
    elif isinstance(one, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and one.name:
        local.add(one.name)
    elif isinstance(one, ast.MatchMapping) and one.rest:
        local.add(one.rest)


def walrus_names(comprehension: ast.AST) -> Iterator[str]:
    """Names that `:=` inside a comprehension binds in the scope around it."""
    for one in ast.walk(comprehension):
        if isinstance(one, ast.NamedExpr) and isinstance(one.target, ast.Name):
            yield one.target.id
