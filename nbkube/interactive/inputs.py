"""What a step of a run began with: its program, its bindings, the files before it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from nbkube.decoding import from_json
from nbkube.engines.detached import load_submission
from nbkube.engines.model import Submission
from nbkube.errors import NotFoundError
from nbkube.interactive.model import StepInputs
from nbkube.runs import Run, RunState, StepRun
from nbkube.runtime.cache import read_manifest
from nbkube.runtime.program import StepManifest, StepProgram
from nbkube.state.model import FileDiff, OutputRef
from nbkube.storage.model import ObjectStore


def inputs_of(store: ObjectStore, state: RunState, name: str) -> StepInputs:
    """Return what the unit `name` of a run began with.

    Raises:
        NotFoundError: there is no such step, it has never begun, or the store no longer has what it began with.
    """
    at = _index(state, name)
    first = min([at, *(_index(state, one) for one in state.steps[at].fused)])
    submission, tree = _submission(store, state.run)
    step = state.steps[at]
    bindings = dict(submission.bindings)
    diffs: list[FileDiff] = []
    for manifest in _before(store, state, first, begun=step.attempts > 0 or bool(step.manifest)):
        bindings.update(manifest.outputs)
        diffs.append(manifest.diff)
    own = tuple(unit.program for unit in submission.units[first : at + 1])
    numbers = {cell.number for program in own for cell in program.cells}
    failure = step.failure if step.failure is not None and step.failure.cell in numbers else None
    return StepInputs(
        run=state.id,
        step=name,
        notebook=state.run.notebook,
        root=state.run.root,
        programs=own,
        bindings={key: ref for key, ref in bindings.items() if ref.kind != "deleted"},
        diffs=tuple(diffs),
        tree=tree,
        failure=failure,
        record=_record(store, step),
        executed=step.executed,
    )


def outputs_of(store: ObjectStore, state: RunState, name: str) -> tuple[dict[str, OutputRef], tuple[str, ...]]:
    """Return the variables as they were after a step, and the names that the step has put out.

    Raises:
        NotFoundError: there is no such step, or it has no result.
    """
    at = _index(state, name)
    last = max([at, *(_index(state, one) for one in state.steps[at].fused)])
    own = result_of(store, state.steps[at])
    if own is None:
        raise NotFoundError(f"step {name} of run {state.id} has no result: it is {state.steps[at].phase}.")
    bindings = dict(_submission(store, state.run)[0].bindings)
    for manifest in _before(store, state, last + 1, begun=True):
        bindings.update(manifest.outputs)
    left = {key: ref for key, ref in bindings.items() if ref.kind != "deleted"}
    return left, tuple(key for key, ref in own.outputs.items() if ref.kind != "deleted")


def programs_of(store: ObjectStore, state: RunState) -> tuple[dict[str, StepProgram], str]:
    """Return the programs of a run's units by name, and the notebook's folder in the project.

    Raises:
        NotFoundError: the store no longer has them.
    """
    submission = _submission(store, state.run)[0]
    return {unit.program.unit: unit.program for unit in submission.units}, submission.cwd


def folder_of_notebook(inputs: StepInputs) -> str:
    """Return the notebook's folder relative to the project, POSIX."""
    return PurePosixPath(inputs.notebook).parent.as_posix()


def result_of(store: ObjectStore, step: StepRun) -> StepManifest | None:
    """Return the result of a step; None where there is none.

    Raises:
        NotFoundError: the store no longer has it.
    """
    if not step.manifest:
        return None
    manifest = read_manifest(store, step.manifest)
    if manifest is None:
        raise NotFoundError(f"the result of step {step.name} is no longer in the store. Run the notebook again.")
    return manifest


def _index(state: RunState, name: str) -> int:
    names = [step.name for step in state.steps]
    if name not in names:
        raise NotFoundError(f"run {state.id} has no step {name!r}. Its steps: {', '.join(names)}.")
    return names.index(name)


def _submission(store: ObjectStore, run: Run) -> tuple[Submission, str]:
    """Return what the run's engine was given, and the digest of the project's files where the store has them."""
    if not run.submission:
        return load_submission(store, run.id), ""
    from nbkube.engines.argo.launch import Launch

    launch = Launch.load(store, run.submission)
    return launch.of_run(run.id, Path(run.root)), launch.tree


def _before(store: ObjectStore, state: RunState, first: int, *, begun: bool) -> list[StepManifest]:
    """Return the results that the unit at `first` saw, in notebook order, each once."""
    found: dict[str, StepManifest] = {}
    for step in state.steps[:first]:
        manifest = result_of(store, step)
        if manifest is not None:
            found[step.manifest] = manifest
        elif not begun:
            raise NotFoundError(
                f"step {state.steps[first].name} has not begun in run {state.id}: step {step.name} has no result. "
                f"Open {step.name} instead."
            )
    return list(found.values())


def _record(store: ObjectStore, step: StepRun) -> StepManifest | None:
    if step.observed and store.has(step.observed):
        return from_json(store.get(step.observed), StepManifest)
    return result_of(store, step)
