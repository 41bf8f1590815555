"""Taking what was changed in an opened step back to the notebook it came from."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_plain
from nbkube.errors import Diagnostic, NbkubeError, NotebookError, NotFoundError, Place
from nbkube.interactive.document import REPLAYED, SOURCE, source_digest
from nbkube.notebook import Cell, Notebook, read_notebook, set_sources
from nbkube.notebook.document import parse_document
from nbkube.notebook.source import read_bytes
from nbkube.notebook.versions import cells_of


class Edit(msgspec.Struct, frozen=True):
    """One cell of the source notebook whose text is to change; both texts are without a line `%%step`."""

    number: int
    id: str
    before: str
    after: str


class Changes(msgspec.Struct, frozen=True):
    """What an opened step changes in its notebook: nothing is written yet. `digest` is that of the notebook as read;
    `added` counts cells that were written anew in the opened step and stay there."""

    notebook: Path
    digest: str
    edits: tuple[Edit, ...]
    added: int = 0

    def diff(self) -> str:
        """Return the changes as a unified diff, cell by cell."""
        return "".join(line for edit in self.edits for line in _diff(self.notebook, edit))


class _Kept(msgspec.Struct):
    """A cell of the opened notebook that says where it comes from."""

    cell: int
    id: str
    sha256: str
    text: str


def changes_of(opened: Path, notebook: Path | None = None) -> Changes:
    """Return what the cells of an opened step change in the notebook they came from.

    Args:
        opened: the file that `nbkube open` wrote.
        notebook: the notebook, where it is not at the place that the file names.

    Raises:
        NbkubeError: the file is no opened step.
        NotFoundError: the notebook is not there.
        NotebookError: a cell has changed in the notebook since the run; all such cells are named.
    """
    kept, added, place = _read_opened(opened)
    target = notebook or place
    if not target.exists():
        message = f"{target}: the notebook is not there. Fix: name it with --to NOTEBOOK."
        raise NotFoundError(message)
    source = read_notebook(target)
    edits: list[Edit] = []
    faults: list[Diagnostic] = []
    for one in kept:
        if source_digest(one.text) == one.sha256:
            continue
        cell = _cell_of(source, one)
        if cell is not None and cell.source == one.text:
            continue  # it has been taken back before
        if cell is None or source_digest(cell.source) != one.sha256:
            faults.append(_conflict(source, one, cell))
        else:
            edits.append(Edit(cell.number, cell.id, cell.source, one.text))
    if faults:
        raise NotebookError(diagnostics=faults)
    return Changes(target, source.digest, tuple(edits), added)


def apply(changes: Changes) -> None:
    """Write changes to the notebook; nothing else in the file is touched.

    Raises:
        NotebookError: the file has changed since it was read, or cannot be written; it is as it was.
    """
    if not changes.edits:
        return
    name = os.fspath(changes.notebook)
    source = {cell.number: cell for cell in read_notebook(name).cells}
    texts = {}
    for edit in changes.edits:
        lead = _lines_above(name, source[edit.number])
        texts[edit.number] = lead + edit.after
    set_sources(name, texts, digest=changes.digest)


def _lines_above(path: str, cell: Cell) -> str:
    """Return the line `%%step …` and what stands above it, "" for a cell that has none."""
    if cell.first_line == 1:
        return ""
    raw = cells_of(path, parse_document(path, read_bytes(path).data))[1][cell.number - 1]["source"]
    whole = raw if isinstance(raw, str) else "".join(raw)
    return whole.removesuffix(cell.source)


def _read_opened(path: Path) -> tuple[list[_Kept], int, Path]:
    name = os.fspath(path)
    document = parse_document(name, read_bytes(name).data)
    place = _member(_member(document, "metadata"), SOURCE).get("notebook")
    if not isinstance(place, str) or not place or "\0" in place:
        raise _not_opened(path)
    kept: list[_Kept] = []
    added = 0
    for cell in cells_of(name, document)[1]:
        if not isinstance(cell, dict) or cell.get("cell_type") != "code":
            continue
        text = _text_of(cell)
        known = _member(_member(cell, "metadata"), SOURCE)
        if known:
            try:
                kept.append(from_plain({**known, "text": text.removeprefix(REPLAYED + "\n")}, _Kept))
            except msgspec.ValidationError:
                raise _not_opened(path) from None
        elif text.strip() and "%nbkube restore" not in text:
            added += 1
    return kept, added, Path(os.path.normpath(path.absolute().parent / place))


def _member(owner: dict[str, Any], key: str) -> dict[str, Any]:
    """Return an object in an object of the file; an empty one where there is something else."""
    found = owner.get(key)
    return found if isinstance(found, dict) else {}


def _not_opened(path: Path) -> NbkubeError:
    return NbkubeError(f"{path} is no opened step. Fix: give a file that nbkube open has written.")


def _text_of(cell: dict[str, Any]) -> str:
    source = cell.get("source", "")
    return source if isinstance(source, str) else "".join(str(line) for line in source)


def _cell_of(source: Notebook, one: _Kept) -> Cell | None:
    """Return the cell that a kept one came from: by its id, which stays when cells move; else by its number."""
    if one.id:
        found = [cell for cell in source.cells if cell.id == one.id]
        return found[0] if len(found) == 1 else None
    return next((cell for cell in source.cells if cell.number == one.cell), None)


def _conflict(source: Notebook, one: _Kept, cell: Cell | None) -> Diagnostic:
    if cell is None:
        message = f"cell {one.cell} of the run is no longer there"
        return Diagnostic("error", "lost-cell", Place(source.path), message, "copy your change over by hand")
    place = Place(source.path, cell.number, cell.id)
    if {"parameters", "pipeline-parameters"}.intersection(cell.tags):
        message = "the run gave this cell's parameters other values, so its text there is not the notebook's"
        return Diagnostic("error", "changed-cell", place, message, "change the cell in the notebook itself")
    message = "this cell has changed in the notebook since the run; nothing is written"
    return Diagnostic(
        "error", "changed-cell", place, message, "run the notebook again and open that run, or merge by hand"
    )


def _diff(notebook: Path, edit: Edit) -> Iterator[str]:
    name = f"{notebook}:cell {edit.number}" + (f" ({edit.id})" if edit.id else "")
    lines = [text.splitlines(keepends=True) for text in (edit.before, edit.after)]
    for line in difflib.unified_diff(lines[0], lines[1], name, name):
        yield line if line.endswith("\n") else line + "\n"
