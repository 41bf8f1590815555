"""Literal assignments of a parameters cell: found, and replaced by given values."""

from __future__ import annotations

import ast
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from nbkube.dataflow.parse import parse_cell
from nbkube.notebook.model import Cell


class AssignedLiteral(NamedTuple):
    """`name = value` at the top level of a cell.

    `annotation` is the annotation's source or "", `help` the comment beside the assignment or right above it, `line`
    counts the lines of the cell from 1.
    """

    name: str
    value: Any
    annotation: str
    help: str
    line: int


class _Literal(NamedTuple):
    name: str
    node: ast.expr
    value: Any
    statement: ast.Assign | ast.AnnAssign


def assigned_literals(cell: Cell) -> list[AssignedLiteral]:
    """The literals that `cell` assigns at its top level, in order; a name assigned again has its last value."""
    lines = cell.source.split("\n")
    found: dict[str, AssignedLiteral] = {}
    for literal in _literals(cell):
        statement = literal.statement
        annotation = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
        line = statement.lineno + cell.first_line - 1
        earlier = found.pop(literal.name, None)
        found[literal.name] = AssignedLiteral(
            literal.name,
            literal.value,
            annotation or (earlier.annotation if earlier else ""),
            _help(lines, literal) or (earlier.help if earlier else ""),
            line,
        )
    return list(found.values())


def substitute(cell: Cell, values: Mapping[str, Any]) -> Cell:
    """`cell` with the literals assigned to the names in `values` replaced; every other line stays in its place."""
    wanted = [literal for literal in _literals(cell) if literal.name in values]
    if not wanted:
        return cell
    source = cell.source.split("\n")
    by_statement: dict[int, list[_Literal]] = {}
    for literal in wanted:
        by_statement.setdefault(id(literal.statement), []).append(literal)
    for literals in reversed(by_statement.values()):
        statement = literals[0].statement
        if isinstance(statement, ast.Assign) and len(statement.targets) > 1:
            _replace(source, statement, _unchained(statement, values))
            continue
        for literal in reversed(literals):
            _replace(source, literal.node, literal_text(values[literal.name]))
    return msgspec.structs.replace(cell, source="\n".join(source))


def literal_text(value: Any) -> str:
    """Python source of a plain value (numbers, text, None, lists, tuples, sets, dicts)."""
    match value:
        case float() if math.isnan(value):
            return "float('nan')"
        case float() if math.isinf(value):
            return "1e999" if value > 0 else "-1e999"
        case list():
            return f"[{', '.join(map(literal_text, value))}]"
        case tuple():
            return f"({', '.join(map(literal_text, value))}{',' if len(value) == 1 else ''})"
        case set() if value:
            return f"{{{', '.join(sorted(map(literal_text, value)))}}}"
        case dict():
            return f"{{{', '.join(f'{literal_text(key)}: {literal_text(one)}' for key, one in value.items())}}}"
        case _:
            return repr(value)


def _literals(cell: Cell) -> Iterator[_Literal]:
    tree = parse_cell(cell).tree
    for statement in tree.body if tree is not None else ():
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                yield from _pairs(target, statement.value, statement)
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            yield from _pairs(statement.target, statement.value, statement)


def _pairs(target: ast.expr, value: ast.expr, statement: ast.Assign | ast.AnnAssign) -> Iterator[_Literal]:
    if isinstance(target, ast.Name):
        try:
            yield _Literal(target.id, value, ast.literal_eval(value), statement)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return
    elif (
        isinstance(target, ast.Tuple | ast.List)
        and isinstance(value, ast.Tuple | ast.List)
        and len(target.elts) == len(value.elts)
        and not any(isinstance(one, ast.Starred) for one in (*target.elts, *value.elts))
    ):
        for one, part in zip(target.elts, value.elts, strict=True):
            yield from _pairs(one, part, statement)


def _help(lines: list[str], literal: _Literal) -> str:
    statement = literal.statement
    end = (statement.end_lineno or statement.lineno) - 1
    beside = _cut(lines[end], statement.end_col_offset or 0)[1].lstrip(" ;")
    if beside.startswith("#"):
        return beside.lstrip("# ").strip()
    above: list[str] = []
    at = statement.lineno - 2
    while at >= 0 and lines[at].lstrip().startswith("#"):
        above.insert(0, lines[at].strip().lstrip("# ").strip())
        at -= 1
    return " ".join(line for line in above if line)


def _unchained(statement: ast.Assign, values: Mapping[str, Any]) -> str:
    """`a = b = 1` as separate assignments, so that one name may have another value."""
    value = ast.unparse(statement.value)
    parts = []
    for target in statement.targets:
        given = isinstance(target, ast.Name) and target.id in values
        text = literal_text(values[target.id]) if given and isinstance(target, ast.Name) else value
        parts.append(f"{ast.unparse(target)} = {text}")
    return "; ".join(parts)


def _replace(lines: list[str], node: ast.expr | ast.stmt, text: str) -> None:
    """Put `text` where `node` is, keeping the number of lines."""
    first, last = node.lineno - 1, (node.end_lineno or node.lineno) - 1
    before = _cut(lines[first], node.col_offset)[0]
    after = _cut(lines[last], node.end_col_offset or 0)[1]
    if last == first:
        lines[first] = before + text + after
    elif isinstance(node, ast.stmt):
        lines[first] = before + text + after
        lines[first + 1 : last + 1] = [""] * (last - first)
    else:
        lines[first] = f"{before}({text}"
        lines[first + 1 : last] = [""] * (last - first - 1)
        lines[last] = ")" + after


def _cut(line: str, offset: int) -> tuple[str, str]:
    """`line` divided at a UTF-8 offset, as the syntax tree counts columns."""
    if line.isascii():
        return line[:offset], line[offset:]
    data = line.encode()
    return data[:offset].decode(), data[offset:].decode()
