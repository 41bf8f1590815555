"""Cell text to syntax tree: plain Python first, IPython syntax only where that fails."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from nbkube.dataflow.escapes import Escape, Transformed, transform
from nbkube.errors import Diagnostic, Place
from nbkube.notebook.model import Cell


class Parsed(NamedTuple):
    """A cell as a tree. Lines count from 1 in `cell.source`; `line()` turns them into lines of the cell.

    `tree` is None if the text is neither Python nor IPython: `error` then holds message and line. `escapes` are what
    the placeholder calls in the tree stand for, `heads` the opening cell magics whose body is the tree.
    """

    cell: Cell
    tree: ast.Module | None
    source: str
    escapes: tuple[Escape, ...] = ()
    heads: tuple[Escape, ...] = ()
    error: tuple[str, int] | None = None


def parse_cell(cell: Cell) -> Parsed:
    """The syntax tree of `cell`, with the lines it has in the cell's source."""
    with quiet():
        return parse_quietly(cell)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that compiling user code may print."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse_quietly(cell: Cell) -> Parsed:
    """`parse_cell` for callers that hold `quiet()` around many cells."""
    source = cell.source
    try:
        return Parsed(cell, parse_python(source), source)
    except (SyntaxError, ValueError):
        pass
    transformed = transform(source)
    try:
        tree = parse_python(transformed.source)
    except (SyntaxError, ValueError) as error:
        return _by_ipython(cell, transformed, error)
    return Parsed(cell, tree, transformed.source, transformed.escapes, transformed.heads)


def parse_python(source: str) -> ast.Module:
    """`ast.parse` with one kind of error."""
    try:
        return ast.parse(source)
    except (RecursionError, MemoryError) as error:
        raise SyntaxError("the code is nested too deeply") from error


def _by_ipython(cell: Cell, transformed: Transformed, error: SyntaxError | ValueError) -> Parsed:
    """The last word on what IPython accepts; only for text that our own rules cannot read."""
    from IPython.core.inputtransformer2 import TransformerManager

    if any(mark in cell.source for mark in "%!?>"):
        try:
            python = TransformerManager().transform_cell(cell.source)
            return Parsed(cell, parse_python(python), python)
        except (SyntaxError, ValueError, IndexError):
            pass
    line = getattr(error, "lineno", None) or 1
    message = getattr(error, "msg", None) or str(error)
    return Parsed(cell, None, transformed.source, error=(message, line))


def place(file: str, cell: Cell, line: int | None) -> Place:
    """The place of a source line of `cell`."""
    return Place(file, cell.number, cell.id, None if line is None else line + cell.first_line - 1)


def syntax_diagnostic(file: str, parsed: Parsed) -> Diagnostic:
    """What to tell about a cell that cannot be parsed."""
    message, line = parsed.error or ("invalid syntax", 1)
    lines = parsed.cell.source.split("\n")
    shown = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    detail = f": `{shown[:80]}`" if shown else ""
    return Diagnostic(
        "error",
        "syntax-error",
        place(file, parsed.cell, line),
        f"This cell is not valid Python ({message}){detail}.",
        "Correct the line, or tag the cell `skip` to leave it out.",
    )
