"""The frozen types of a notebook file."""

from __future__ import annotations

from typing import Any

import msgspec

from nbkube.errors import Diagnostic


class Cell(msgspec.Struct, frozen=True):
    """One code cell as written in the file.

    `number` counts all cells of the notebook from 1 (markdown included), `code_number` the code cells from 1.
    `tags` is `cell.metadata.tags`; `options` the raw object `cell.metadata.nbkube` (untrusted). `magic` is the
    text after `%%step` when the cell opens with that line, else None; `source` is then the text after that line
    with `first_line` telling where it starts in the cell (from 1), so that places stay right.
    """

    number: int
    code_number: int
    id: str
    source: str
    tags: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    magic: str | None = None
    first_line: int = 1


class Notebook(msgspec.Struct, frozen=True):
    """A notebook read once: `path` as given, `digest` of the very bytes that were parsed.

    `cells` are the code cells. `diagnostics` are faults that leave the rest readable (a bad tag list, two cells with
    one id …): they are reported together with those of the pipeline.
    """

    path: str
    name: str
    digest: str
    cells: tuple[Cell, ...]
    language: str = "python"
    kernel: str = ""
    metadata: dict[str, Any] = {}
    nbformat: tuple[int, int] = (4, 5)
    diagnostics: tuple[Diagnostic, ...] = ()
