"""Which names a function binds itself: Python's scope rules, as far as data flow needs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from nbkube.dataflow.values import Function

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


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
    function.global_names = frozenset(declared["global"])
    function.nonlocal_names = frozenset(declared["nonlocal"])
    function.local = frozenset(local - declared["global"] - declared["nonlocal"])
    function.prepared = True


def _bound(node: ast.AST, local: set[str], declared: dict[str, set[str]]) -> None:
    stack: list[ast.AST] = [node]
    while stack:
        one = stack.pop()
        kind = type(one)
        if kind is ast.Name:
            if not isinstance(one.ctx, ast.Load):  # type: ignore[attr-defined]
                local.add(one.id)  # type: ignore[attr-defined]
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            local.add(one.name)
            stack.extend(one.decorator_list)
            if not isinstance(one, ast.ClassDef):
                stack.extend((*one.args.defaults, *(default for default in one.args.kw_defaults if default)))
        elif isinstance(one, ast.Lambda):
            stack.extend((*one.args.defaults, *(default for default in one.args.kw_defaults if default)))
        elif isinstance(one, _COMPREHENSIONS):
            local.update(walrus_names(one))
        elif isinstance(one, ast.Global):
            declared["global"].update(one.names)
        elif isinstance(one, ast.Nonlocal):
            declared["nonlocal"].update(one.names)
        else:
            _other(one, local)
            stack.extend(ast.iter_child_nodes(one))


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


def is_generator(function: Function) -> bool:
    """Whether calling it makes a generator."""
    node = function.node
    stack: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
    while stack:
        one = stack.pop()
        if isinstance(one, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(one, (*_FUNCTIONS, ast.ClassDef)):
            stack.extend(ast.iter_child_nodes(one))
    return False
