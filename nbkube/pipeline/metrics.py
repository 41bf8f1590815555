"""The names of a run's metrics, read off the cells tagged `pipeline-metrics`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from nbkube.dataflow.parse import parse_cell
from nbkube.notebook.model import Cell


def metric_names(cells: Iterable[Cell]) -> tuple[str, ...]:
    """Return the variables whose values are metrics: assigned, printed or shown at the top level of the cells."""
    names: dict[str, None] = {}
    for cell in cells:
        tree = parse_cell(cell).tree
        for statement in tree.body if tree else ():
            for name in _of_statement(statement):
                if not name.startswith("_"):
                    names[name] = None
    return tuple(names)


def _of_statement(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Expr):
        yield from _of_expression(statement.value)
    elif isinstance(statement, ast.Assign):
        for target in statement.targets:
            yield from _targets(target)
    elif isinstance(statement, ast.AugAssign) or (isinstance(statement, ast.AnnAssign) and statement.value):
        yield from _targets(statement.target)


def _of_expression(value: ast.expr) -> Iterator[str]:
    """Names in `print(a)`, `print("a:", a)`, `print(f"{a:.3f}")`, `a`, `a, b`, `{"a": a}`."""
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("print", "display"):
        for argument in value.args:
            yield from _plain(argument)
    elif not isinstance(value, ast.Call):
        yield from _plain(value)


def _plain(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Name):
        yield value.id
    elif isinstance(value, ast.Tuple | ast.List):
        for one in value.elts:
            yield from _plain(one)
    elif isinstance(value, ast.Dict):
        for one in value.values:
            yield from _plain(one)
    elif isinstance(value, ast.JoinedStr):
        for one in value.values:
            if isinstance(one, ast.FormattedValue):
                yield from _plain(one.value)


def _targets(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple | ast.List):
        for one in target.elts:
            yield from _targets(one)
