"""What runs have left, and the way from a step into a kernel and back."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.client.project import STORE_FOLDER, Project
from nbkube.errors import NbkubeError, NotFoundError
from nbkube.state.model import FileEntry, OutputRef

if TYPE_CHECKING:
    from nbkube.interactive.apply import Changes
    from nbkube.interactive.model import Opened, Pulled, Restored
    from nbkube.report.model import Report
    from nbkube.runs import Live, Phase, RunNotes, RunQuery, RunRow, RunState, RunStore, RunUnit, StepLog, StepRun
    from nbkube.runtime.program import Failure, StepManifest
    from nbkube.storage.model import ObjectStore


class Artifacts(msgspec.Struct, frozen=True):
    """What a run has left: variables by the unit that made them, files at the end, metrics."""

    run: str
    variables: dict[str, dict[str, OutputRef]]
    files: tuple[FileEntry, ...]
    removed: tuple[str, ...]
    metrics: dict[str, Any]


class Results(Project):
    """What runs have left, and the way from a step into a kernel and back."""

    def runs(
        self, *, experiment: str | None = None, phase: Phase | None = None, limit: int | None = None
    ) -> list[RunState]:
        """Return the project's runs, newest first."""
        return self._runs().list(experiment=experiment, phase=phase, limit=limit)

    def status(self, run_id: str) -> RunState:
        """Return the state of a run: its id, a unique part of it, or `last`.

        Raises:
            NotFoundError: there is no such run.
        """
        runs = self._runs()
        state = runs.load(runs.resolve(run_id))
        if state.run.engine == "argo" and state.phase == "Unknown":
            with contextlib.suppress(NbkubeError):  # a laptop without the cluster sees what the store tells
                return self._remote().control().settle(state.id)
        return state

    def waiting(self, state: RunState) -> dict[str, str]:
        """Return why steps of a run that could go on do not: by step what its pod waits for, in a sentence.

        Asks the cluster only where a step has all it needs and has not begun; says nothing where that does not answer.
        """
        done = {step.name for step in state.steps if step.phase in ("Succeeded", "Cached")}
        units = {unit.name: unit for unit in state.run.units}
        due = [one for one in state.steps if one.phase == "Pending" and done.issuperset(units[one.name].after)]
        if state.run.engine != "argo" or state.phase != "Running" or not due:
            return {}
        with contextlib.suppress(NbkubeError):
            return self._remote().control().waiting(state.id)
        return {}

    def logs(self, run_id: str, step: str | None = None, *, follow: bool = False) -> Iterator[tuple[str, Live]]:
        """Yield what the steps of a run have shown, in notebook order, with the step's name.

        With `follow` it comes in the order in which it is shown, until the run (or the one step) has ended. A step
        whose result came from the cache shows what it showed when it was made.

        Raises:
            NotFoundError: there is no such run or step.
        """
        runs = self._runs()
        state = runs.load(runs.resolve(run_id))
        names = [unit.name for unit in state.steps]
        if step is not None and step not in names:
            raise NotFoundError(f"run {state.id} has no step {step!r}. Its steps: {', '.join(names)}.")
        if follow:
            yield from self._followed(runs, state.id, step)
            return
        for unit in state.steps:
            if step in (None, unit.name):
                shown = [self._log(unit.log)] if unit.cached and unit.log else runs.live(state.id, unit.name)
                yield from ((unit.name, piece) for piece in shown)

    def _followed(self, runs: RunStore, run_id: str, step: str | None) -> Iterator[tuple[str, Live]]:
        from nbkube.runs import Live

        for seen in runs.watch(run_id):
            if step not in (None, seen.step):
                continue
            if isinstance(seen, Live):
                yield seen.step, seen
            elif seen.event == "step-ended":
                if seen.cached and seen.log:
                    yield seen.step, self._log(seen.log)
                found = runs.load(run_id).step(seen.step)
                if step is not None and found is not None and found.phase.ended:
                    return

    def _log(self, digest: str) -> Live:
        from nbkube.runs import Live

        return Live(text=self._store().get(digest).decode("utf-8", "replace"), stream="stdout")

    def step_log(self, run_id: str, step: str) -> StepLog:
        """Return what reads what a step has shown, and goes on from there.

        Raises:
            NotFoundError: there is no such run or step.
        """
        runs = self._runs()
        return runs.step_log(runs.resolve(run_id), step)

    def rows(self, wanted: RunQuery) -> tuple[list[RunRow], int]:
        """Return runs as rows of a list, the newest first, and how many runs there are in all."""
        return self._runs().rows(wanted)

    def notes(self, run_id: str) -> RunNotes:
        """Return labels and note of a run."""
        return self._runs().notes(run_id)

    def annotate(self, run_id: str, labels: Sequence[str] | None = None, note: str | None = None) -> RunNotes:
        """Write labels or the note of a run (None leaves them) and return both."""
        return self._runs().annotate(run_id, labels, note)

    def file(self, run_id: str, path: str) -> tuple[FileEntry, Path]:
        """Return a file that a run has made and where its bytes lie, for reading only.

        Raises:
            NotFoundError: the run has made no such file.
        """
        for entry in self.artifacts(run_id).files:
            if entry.path == path and entry.kind == "file":
                return entry, self._store().local_path(entry.digest)
        raise NotFoundError(f"run {run_id} has made no file {path!r}.")

    def artifacts(self, run_id: str) -> Artifacts:
        """Return what a run has left."""
        state = self.status(run_id)
        manifests = self._manifests(state)
        files: dict[str, FileEntry] = {}
        removed: set[str] = set()
        metrics: dict[str, Any] = {}
        for manifest in manifests:
            for path in manifest.diff.removed:
                files.pop(path, None)
                removed.add(path)
            for entry in manifest.diff.changed:
                files[entry.path] = entry
                removed.discard(entry.path)
            metrics.update(manifest.metrics)
        return Artifacts(
            state.id,
            {manifest.units[0]: dict(manifest.outputs) for manifest in manifests},
            tuple(files[path] for path in sorted(files)),
            tuple(sorted(removed)),
            metrics,
        )

    def export_files(self, run_id: str, target: Path) -> list[Path]:
        """Copy the files that a run has made or changed to a folder; returns their paths.

        Raises:
            NotFoundError: there is no such run.
            StateError: one of the files exists already; nothing is written then.
        """
        from nbkube.state.export import export
        from nbkube.state.model import FileDiff

        return export(FileDiff(changed=self.artifacts(run_id).files), target, self._store())

    def bindings(self, run_id: str) -> dict[str, OutputRef]:
        """Return the variables of a run at the notebook's end, as references into the store."""
        bound: dict[str, OutputRef] = {}
        for manifest in self._manifests(self.status(run_id)):
            bound.update(manifest.outputs)
        return {name: ref for name, ref in bound.items() if ref.kind != "deleted"}

    def report(self, run_id: str) -> Report:
        """Return a run as plain data for `nbkube.report`: steps with their executed cells, edges, metrics."""
        from nbkube.report.model import Report, ReportEdge, ReportStep

        state = self.status(run_id)
        store = self._store()
        carried: dict[tuple[int, int], list[str]] = {}
        for edge in state.run.edges:
            carried.setdefault((edge.producer, edge.consumer), []).append(edge.name)
        names = [unit.name for unit in state.run.units]
        return Report(
            title=state.run.name or state.run.notebook,
            run=state.id,
            phase=state.phase,
            started=state.started,
            seconds=state.seconds,
            parameters=dict(state.run.parameters),
            metrics=dict(state.metrics),
            steps=tuple(
                ReportStep(
                    name=step.name,
                    phase=step.phase,
                    seconds=step.seconds,
                    peak_memory=step.peak_memory,
                    cached=step.cached,
                    after=unit.after,
                    cells=_executed(store, step, unit),
                    failure=_described(step.failure) if step.failure else "",
                )
                for step, unit in zip(state.steps, state.run.units, strict=True)
            ),
            edges=tuple(ReportEdge(names[one], names[two], tuple(found)) for (one, two), found in carried.items()),
            experiment=state.run.experiment,
            notebook=state.run.notebook,
        )

    def _manifests(self, state: RunState) -> list[StepManifest]:
        """Return the results of a run's steps in notebook order, each once."""
        from nbkube.runtime.cache import read_manifest

        store = self._store()
        found: dict[str, StepManifest] = {}
        for step in state.steps:
            if step.manifest and step.manifest not in found:
                manifest = read_manifest(store, step.manifest)
                if manifest is None:
                    raise NotFoundError(f"the result of step {step.name} is no longer in the store. Run it again.")
                found[step.manifest] = manifest
        return list(found.values())

    def open_step(self, run_id: str, step: str, output: Path | None = None, *, keep: bool = False) -> Opened:
        """Write a notebook whose first cell brings a kernel to where a step began, or to the cell where it failed.

        With `keep` a file that exists is left as it is: the step has been opened before.

        Raises:
            NotFoundError: there is no such run or step, or the step has not begun.
            NbkubeError: the file exists.
        """
        from nbkube.interactive.opening import open_step

        state = self.status(run_id)
        default = self._store_url is None and not self._profile_name
        return open_step(self._store(), state, step, output, project=self._root(), default_store=default, keep=keep)

    def restore_step(self, run_id: str, step: str, shell: Any) -> Restored:
        """Bring an IPython shell to where a step began, or to the cell where it failed.

        Raises:
            NotFoundError: there is no such run or step, or the step has not begun.
            RunError: a cell that ran well in the run fails here.
            StateError: a value cannot be loaded.
        """
        from nbkube.interactive.opening import restore_step

        store, state = self._store(), self.status(run_id)
        return restore_step(store, state, step, shell, project=self._root(), work=f"{STORE_FOLDER}/opened")

    def pull(
        self, run_id: str, step: str, names: Sequence[str], live: dict[str, Any], *, overwrite: bool = False
    ) -> Pulled:
        """Bind results of a step in a namespace; functions and classes that it has in another version stay.

        Raises:
            NotFoundError: there is no such run, step or name.
            NbkubeError: a name is bound already; nothing is bound then.
        """
        from nbkube.interactive.inputs import outputs_of
        from nbkube.interactive.pull import pull

        store, state = self._store(), self.status(run_id)
        bindings, made = outputs_of(store, state, step)
        return pull(bindings, made, names, live, store, root=str(self._root()), overwrite=overwrite)

    def changes_of(self, opened: Path, notebook: Path | None = None) -> Changes:
        """Return what an opened step changes in the notebook it came from; nothing is written.

        Raises:
            NotebookError: a cell has changed in the notebook since the run.
        """
        from nbkube.interactive.apply import changes_of

        return changes_of(opened, notebook)

    def apply(self, changes: Changes) -> None:
        """Write the changes to the notebook, and nothing else.

        Raises:
            NotebookError: the file has changed since it was read, or cannot be written.
        """
        from nbkube.interactive.apply import apply

        apply(changes)


def _described(failure: Failure) -> str:
    """Return why a step failed and where, in one sentence."""
    place = f" (cell {failure.cell}" + (f", line {failure.line})" if failure.line else ")") if failure.cell else ""
    return f"{failure.type or failure.kind}: {failure.message}{place}"


def _executed(store: ObjectStore, step: StepRun, unit: RunUnit) -> tuple[dict[str, Any], ...]:
    if not step.executed:
        return ()
    document = msgspec.json.decode(store.get(step.executed))
    own = set(unit.cells)
    cells: list[dict[str, Any]] = document.get("cells", [])
    return tuple(cell for cell in cells if cell.get("metadata", {}).get("nbkube", {}).get("cell") in own)
