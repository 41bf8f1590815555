"""Bringing a kernel to where a step of a run began, or to its failing cell."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nbkube.errors import RunError, StateError
from nbkube.interactive.doubts import doubts
from nbkube.interactive.inputs import folder_of_notebook
from nbkube.interactive.model import Restored, StepInputs
from nbkube.interactive.outputs import shown_in_run, shows_the_same
from nbkube.interactive.position import position_of
from nbkube.interactive.space import KernelSpace
from nbkube.runs.process import is_alive, this_process
from nbkube.runtime.program import CellProgram, StepProgram
from nbkube.runtime.shell import without_installing
from nbkube.runtime.values import is_seeded, recall
from nbkube.state.namespace import is_internal
from nbkube.state.process import Start, restore_process, restore_random
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import prepare, remove_tree
from nbkube.storage.model import ObjectStore

_HISTORY = frozenset(("In", "Out", "_", "__", "___", "_i", "_ii", "_iii"))


def restore(inputs: StepInputs, shell: Any, store: ObjectStore, view: FileView, place: Path) -> Restored:
    """Give a kernel what a step began with: files, working directory, environment, configuration, values, random state.

    For a step that failed, the cells before the failing one are run again.

    Args:
        inputs: what the step began with.
        shell: the kernel's IPython shell, best one in which nothing has been run yet.
        store: where the values lie.
        view: the files the step saw.
        place: a folder in which this kernel gets a folder of its own; those of kernels that have ended are removed.

    Raises:
        RunError: a statement or cell that ran well in the run fails here.
        StateError: a value cannot be loaded.
    """
    folder = _own_folder(place)
    prepare(view, folder, store)
    cwd = folder / folder_of_notebook(inputs)
    cwd.mkdir(parents=True, exist_ok=True)
    first = inputs.programs[0]
    space = KernelSpace(inputs.bindings, store, root=str(folder), scope=shell.user_ns)
    start = Start(str(folder), dict(os.environ), str(cwd), [one for one in sys.path if one])
    position = position_of(inputs)
    with without_installing(shell):
        os.environ.update(first.env)
        restore_process(space, start, replayed=False)
        os.chdir(cwd)
        _replay(shell, first)
        names = _load(space, shell.user_ns)
        restore_process(space, start, replayed=True)
        restore_random(space, start, seeded=is_seeded(first, space))
        if first.history:
            recall(space, shell)
        known = shown_in_run(inputs, store)
        others = []
        for program, cell in position.replayed:
            os.environ.update(program.env)
            shown = _run_cell(shell, cell)
            if cell.number in known and not shows_the_same(known[cell.number], shown.stdout, shown.outputs):
                others.append(f"cell {cell.number} shows something else now than in the run")
        os.environ.update(inputs.program.env)
    return Restored(
        names=tuple(names),
        missing={name: ref.reason for name, ref in inputs.bindings.items() if ref.kind == "hole"},
        replayed=tuple(cell.number for _, cell in position.replayed),
        cell=position.cells[0].number if position.cells else 0,
        folder=folder,
        doubts=(*others, *doubts(inputs, [cell for _, cell in position.replayed], view)),
    )


def _own_folder(place: Path) -> Path:
    """Return a new folder of this process; those of processes that have ended are removed.

    A process is told by its number, its start and the boot, so that a later one with the number is another.
    """
    mine = this_process()
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in place.iterdir():
        pid, _, began = entry.name.partition("-")
        owner = type(mine)(int(pid) if pid.isdigit() else 0, began.partition("-")[0], mine.boot, mine.host)
        if entry.is_dir() and (owner == mine or not is_alive(owner)):
            remove_tree(entry)
    return place / f"{mine.pid}-{mine.start}" / "project"


def _load(space: KernelSpace, live: dict[str, Any]) -> list[str]:
    """Bind every stored name. What needs a name that is still to come (a `__setstate__` that calls a function of the
    notebook, say) is tried again after it."""
    waiting = [
        name
        for name, ref in space.bindings.items()
        if ref.kind == "blob" and ":" not in name and not is_internal(name) and name not in _HISTORY
    ]
    names = list(waiting)
    while waiting:
        faults: dict[str, Exception] = {}
        for name in waiting:
            try:
                live[name] = space.load(name)
            except Exception as error:  # noqa: BLE001 - code of the notebook's classes runs here
                faults[name] = error
        if len(faults) == len(waiting):
            name, fault = next(iter(faults.items()))
            raise StateError(f"`{name}` cannot be loaded: {type(fault).__name__}: {fault}.") from fault
        waiting = list(faults)
    return sorted(names)


def _replay(shell: Any, program: StepProgram) -> None:
    for statement in program.replay:
        with _captured() as shown:
            result = shell.run_cell(statement.source, store_history=False)
        error = result.error_before_exec or result.error_in_exec
        if error is not None:
            shown.show()
            raise RunError(
                f"cell {statement.cell}: `{statement.source.splitlines()[0]}` fails here, and did not in the run: "
                f"{type(error).__name__}: {error}. Fix: use the run's environment."
            ) from None


def _run_cell(shell: Any, cell: CellProgram) -> Any:
    """Run a cell again and return what it shows: the notebook has that from the run already."""
    with _captured() as shown:
        result = shell.run_cell(cell.source, store_history=False)
    error = result.error_before_exec or result.error_in_exec
    if error is not None and not cell.raises:
        shown.show()
        raise RunError(
            f"cell {cell.number} ran well in the run and fails here: {type(error).__name__}: {error}. "
            "The kernel is where that cell ended; go on from there."
        ) from None
    return shown


@contextlib.contextmanager
def _captured() -> Iterator[Any]:
    from IPython.utils.capture import capture_output

    with capture_output() as shown:
        yield shown
