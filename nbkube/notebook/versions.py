"""The versions of the notebook format: 4.x as it is, 3 converted while reading, others refused."""

from __future__ import annotations

from typing import Any

from nbkube.notebook.source import refuse

_UPGRADE = "open and save it in Jupyter (`jupyter nbconvert --to notebook --nbformat 4` converts it too)"


def cells_of(path: str, document: dict[str, Any]) -> tuple[tuple[int, int], list[Any]]:
    """Return (major, minor) and the raw cells, in the shape of nbformat 4.

    Raises:
        NotebookError: no notebook, or of a version that cannot be read.
    """
    major = _major(path, document)
    minor = document.get("nbformat_minor", 0)
    if not isinstance(minor, int) or isinstance(minor, bool) or minor < 0:
        hint = 'write "nbformat_minor": 5, or 4 if its cells have no ids'
        raise refuse(path, "bad-version", f"its nbformat_minor is {minor!r}, not a number", hint)
    if major == 3:
        return (3, minor), _worksheet_cells(path, document)
    cells = document.get("cells")
    if not isinstance(cells, list):
        message = "it has no list 'cells'" if cells is None else "its 'cells' are not a list"
        raise refuse(path, "bad-cells", message, 'restore an earlier copy, or write "cells": [] there')
    return (4, minor), cells


def _major(path: str, document: dict[str, Any]) -> int:
    major = document.get("nbformat")
    if major is None:
        message = "is no notebook: it has no 'nbformat'"
        hint = "give a notebook file (.ipynb)"
        if isinstance(document.get("cells"), list):
            hint = 'write "nbformat": 4, "nbformat_minor": 4 into it'
        raise refuse(path, "not-a-notebook", message, hint)
    if not isinstance(major, int) or isinstance(major, bool):
        raise refuse(path, "bad-version", f"its nbformat is {major!r}, not a number", 'write "nbformat": 4')
    if major > 4:
        message = f"has nbformat {major}, made by a newer Jupyter than this nbkube knows"
        raise refuse(path, "future-version", message, "update nbkube, or save the notebook as nbformat 4")
    if major < 3:
        raise refuse(path, "old-version", f"has nbformat {major}; the oldest that is read is 3", _UPGRADE)
    return major


def _worksheet_cells(path: str, document: dict[str, Any]) -> list[Any]:
    worksheets = document.get("worksheets")
    if not isinstance(worksheets, list) or not all(isinstance(sheet, dict) for sheet in worksheets):
        raise refuse(path, "bad-cells", "has nbformat 3 but no list of 'worksheets'", "restore an earlier copy")
    cells: list[Any] = []
    for sheet in worksheets:
        inner = sheet.get("cells", [])
        if not isinstance(inner, list):
            raise refuse(path, "bad-cells", "its 'cells' are not a list", "restore an earlier copy")
        cells += [_upgraded(cell) for cell in inner]
    return cells


def _upgraded(cell: Any) -> Any:
    """Return a cell of nbformat 3 in the shape of 4: code is in `input`, headings are markdown, outputs not needed."""
    if not isinstance(cell, dict):
        return cell
    kind = cell.get("cell_type")
    metadata = cell.get("metadata", {})
    if kind == "code":
        language = cell.get("language", "python")
        source = cell.get("input", "")
        if language not in ("python", "ipython") and isinstance(source, str | list):
            source = f"%%{language}\n" + (source if isinstance(source, str) else "".join(map(str, source)))
        return {"cell_type": "code", "metadata": metadata, "source": source, "outputs": []}
    kind = "markdown" if kind in ("heading", "html") else kind
    return {"cell_type": kind, "metadata": metadata, "source": cell.get("source", "")}
