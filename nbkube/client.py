"""The one service layer: command line, magics, widgets and server call this and nothing below it.

A `Client` belongs to a project (a folder) and its store. Everything is synchronous; progress is handed to a listener
that may be called from any thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.errors import Diagnostic, NbkubeError, NotebookError, NotFoundError, Place
from nbkube.state.model import FileEntry, OutputRef

if TYPE_CHECKING:
    from nbkube.engines.control import RunControl
    from nbkube.engines.local import LocalRun
    from nbkube.engines.model import Listener
    from nbkube.pipeline.model import Pipeline
    from nbkube.report.model import Report
    from nbkube.runs import Live, Phase, RunState, RunStore, RunUnit, Seen, StepRun
    from nbkube.runtime.program import Failure, StepManifest
    from nbkube.storage.files import Storage
    from nbkube.storage.model import ObjectStore
    from nbkube.verify.model import Verification

Options = Mapping[str, Mapping[str, Any]]
STORE_FOLDER = ".nbkube"
CANCEL_SECONDS = 20.0


class Artifacts(msgspec.Struct, frozen=True):
    """What a run has left: variables by the unit that made them, files at the end, metrics."""

    run: str
    variables: dict[str, dict[str, OutputRef]]
    files: tuple[FileEntry, ...]
    removed: tuple[str, ...]
    metrics: dict[str, Any]


def _silent(_: Mapping[str, Any]) -> None:
    return None


class Client:
    """Show, check, run and verify the notebooks of a project, and look at its runs.

    Args:
        project: a folder of the project, by default the working directory. A notebook given to a method decides for
            itself: its project is found from its own place.
        store: folder (later also bucket) that holds results; by default `.nbkube` in the project's root.
    """

    def __init__(self, project: Path | None = None, *, store: str | None = None) -> None:
        self._project = project
        self._store_url = store

    # -- reading notebooks -----------------------------------------------------------------------------------------

    def show(self, path: Path, parameters: Mapping[str, Any] | None = None, options: Options | None = None) -> Pipeline:
        """Return the pipeline a notebook means, faults included as diagnostics; runs and writes nothing.

        Raises:
            NotebookError: the file cannot be read as a notebook.
        """
        from nbkube.notebook import read_notebook
        from nbkube.pipeline import build_pipeline

        return build_pipeline(read_notebook(path), parameters, options)

    def check(self, path: Path, parameters: Mapping[str, Any] | None = None) -> tuple[Diagnostic, ...]:
        """Return all findings about a notebook, errors first; runs and writes nothing."""
        try:
            found = self.show(path, parameters).diagnostics
        except NotebookError as error:
            if not error.diagnostics:
                raise
            found = error.diagnostics
        return tuple(sorted(found, key=lambda one: one.severity != "error"))

    def tag(
        self, path: Path, cell: int | str, tags: Sequence[str] | None, options: Mapping[str, Any] | None = None
    ) -> None:
        """Replace a cell's tags or nbkube options in the file; everything else in it stays byte for byte.

        Raises:
            NotebookError: there is no such cell, or a tag or option is wrong; the file is unchanged.
        """
        from nbkube.notebook import set_tags
        from nbkube.pipeline import check_options

        faults = check_options(options or {}, "the options", Place(str(path)))[1]
        if faults:
            raise NotebookError(diagnostics=faults)
        set_tags(path, cell, tags=tags, options=options)

    # -- running ---------------------------------------------------------------------------------------------------

    def run(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        experiment: str = "",
        use_cache: bool = True,
        parallel: int | None = None,
        engine: str = "local",
        profile: str = "",
        on_event: Listener = _silent,
    ) -> RunState:
        """Run a notebook as a pipeline, follow it, and return the state it ended in.

        A step that fails makes a run with the phase Failed, not an exception. Ctrl-C (KeyboardInterrupt) cancels the
        run: all its processes are ended, finished steps are kept. The run does not need this process: if it ends in
        any other way, the run goes on.

        Raises:
            NotebookError: the notebook, its options or the parameters are wrong; nothing has been started or written.
            StorageError: the store cannot be written.
            RunError: the process that carries out the run could not start.
        """
        run_id = self.submit(
            path,
            parameters=parameters,
            options=options,
            experiment=experiment,
            use_cache=use_cache,
            parallel=parallel,
            engine=engine,
            profile=profile,
        )
        on_event({"event": "run-created", "run": run_id})
        return self._control(self._root(path)).follow(run_id, on_event)

    def submit(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        experiment: str = "",
        use_cache: bool = True,
        parallel: int | None = None,
        engine: str = "local",
        profile: str = "",
    ) -> str:
        """Start a run and return its id; the run goes on whatever becomes of this process. Raises what `run` does."""
        from nbkube.plan import Plan

        plan = Plan.of(self.show(path, parameters, options), path)
        run = plan.run(experiment, use_cache=use_cache, engine=engine, profile=profile)
        submission = plan.submission(run.id, use_cache=use_cache, parallel=parallel)
        if engine != "local":
            raise NbkubeError(f"there is no engine {engine!r}. Fix: use the engine local.")
        self._control(plan.root).start(run, submission, plan.files)
        return run.id

    def verify(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> Verification:
        """Prove that the pipeline computes what the notebook computes: both run twice, without cache, and everything
        they leave is compared.

        Raises:
            NotebookError: the notebook or the parameters are wrong.
            RunError: the notebook itself does not run to the same end twice.
        """
        from nbkube.engines.local import LocalEngine
        from nbkube.plan import Plan
        from nbkube.storage import open_store
        from nbkube.verify import PipelineResult, folder_outside, verify_notebook

        plan = Plan.of(self.show(path, parameters), path)
        with folder_outside(plan.root) as place:
            files = plan.files(place / "project")

            def run_pipeline(adversarial: bool) -> PipelineResult:
                # A store of its own: what one run has made must not be found by the next.
                store = open_store(place / f"store-{int(adversarial)}")
                submission = plan.submission("verify", adversarial=adversarial)
                started = time.monotonic()
                run = LocalEngine(store, place / "work", files).submit(submission, _silent)
                _wait(run)
                seconds = time.monotonic() - started
                return PipelineResult(run.bindings(), run.files(), run.metrics(), run.failure(), seconds, store.url)

            return verify_notebook(plan.subject(files), run_pipeline, open_store(place / "store"), tell)

    # -- runs that go on -------------------------------------------------------------------------------------------

    def watch(self, run_id: str, *, live: bool = True) -> Iterator[Seen]:
        """Yield what has happened in a run (events, and with `live` what its steps show), then what happens, until it
        has ended or is lost. All who show a run follow it this way.

        Raises:
            NotFoundError: there is no such run.
        """
        runs = self._runs()
        return runs.watch(runs.resolve(run_id), live=live)

    def follow(self, run_id: str, on_event: Listener = _silent) -> RunState:
        """Follow a run as `run` does, from its beginning to its end; Ctrl-C (KeyboardInterrupt) cancels it."""
        return self._control().follow(self._runs().resolve(run_id), on_event)

    def stop(self, run_id: str, *, now: bool = False) -> RunState:
        """Cancel a run and wait for its end; finished steps are kept. With `now` steps get no time to end themselves.

        A run that has ended stays as it is, so that stopping twice does no harm.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run belongs to another machine.
        """
        return self._control().stop(self._runs().resolve(run_id), now=now)

    def pause(self, run_id: str) -> RunState:
        """Have a run start no further step; those that are running go on to their end.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run does not go on, or belongs to another machine.
        """
        return self._control().pause(self._runs().resolve(run_id))

    def resume(self, run_id: str) -> RunState:
        """Let a run go on that is paused, was interrupted, was cancelled or has failed; finished steps are kept.

        One that goes on already, or has succeeded, is left alone.

        Raises:
            NotFoundError: there is no such run, or what it needs is gone.
            RunError: the run belongs to another machine, or its process cannot start.
        """
        return self._control().resume(self._runs().resolve(run_id))

    def remove(self, run_id: str) -> None:
        """Remove the records of a run that has ended or was interrupted; its results stay in the cache.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run is going on.
        """
        self._control().remove(self._runs().resolve(run_id))

    # -- looking at runs -------------------------------------------------------------------------------------------

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
        return runs.load(runs.resolve(run_id))

    def logs(self, run_id: str, step: str | None = None, *, follow: bool = False) -> Iterator[tuple[str, Live]]:
        """Yield what the steps of a run have shown, in notebook order, with the step's name.

        With `follow` it goes on until the run has ended. A step whose result came from the cache shows what it
        showed when it was made.

        Raises:
            NotFoundError: there is no such run or step.
        """
        runs = self._runs()
        state = runs.load(runs.resolve(run_id))
        names = [unit.name for unit in state.steps]
        if step is not None and step not in names:
            raise NotFoundError(f"run {state.id} has no step {step!r}. Its steps: {', '.join(names)}.")
        for unit in state.steps:
            if step in (None, unit.name):
                yield from ((unit.name, piece) for piece in self._shown(runs, state.id, unit, follow))

    def _shown(self, runs: RunStore, run_id: str, unit: StepRun, follow: bool) -> Iterator[Live]:
        from nbkube.runs import Live

        if unit.cached and unit.log:
            yield Live(text=self._store().get(unit.log).decode("utf-8", "replace"), stream="stdout")
        elif follow:
            yield from runs.follow(run_id, unit.name)
        else:
            yield from runs.live(run_id, unit.name)

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

    def storage(self) -> Storage:
        """Return files in buckets and folders: list, copy, read, write, remove them."""
        from nbkube.storage.files import Storage

        return Storage()

    # -- places ----------------------------------------------------------------------------------------------------

    def _root(self, notebook: Path | None = None) -> Path:
        from nbkube.state.snapshot import find_root

        return find_root(notebook or (self._project or Path.cwd()) / "notebook")

    def _store(self, root: Path | None = None) -> ObjectStore:
        from nbkube.storage import open_store

        return open_store(self._store_url or (root or self._root()) / STORE_FOLDER)

    def _control(self, root: Path | None = None) -> RunControl:
        from nbkube.engines.control import RunControl

        root = root or self._root()
        return RunControl(self._store(root), root / STORE_FOLDER / "work")

    def _runs(self) -> RunStore:
        from nbkube.runs import RunStore

        return RunStore(self._store())

    def _manifests(self, state: RunState) -> list[StepManifest]:
        """Return the results of a run's steps in notebook order, each once."""
        from nbkube.runtime.program import StepManifest

        store = self._store()
        found: dict[str, StepManifest] = {}
        for step in state.steps:
            if step.manifest and step.manifest not in found:
                data = store.read(step.manifest)
                if data is None:
                    raise NotFoundError(f"the result of step {step.name} is no longer in the store. Run it again.")
                found[step.manifest] = msgspec.json.decode(data, type=StepManifest)
        return list(found.values())


def _wait(run: LocalRun) -> None:
    """Wait for the end of a run in this process; whatever interrupts the wait cancels the run first."""
    try:
        while not run.wait(0.2):
            pass
    except BaseException:
        run.cancel()
        run.wait(CANCEL_SECONDS)
        raise


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
