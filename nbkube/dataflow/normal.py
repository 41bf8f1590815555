"""The canonical text of a cell, for cache keys: equal for cells that do the same whatever their layout."""

from __future__ import annotations

import ast

from nbkube.dataflow.parse import Parsed, parse_cell
from nbkube.notebook.model import Cell

_LOOKS_AT_SOURCE = (
    "inspect", "getsource", "getcomments", "linecache", "numba", "njit", "cuda.jit", "vectorize", "tf.function",
    "torch.jit", "torch.compile",
)  # fmt: skip


def inspects_source(text: str) -> bool:
    """Whether code may look at its own source, so that comments and layout count."""
    return any(word in text for word in _LOOKS_AT_SOURCE)


def normalise(cell: Cell, *, exact: bool = False) -> str:
    """Text that changes only when what `cell` does may change: comments, blank lines and formatting are dropped.

    Shell lines, magics and bodies that are not Python stay as written. `exact` keeps all (some code of the notebook
    looks at source text); it is implied where the cell itself does.
    """
    if exact or inspects_source(cell.source):
        return cell.source
    return normal_text(parse_cell(cell))


def normal_text(parsed: Parsed) -> str:
    """`normalise` for a cell that is already parsed."""
    if parsed.tree is None:
        return parsed.cell.source
    parts = [ast.dump(parsed.tree)]
    parts.extend(repr(("head", head.name, head.text)) for head in parsed.heads)
    parts.extend(repr((one.kind, one.name, one.text, one.body)) for one in parsed.escapes)
    return "\n".join(parts)
