"""Opening a step of a run: the notebook written for it, and what its first cell does."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nbkube.errors import NotebookError
from nbkube.interactive.document import write_opened
from nbkube.interactive.doubts import doubts
from nbkube.interactive.inputs import inputs_of
from nbkube.interactive.model import Opened, Restored, StepInputs
from nbkube.interactive.position import position_of
from nbkube.interactive.restore import restore
from nbkube.notebook import Notebook, read_notebook
from nbkube.runs import RunState
from nbkube.runtime.isolation import folder_of
from nbkube.state.snapshot import FileView, find_root, snapshot
from nbkube.state.tree import load_tree
from nbkube.storage.model import ObjectStore

_ID_SHOWN = 6
"""Letters of a run's id in the name of the file: the part that is drawn by chance."""


def open_step(
    store: ObjectStore,
    state: RunState,
    step: str,
    output: Path | None,
    *,
    project: Path,
    default_store: bool,
    keep: bool = False,
) -> Opened:
    """Write the notebook of a step and return what it does.

    Args:
        store: the run's store.
        state: the run.
        step: the unit's name.
        output: the file to write; by default `NOTEBOOK-STEP-RUN.ipynb` beside the notebook.
        project: the project's folder, where that of the run is not on this machine.
        default_store: whether the store is the one that is found from the project's folder.
        keep: leave a file that exists as it is: the step has been opened before.

    Raises:
        NotFoundError: there is no such step, or it has not begun.
        NbkubeError: the file exists, and is not to be kept.
    """
    inputs = inputs_of(store, state, step)
    root = _root(inputs, project)
    notebook = root / inputs.notebook
    name = f"{notebook.stem}-{step}-{state.id[-_ID_SHOWN:]}.ipynb"
    target = output or notebook.parent / name
    position = position_of(inputs)
    reasons = doubts(inputs, [cell for _, cell in position.replayed], _view(inputs, root, store))
    address = "" if default_store and find_root(target) == root else folder_of(store.url) or store.url
    return write_opened(
        inputs, position, reasons, target, source=_source(notebook), store=store, address=address, keep=keep
    )


def restore_step(store: ObjectStore, state: RunState, step: str, shell: Any, *, project: Path, work: str) -> Restored:
    """Bring a kernel to where a step began, or failed; see `restore`.

    Its copy of the files goes to the folder `work` of the run's project, or of `project` where that is not here.
    """
    inputs = inputs_of(store, state, step)
    root = _root(inputs, project)
    return restore(inputs, shell, store, _view(inputs, root, store), root / work / f"{state.id}-{step}")


def _root(inputs: StepInputs, project: Path) -> Path:
    return Path(inputs.root) if os.path.isdir(inputs.root) else project


def _view(inputs: StepInputs, root: Path, store: ObjectStore) -> FileView:
    """Return the files a step saw: the project's, with what earlier steps did to them.

    They are those of the run's beginning where the store has them (runs on a cluster), else as they are now.
    """
    view = load_tree(inputs.tree, store, root) if inputs.tree else snapshot(root)
    for diff in inputs.diffs:
        view = view.with_diff(diff)
    return view


def _source(notebook: Path) -> Notebook | None:
    try:
        return read_notebook(notebook)
    except NotebookError:
        return None
