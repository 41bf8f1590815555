"""Headings of a notebook's markdown cells: what people call the parts of their work."""

from __future__ import annotations

import re
from typing import NamedTuple

from nbkube.notebook.document import parse_document
from nbkube.notebook.versions import cells_of

_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(.+?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


class Heading(NamedTuple):
    """A heading: the number of its cell among all cells, from 1; its level, from 1; its text."""

    cell: int
    level: int
    text: str


def headings(path: str, data: bytes) -> tuple[Heading, ...]:
    """Return the headings of the notebook that `data` holds; of several in one cell the last one counts.

    Raises:
        NotebookError: the bytes are no notebook.
    """
    found: list[Heading] = []
    for number, cell in enumerate(cells_of(path, parse_document(path, data))[1], 1):
        if not isinstance(cell, dict) or cell.get("cell_type") != "markdown":
            continue
        source = cell.get("source", "")
        text = source if isinstance(source, str) else "".join(line for line in source if isinstance(line, str))
        inside = _HEADING.findall(_FENCE.sub("", text))
        if inside:
            found.append(Heading(number, len(inside[-1][0]), inside[-1][1]))
    return tuple(found)
