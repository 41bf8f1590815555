"""What a live kernel gives to a run that begins with its variables."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nbkube.dataflow import analyze
from nbkube.dataflow.model import Replay, Unit
from nbkube.decoding import from_json
from nbkube.errors import Diagnostic, NotebookError, NotFoundError, Place
from nbkube.interactive.differences import differences
from nbkube.interactive.model import Live
from nbkube.notebook.model import Cell
from nbkube.pipeline import Pipeline
from nbkube.runtime.shell import variables_of
from nbkube.state.namespace import Namespace
from nbkube.state.process import Start, capture_process
from nbkube.state.publish import publish
from nbkube.storage.model import ObjectStore

_STEP_LINE = re.compile(r"\s*%%step(?=\s|$)[^\n]*\n?")
_LAST_COUNTS = frozenset(("config",))
"""Kinds of statements of which, run twice, the second counts; of others the first is where it was needed."""


def capture(pipeline: Pipeline, step: str, shell: Any, store: ObjectStore, *, root: Path, cwd: str) -> Live:
    """Take from a kernel what the steps of a pipeline from `step` on begin with.

    Taken are the values of its variables with what they share, its functions and classes, the imports and settings in
    the order in which the kernel ran them, environment, working directory, search path and random state.

    Args:
        pipeline: the notebook as it is saved.
        step: the unit to begin with.
        shell: the kernel's IPython shell.
        store: where the values go.
        root: the project's folder.
        cwd: the notebook's folder in it.

    Raises:
        NotFoundError: there is no such step.
        NotebookError: the steps to be run have a fault, or need a name that the kernel does not have or whose value
            cannot be stored.
    """
    names = [one.name for one in pipeline.steps]
    if step not in names:
        raise NotFoundError(f"there is no step {step!r}. The steps of {pipeline.notebook.path}: {', '.join(names)}.")
    first = names.index(step)
    inputs = inputs_of_kernel(shell)
    variables = variables_of(shell)
    replay = _replayed(inputs, variables)
    _require_valid(pipeline, first, variables)
    _require_names(pipeline, first, variables, replay)
    namespace = Namespace({}, store, root=str(root))
    namespace.update(variables)
    state = capture_process(namespace, _start(root, cwd), seeded=True)
    bindings = publish(namespace, extra=state).outputs
    _require_storable(pipeline, first, bindings)
    found = differences(pipeline, first, inputs, variables, root, shell.compile.flags)
    return Live(first, bindings, tuple(replay), tuple(found))


def inputs_of_kernel(shell: Any) -> list[str]:
    """Return the cells that a kernel has executed, in their order; the one that is being executed is left out."""
    raw: Sequence[str] = shell.history_manager.input_hist_raw[1:]
    ended = raw[:-1] if len(raw) >= shell.execution_count else raw
    return [_STEP_LINE.sub("", one, count=1) if _STEP_LINE.match(one) else one for one in ended if one.strip()]


def _replayed(inputs: Sequence[str], variables: Mapping[str, Any]) -> list[Replay]:
    """Return the imports and settings among what the kernel has executed."""
    cells = tuple(Cell(number, number, "", source) for number, source in enumerate(inputs, 1))
    found: dict[tuple[str, str], Replay] = {}
    for one in analyze([Unit("kernel", cells)], file="kernel").units[0].replay:
        key = (one.kind, one.source)
        lost = one.binds and not any(name in variables for name in one.binds)
        if lost or any(name not in variables for name in one.needs):
            continue  # it failed, or what it has bound is gone
        if one.kind in _LAST_COUNTS:
            found.pop(key, None)
        found.setdefault(key, one)
    return list(found.values())


def _start(root: Path, cwd: str) -> Start:
    """Return what a step process is like before anything is restored: the kernel's state is told against it."""
    environment = _first_environment()
    code = "import json, sys; print(json.dumps(sys.path))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True, timeout=60, cwd=os.sep
    )
    path = [one for one in from_json(done.stdout, list[str]) if one]
    return Start(str(root), environment, os.path.normpath(root / cwd), path)


def _first_environment() -> dict[str, str]:
    """Return the environment that this process was started with; the present one where the system does not tell."""
    try:
        data = Path("/proc/self/environ").read_bytes()
    except OSError:
        return dict(os.environ)
    pairs = (os.fsdecode(one).partition("=") for one in data.split(b"\0") if b"=" in one)
    return {name: value for name, _, value in pairs}


# -- what the steps need -----------------------------------------------------------------------------------------------


def _require_valid(pipeline: Pipeline, first: int, variables: Mapping[str, Any]) -> None:
    """Raise for faults of the steps to be run; a name that only the kernel has is none."""
    numbers = {cell.number for step in pipeline.steps[first:] for cell in step.unit.cells}
    known = {use.place for unit in pipeline.flow.units[first:] for use in unit.uses if use.name in variables}
    faults = [
        one
        for one in pipeline.diagnostics
        if one.severity == "error"
        and (one.place.cell is None or one.place.cell in numbers)
        and not (one.code in ("undefined-name", "deleted-name") and one.place in known)
    ]
    if faults:
        raise NotebookError(diagnostics=faults)


def _needed(pipeline: Pipeline, first: int) -> dict[str, Place]:
    """Return the names that the steps read from before the first of them, with the place of their first use."""
    made: set[str] = set()
    needed: dict[str, Place] = {}
    for unit in pipeline.flow.units[first:]:
        places = {use.name: use.place for use in unit.uses}
        for name in unit.reads:
            if name not in made:
                needed.setdefault(name, places[name])
        made |= unit.publishes
    return needed


def _require_names(pipeline: Pipeline, first: int, variables: Mapping[str, Any], replay: Iterable[Replay]) -> None:
    faults = [
        Diagnostic(
            "error", "not-in-kernel", place, f"`{name}` is not in this kernel", _where_made(pipeline, first, name)
        )
        for name, place in _needed(pipeline, first).items()
        if name not in variables
    ]
    later = "\n".join(cell.source for step in pipeline.steps[first:] for cell in step.unit.cells)
    bound = {name for one in replay for name in one.binds} | set(variables)
    for one in (one for unit in pipeline.flow.units[:first] for one in unit.replay if one.kind == "import"):
        missing = [name for name in one.binds if name not in bound and re.search(rf"\b{re.escape(name)}\b", later)]
        if missing:
            place = Place(pipeline.notebook.path, one.cell, "", one.line)
            message = f"this import has not been run in this kernel, and {', '.join(missing)} is used later"
            faults.append(Diagnostic("error", "not-in-kernel", place, message, f"run cell {one.cell}"))
    if faults:
        raise NotebookError(diagnostics=faults)


def _where_made(pipeline: Pipeline, first: int, name: str) -> str:
    makers = [
        step for step, unit in zip(pipeline.steps[:first], pipeline.flow.units, strict=False) if name in unit.publishes
    ]
    if not makers:
        return "define it in the kernel"
    numbers = ", ".join(str(cell.number) for cell in makers[-1].unit.cells)
    return f"run step {makers[-1].name} in the kernel (cells {numbers})"


def _require_storable(pipeline: Pipeline, first: int, bindings: Mapping[str, Any]) -> None:
    faults = []
    for name, place in _needed(pipeline, first).items():
        ref = bindings.get(name)
        if ref is not None and ref.kind == "hole":
            hint = "begin with the step that makes it"
            faults.append(Diagnostic("error", "unstorable", place, f"`{name}` {ref.reason}", hint))
    if faults:
        raise NotebookError(diagnostics=faults)
