"""The notebook in which a person goes on with a step: one cell that restores, then the step's own cells."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbkube.errors import NbkubeError
from nbkube.interactive.model import Opened, StepInputs
from nbkube.interactive.outputs import shown_in_run
from nbkube.interactive.position import Position
from nbkube.notebook.model import Notebook
from nbkube.runtime.program import CellProgram
from nbkube.storage.model import ObjectStore

REPLAYED = "%%replayed"
"""First line of a cell that the first cell has run already: the magic runs nothing."""

SOURCE = "nbkube_source"
"""Key of the metadata that tells a cell's origin (`cell`, `id`, `sha256` of its text) and the notebook's (`notebook`,
`run`, `step`). Not `nbkube`: that holds a step's options."""


def write_opened(
    inputs: StepInputs,
    position: Position,
    doubts: Sequence[str],
    target: Path,
    *,
    source: Notebook | None,
    store: ObjectStore,
    address: str,
    keep: bool = False,
) -> Opened:
    """Write the notebook of an opened step.

    Args:
        inputs: what the step began with.
        position: where the person goes on.
        doubts: why the state may differ.
        target: the file, which must not exist.
        source: the notebook the run was made from, as it is now; None where it is gone.
        store: where the run's outputs lie.
        address: what the restoring cell must say to find the store; "" where it finds it by itself.
        keep: leave a file that exists as it is.

    Raises:
        NbkubeError: the file exists, and is not to be kept.
    """
    outputs = shown_in_run(inputs, store)
    cells = [_markdown(_heading(inputs, position, doubts)), _code(_restoring(inputs, address))]
    for _, cell in position.replayed:
        cells.append(_code(f"{REPLAYED}\n{cell.source}", cell, outputs.get(cell.number, [])))
    if inputs.failure is not None:
        cells.append(_markdown(_failure(inputs, position)))
    for cell in position.cells:
        cells.append(_code(cell.source, cell, outputs.get(cell.number, [])))
    document = {
        "cells": cells,
        "metadata": {**_environment(source), SOURCE: _origin(inputs, target)},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    if not (keep and target.exists()):
        _create(target, json.dumps(document, ensure_ascii=False, indent=1) + "\n")
    return Opened(
        path=target,
        run=inputs.run,
        step=inputs.step,
        replayed=tuple(cell.number for _, cell in position.replayed),
        cell=position.cells[0].number if position.cells else 0,
        failed=inputs.failure is not None,
        doubts=tuple(doubts),
        cell_id=_id(position.cells[0]) if position.cells else "",
    )


def source_digest(source: str) -> str:
    """Return the digest by which a cell's text is known to be unchanged."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def _create(target: Path, text: str) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except FileExistsError:
        message = f"{target} exists already. Fix: open that one, or give another file with --output FILE."
        raise NbkubeError(message) from None


def _environment(source: Notebook | None) -> dict[str, Any]:
    """Return the kernel of the source notebook, so that the opened one runs in the same."""
    known = {} if source is None else source.metadata
    spec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"kernelspec": known.get("kernelspec", spec), "language_info": {"name": "python"}}


def _origin(inputs: StepInputs, target: Path) -> dict[str, Any]:
    notebook = os.path.join(inputs.root, inputs.notebook)
    folder = os.path.dirname(os.path.abspath(target))
    return {"notebook": os.path.relpath(notebook, folder), "run": inputs.run, "step": inputs.step}


def _restoring(inputs: StepInputs, address: str) -> str:
    store = f" --store {shlex.quote(address)}" if address else ""
    return f"%load_ext nbkube\n%nbkube restore {inputs.run} {inputs.step}{store}"


def _heading(inputs: StepInputs, position: Position, doubts: Sequence[str]) -> str:
    name = inputs.notebook.replace("`", "'")
    lines = [f"# Step `{inputs.step}` of run `{inputs.run}`", ""]
    lines.append(
        f"From `{name}`. The cell below brings this kernel to where the step "
        + ("failed: " if inputs.failure is not None else "began: ")
        + "variables, a copy of the files, working directory, environment, settings, random state."
    )
    if position.replayed:
        numbers = ", ".join(str(cell.number) for _, cell in position.replayed)
        lines += ["", f"It runs cells {numbers} again; they follow, marked `{REPLAYED}`."]
    if position.held:
        lines += ["", f"Cell {position.held} awaits something: run it and those after it yourself."]
    if doubts:
        lines += ["", "The state may differ from the run's:", "", *(f"- {one}" for one in doubts)]
    lines += ["", "What you change in the cells goes back to the notebook with `nbkube apply` and this file's name."]
    return "\n".join(lines)


def _failure(inputs: StepInputs, position: Position) -> str:
    failure = inputs.failure
    assert failure is not None, "called for failed steps"
    line = f", line {failure.line}" if failure.line else ""
    text = f"**Cell {failure.cell} failed{line}:** `{failure.type or failure.kind}`"
    at = f" Go on from cell {position.held}." if position.held else ""
    return text + "." + at


def _markdown(source: str) -> dict[str, Any]:
    cell_id = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return {"cell_type": "markdown", "id": cell_id, "metadata": {}, "source": source.splitlines(keepends=True)}


def _id(cell: CellProgram) -> str:
    return cell.id or f"cell-{cell.number}"


def _code(source: str, cell: CellProgram | None = None, outputs: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    metadata: dict[str, Any] = {}
    cell_id = "nbkube-restore"
    if cell is not None:
        metadata[SOURCE] = {"cell": cell.number, "id": cell.id, "sha256": source_digest(cell.source)}
        cell_id = _id(cell)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": cell_id,
        "metadata": metadata,
        "outputs": list(outputs),
        "source": source.splitlines(keepends=True),
    }
