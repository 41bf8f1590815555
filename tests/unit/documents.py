"""Notebooks as plain data, for tests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nbkube.notebook import Notebook, parse_notebook
from nbkube.pipeline import Pipeline, build_pipeline

Raw = dict[str, Any]


def code(source: str | list[str] = "", *tags: str, options: Any = None, **more: Any) -> Raw:
    """Return a code cell; `more` replaces or adds keys of the cell."""
    metadata: Raw = {"tags": list(tags)} if tags else {}
    if options is not None:
        metadata["nbkube"] = options
    cell = {"cell_type": "code", "execution_count": None, "metadata": metadata, "outputs": [], "source": source}
    return cell | more


def text(source: str = "words", **more: Any) -> Raw:
    """Return a markdown cell."""
    return {"cell_type": "markdown", "metadata": {}, "source": source} | more


def document(*cells: Any, minor: int = 5, **more: Any) -> Raw:
    """Return a notebook of nbformat 4; cells without an id get c1, c2, … where the format has ids."""
    numbered = [
        {"id": f"c{number}"} | cell if minor >= 5 and isinstance(cell, dict) else cell
        for number, cell in enumerate(cells, 1)
    ]
    return {"cells": numbered, "metadata": {}, "nbformat": 4, "nbformat_minor": minor} | more


def encoded(raw: Any) -> bytes:
    """Return a notebook's bytes as Jupyter writes them."""
    return (json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


def written(folder: Path, raw: Any, name: str = "notebook.ipynb") -> Path:
    """Write a notebook file and return its path."""
    path = folder / name
    path.write_bytes(raw if isinstance(raw, bytes) else encoded(raw))
    return path


def parsed(*cells: Raw, **more: Any) -> Notebook:
    """Return the notebook made of these cells."""
    return parse_notebook("notebook.ipynb", encoded(document(*cells, **more)), "0" * 64)


def pipeline(
    *cells: Raw,
    parameters: Mapping[str, Any] | None = None,
    given: Mapping[str, Mapping[str, Any]] | None = None,
    **more: Any,
) -> Pipeline:
    """Return the pipeline of a notebook made of these cells."""
    return build_pipeline(parsed(*cells, **more), parameters, given)


def sound(*cells: Raw, **arguments: Any) -> Pipeline:
    """Return the pipeline of these cells, which must be free of errors."""
    built = pipeline(*cells, **arguments)
    assert not [str(one) for one in built.diagnostics if one.severity == "error"]
    return built


def faults(built: Pipeline) -> list[tuple[str, int | None]]:
    """Return code and cell of each error."""
    return [(one.code, one.place.cell) for one in built.diagnostics if one.severity == "error"]


def messages(diagnostics: Iterable[Any]) -> str:
    """Return all diagnostics as text, for `in`."""
    return "\n".join(str(one) for one in diagnostics)
