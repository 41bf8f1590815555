"""The one service layer: command line, magics, widgets and server call this and nothing below it.

A `Client` belongs to a project (a folder) and its store. Everything is synchronous; progress is handed to a listener
that may be called from any thread.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.errors import Diagnostic, NbkubeError, NotebookError, NotFoundError, Place
from nbkube.state.model import FileEntry, OutputRef

if TYPE_CHECKING:
    from nbkube.cluster import Cluster
    from nbkube.cluster.capacity import Capacity
    from nbkube.engines.argo.control import ArgoControl
    from nbkube.engines.argo.engine import ArgoRun
    from nbkube.engines.control import RunControl
    from nbkube.engines.forecast import Forecast
    from nbkube.engines.local import LocalRun
    from nbkube.engines.model import Listener
    from nbkube.interactive.apply import Changes
    from nbkube.interactive.model import Opened, Pulled, Restored
    from nbkube.notebook.model import Notebook
    from nbkube.pipeline.model import Pipeline
    from nbkube.pipeline.suggest import Suggestion
    from nbkube.plan import Plan
    from nbkube.preflight.doctor import Check
    from nbkube.profiles import Profile, Profiles
    from nbkube.remote import Remote
    from nbkube.report.model import Report
    from nbkube.runs import Live, Phase, RunNotes, RunState, RunStore, RunUnit, Seen, StepRun
    from nbkube.runs.garbage import Collected
    from nbkube.runtime.program import Failure, StepManifest
    from nbkube.state.snapshot import FileView
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
        store: folder or bucket that holds results; by default the profile's, else `.nbkube` in the project's root.
        profile: name of the profile; "" takes $NBKUBE_PROFILE, else the default of nbkube.toml, else `local`.
    """

    def __init__(self, project: Path | None = None, *, store: str | None = None, profile: str = "") -> None:
        self._project = project
        self._store_url = store
        self._profile_name = profile

    # -- reading notebooks -----------------------------------------------------------------------------------------

    def show(
        self,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        *,
        content: bytes | None = None,
    ) -> Pipeline:
        """Return the pipeline a notebook means, faults included as diagnostics; runs and writes nothing.

        `content` is the notebook's JSON as it stands in an editor; without it the file is read.
        Where an earlier run has seen steps with the same code, their edges are those it saw. A bucket is asked only if
        this client was given one.

        Raises:
            NotebookError: the file cannot be read as a notebook.
        """
        from nbkube.observed import records_of, with_record
        from nbkube.plan import place_of
        from nbkube.steps import build_programs

        pipeline = self._pipeline(path, parameters, options, content)
        if any(one.severity == "error" for one in pipeline.diagnostics):
            return pipeline  # it has no programs
        root, notebook = place_of(path)
        store = self._nearby_store(root)
        if store is None or next(iter(store.folders("runs/")), None) is None:
            return pipeline
        programs = build_programs(pipeline, pipeline.values, cwd=notebook.parent.as_posix())
        return with_record(pipeline, records_of(store, notebook.as_posix(), programs))

    def _pipeline(
        self,
        path: Path,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        content: bytes | None = None,
    ) -> Pipeline:
        """Return the pipeline as analysis alone sees it: what is run does not depend on what has run."""
        from nbkube.pipeline import build_pipeline

        return build_pipeline(_notebook(path, content)[0], parameters, options)

    def suggest(self, path: Path, *, content: bytes | None = None) -> tuple[Suggestion, ...]:
        """Return tags for the cells of a notebook that have none yet; runs and writes nothing.

        Raises:
            NotebookError: the file cannot be read as a notebook.
        """
        from nbkube.notebook.headings import headings
        from nbkube.pipeline.suggest import suggest_tags

        notebook, data = _notebook(path, content)
        return suggest_tags(notebook, headings(str(path), data))

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
        engine: str = "",
        on_event: Listener = _silent,
    ) -> RunState:
        """Run a notebook as a pipeline, follow it, and return the state it ended in.

        `engine` is `local` or `argo`, by default the profile's.

        A step that fails makes a run with the phase Failed, not an exception. Ctrl-C (KeyboardInterrupt) cancels the
        run: all its processes are ended, finished steps are kept. The run does not need this process: if it ends in
        any other way, the run goes on.

        Raises:
            NotebookError: the notebook, its options or the parameters are wrong; nothing has been started or written.
            StorageError: the store cannot be written.
            RunError: the process that carries out the run could not start.
            ProfileError: the profile is missing or does not say enough for a cluster.
            ClusterError: the cluster cannot be reached; `RefusedError`: it does not take the run.
        """
        run_id = self.submit(
            path,
            parameters=parameters,
            options=options,
            experiment=experiment,
            use_cache=use_cache,
            parallel=parallel,
            engine=engine,
            on_event=on_event,
        )
        on_event({"event": "run-created", "run": run_id})
        return self._control_of(run_id, self._root(path)).follow(run_id, on_event)

    def submit(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        experiment: str = "",
        use_cache: bool = True,
        parallel: int | None = None,
        engine: str = "",
        on_event: Listener = _silent,
    ) -> str:
        """Start a run and return its id; the run goes on whatever becomes of this process. Raises what `run` does."""
        from nbkube.plan import Plan

        plan = Plan.of(self._pipeline(path, parameters, options), path)
        return self._start(plan, experiment, use_cache, parallel, engine, on_event)

    def run_from(
        self,
        path: Path,
        step: str,
        shell: Any,
        *,
        options: Options | None = None,
        experiment: str = "",
        parallel: int | None = None,
        on_event: Listener = _silent,
    ) -> RunState:
        """Run a notebook's steps from `step` on with what a live kernel has; no other run finds the results.

        Where the kernel is not what the notebook says, the listener gets a `difference` with a message. What else
        `run` says holds here, too.

        Raises:
            NotFoundError: there is no such step.
            NotebookError: these steps have a fault, or need something that the kernel does not have.
        """
        from nbkube.interactive.capture import capture
        from nbkube.plan import Plan, place_of

        pipeline = self._pipeline(path, options=options)
        root, notebook = place_of(path)
        live = capture(pipeline, step, shell, self._store(root), root=root, cwd=notebook.parent.as_posix())
        for one in live.differences:
            on_event({"event": "difference", "message": one})
        run_id = self._start(Plan.from_kernel(pipeline, path, live), experiment, False, parallel, "local", on_event)
        on_event({"event": "run-created", "run": run_id})
        return self._control(root).follow(run_id, on_event)

    def _start(
        self, plan: Plan, experiment: str, use_cache: bool, parallel: int | None, engine: str, on_event: Listener
    ) -> str:
        profile = self.profile(plan.root)
        engine = engine or profile.engine
        if engine not in ("local", "argo"):
            raise NbkubeError(f"there is no engine {engine!r}. Fix: use local or argo.")
        run = plan.run(experiment, use_cache=use_cache, engine=engine, profile=profile.name)
        submission = plan.submission(run.id, use_cache=use_cache, parallel=parallel)
        if engine == "argo":
            self._remote(plan.root).start(plan, run, submission, on_event)
        else:
            self._control(plan.root).start(run, submission, plan.files, plan.check_requests())
        return run.id

    def export(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        options: Options | None = None,
        use_cache: bool = True,
        on_event: Listener = _silent,
    ) -> dict[str, Any]:
        """Return an Argo Workflow of which each creation runs the notebook as it is now; all it needs besides is put
        into the store. Raises what `run` does with the engine argo.
        """
        from nbkube.plan import Plan

        plan = Plan.of(self._pipeline(path, parameters, options), path)
        run = plan.run("", use_cache=use_cache, engine="argo", profile=self.profile(plan.root).name)
        return self._remote(plan.root).export(plan, run, plan.submission("", use_cache=use_cache), on_event)

    def forecast(
        self, path: Path, *, parameters: Mapping[str, Any] | None = None, use_cache: bool = True
    ) -> tuple[Pipeline, tuple[Forecast, ...]]:
        """Return the pipeline a run would be made of and for each of its steps whether its result is known already.

        Nothing is started. Raises `NotebookError` where the run would be refused.
        """
        from nbkube.engines.forecast import forecast
        from nbkube.plan import Plan
        from nbkube.state.snapshot import snapshot

        plan = Plan.of(self._pipeline(path, parameters), path)
        submission = plan.submission("forecast", use_cache=use_cache)
        view = snapshot(plan.root, plan.root / STORE_FOLDER)
        return plan.pipeline, forecast(self._store(plan.root), submission, view)

    def verify(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        engine: str = "",
        tell: Callable[[str], None] = lambda _: None,
    ) -> Verification:
        """Prove that the pipeline computes what the notebook computes: both run twice, without cache, and everything
        they leave is compared. The notebook runs here, the pipeline on the engine.

        Raises:
            NotebookError: the notebook or the parameters are wrong.
            RunError: the notebook itself does not run to the same end twice.
        """
        from nbkube.plan import Plan
        from nbkube.storage import open_store
        from nbkube.verify import PipelineResult, folder_outside, verify_notebook

        plan = Plan.of(self._pipeline(path, parameters), path)
        with folder_outside(plan.root) as place:
            files = plan.files(place / "project")

            def run_pipeline(adversarial: bool) -> PipelineResult:
                started = time.monotonic()
                with self._verifying(plan, files, place, engine, adversarial=adversarial) as (run, url):
                    _wait(run)
                    seconds = time.monotonic() - started
                    return PipelineResult(run.bindings(), run.files(), run.metrics(), run.failure(), seconds, url)

            return verify_notebook(plan.subject(files), run_pipeline, open_store(place / "store"), tell)

    @contextlib.contextmanager
    def _verifying(
        self, plan: Plan, files: FileView, place: Path, engine: str, *, adversarial: bool
    ) -> Iterator[tuple[LocalRun | ArgoRun, str]]:
        """Run the pipeline for a comparison on an engine; yield the run and its store's address."""
        from nbkube.engines.local import LocalEngine
        from nbkube.storage import open_store

        if (engine or self.profile(plan.root).engine) == "argo":
            with self._remote(plan.root).verifying(plan, files, adversarial=adversarial) as found:
                yield found
        else:
            # A store of its own: what one run has made must not be found by the next.
            store = open_store(place / f"store-{int(adversarial)}")
            submission = plan.submission("verify", adversarial=adversarial)
            yield LocalEngine(store, place / "work", files).submit(submission, _silent), store.url

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
        run_id = self._runs().resolve(run_id)
        return self._control_of(run_id).follow(run_id, on_event)

    def stop(self, run_id: str, *, now: bool = False) -> RunState:
        """Cancel a run and wait for its end; finished steps are kept. With `now` steps get no time to end themselves.

        A run that has ended stays as it is, so that stopping twice does no harm.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run belongs to another machine.
        """
        run_id = self._runs().resolve(run_id)
        return self._control_of(run_id).stop(run_id, now=now)

    def pause(self, run_id: str) -> RunState:
        """Have a run start no further step; those that are running go on to their end.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run does not go on, or belongs to another machine.
        """
        run_id = self._runs().resolve(run_id)
        return self._control_of(run_id).pause(run_id)

    def resume(self, run_id: str) -> RunState:
        """Let a run go on that is paused, was interrupted, was cancelled or has failed; finished steps are kept.

        One that goes on already, or has succeeded, is left alone.

        Raises:
            NotFoundError: there is no such run, or what it needs is gone.
            RunError: the run belongs to another machine, or its process cannot start.
        """
        run_id = self._runs().resolve(run_id)
        return self._control_of(run_id).resume(run_id)

    def remove(self, run_id: str) -> None:
        """Remove the records of a run that has ended or was interrupted; its results stay in the cache.

        Raises:
            NotFoundError: there is no such run.
            RunError: the run is going on.
        """
        run_id = self._runs().resolve(run_id)
        self._control_of(run_id).remove(run_id)

    def collect(self, *, grace: float = 86400.0, dry_run: bool = False, scrub: bool = False) -> Collected:
        """Remove results and blobs that no run and no reference leads to and that were not used for `grace` seconds.

        Runs may go on meanwhile. With `dry_run` nothing is removed; with `scrub` every byte of the store is read
        first, and what is damaged is named in the answer.

        Raises:
            NbkubeError: the grace period is too short while runs go on, or the store has no garbage collection.
        """
        from nbkube.runs import garbage
        from nbkube.storage import CollectableStore

        store = self._store()
        if not isinstance(store, CollectableStore):
            raise NbkubeError(f"{store.url}: garbage collection works on stores in a folder.")
        going = [one.id for one in self.runs() if not one.phase.ended]
        if grace < garbage.SHORTEST_GRACE and going:
            raise NbkubeError(f"runs have not ended ({', '.join(going[:3])}). Fix: a grace period of 2h or more.")
        damaged = tuple(garbage.scrub(store)) if scrub else ()
        return msgspec.structs.replace(garbage.collect(store, grace=grace, dry_run=dry_run), damaged=damaged)

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
        state = runs.load(runs.resolve(run_id))
        if state.run.engine == "argo" and state.phase == "Unknown":
            with contextlib.suppress(NbkubeError):  # a laptop without the cluster sees what the store tells
                return self._remote().control().settle(state.id)
        return state

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

    def shown(self, run_id: str, step: str, start: int = 0) -> tuple[list[Live], int, bool]:
        """Return what a step has shown from its piece `start` on, the next `start`, and whether no more will come.

        Raises:
            NotFoundError: there is no such run or step.
        """
        runs = self._runs()
        state = runs.load(runs.resolve(run_id))
        unit = state.step(step)
        if unit is None:
            raise NotFoundError(f"run {state.id} has no step {step!r}.")
        pieces = [self._log(unit.log)] if unit.cached and unit.log else list(runs.live(state.id, unit.name))
        ended = unit.phase.ended or state.phase.ended or state.phase == "Unknown"
        return pieces[start:], len(pieces), ended

    def page(self, *, before: str = "", limit: int = 100, notebook: str | None = None) -> tuple[list[RunState], int]:
        """Return the newest runs older than the run `before`, and how many runs there are in all."""
        return self._runs().page(before=before, limit=limit, notebook=notebook)

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

    # -- state both ways -------------------------------------------------------------------------------------------

    def open_step(self, run_id: str, step: str, output: Path | None = None) -> Opened:
        """Write a notebook whose first cell brings a kernel to where a step began, or to the cell where it failed.

        Raises:
            NotFoundError: there is no such run or step, or the step has not begun.
            NbkubeError: the file exists.
        """
        from nbkube.interactive.opening import open_step

        state = self.status(run_id)
        default = self._store_url is None and not self._profile_name
        return open_step(self._store(), state, step, output, project=self._root(), default_store=default)

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
        """Return files in buckets (on the server of the profile, else of the environment) and folders."""
        from nbkube.storage.files import Storage

        os.environ.update(self.profile().store.variables())
        return Storage("")

    def storage_place(self) -> str:
        """Return the place of this project's files: `NBKUBE_STORAGE`, the profile's bucket, or the project."""
        return os.environ.get("NBKUBE_STORAGE") or self.profile().store.url or f"{self._root()}/"

    # -- profiles and clusters -------------------------------------------------------------------------------------

    def profiles(self) -> Profiles:
        """Return all profiles that the project's and the user's nbkube.toml hold.

        Raises:
            ProfileError: a file is wrong.
        """
        from nbkube.profiles import load_profiles

        return load_profiles(self._root())

    def profile(self, root: Path | None = None) -> Profile:
        """Return the profile in force (of the project at `root`, by default this one's).

        Raises:
            ProfileError: there is no such profile, or a file is wrong.
        """
        from nbkube.profiles import load_profile

        return load_profile(self._profile_name, root or self._root())

    def add_profile(self, name: str, settings: Mapping[str, str], *, for_user: bool = False) -> Path:
        """Add a profile to the project's nbkube.toml, or the user's own, and return the file's path.

        Raises:
            ProfileError: there is one of this name in the file, or a setting is wrong; nothing is written.
        """
        from nbkube.profiles import user_file
        from nbkube.profiles.write import FILE, add_profile

        return add_profile(user_file() if for_user else self._root() / FILE, name, settings)

    def manifests(
        self, namespace: str = "", *, users: Sequence[str] = (), groups: Sequence[str] = (), capacity: bool = False
    ) -> str:
        """Return as YAML what an admin applies so that the profile's namespace can run notebooks.

        Raises:
            ProfileError: no namespace is named.
        """
        from nbkube.profiles.manifests import as_yaml, manifests

        profile = self.profile()
        found = manifests(profile, namespace, users=users, groups=groups, capacity=capacity)
        return as_yaml(profile, found)

    def cluster(self) -> Cluster:
        """Return the profile's cluster; nothing is sent yet.

        Raises:
            ClusterError: no cluster is known here.
        """
        from nbkube.cluster import connect

        profile = self.profile()
        return connect(profile.context, profile.namespace)

    def doctor(self) -> Iterator[Check]:
        """Look at everything a run with the profile needs, and yield what was found of each part."""
        from nbkube.preflight.doctor import examine

        yield from examine(self.profile(), self.cluster, self._store)

    def resources(self) -> Capacity:
        """Return what there is and what is free: on the profile's cluster, or on this machine.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        from nbkube.cluster.capacity import survey
        from nbkube.preflight.machine import this_machine

        return survey(self.cluster()) if self.profile().engine == "argo" else this_machine()

    # -- places ----------------------------------------------------------------------------------------------------

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self._root()

    def _root(self, notebook: Path | None = None) -> Path:
        from nbkube.state.snapshot import find_root

        return find_root(notebook or (self._project or Path.cwd()) / "notebook")

    @property
    def store_url(self) -> str:
        """The address of the store of this client's project."""
        return self._store().url

    def _nearby_store(self, root: Path) -> ObjectStore | None:
        """Return the store if looking into it opens no connection, or if a person has named it; else None."""
        try:
            store = self._store(root)
        except NbkubeError:
            return None  # what is wrong with it is told by whoever needs it
        return store if self._store_url is not None or store.url.startswith("file:") else None

    def _store(self, root: Path | None = None) -> ObjectStore:
        from nbkube.storage import open_store

        place = root or self._root()
        if self._store_url:
            return open_store(self._store_url)
        chosen = self.profile(place).store
        if "://" not in chosen.url:
            return open_store(place / (chosen.url or STORE_FOLDER))
        # The steps see the same variables, so that their cells read the same bucket.
        os.environ.update(chosen.variables())
        return open_store(chosen.url)

    def _control(self, root: Path | None = None) -> RunControl:
        from nbkube.engines.control import RunControl

        root = root or self._root()
        return RunControl(self._store(root), root / STORE_FOLDER / "work")

    def _remote(self, root: Path | None = None) -> Remote:
        from nbkube.remote import Remote

        root = root or self._root()
        return Remote(self.profile(root), self._store(root), root / STORE_FOLDER / "work")

    def _control_of(self, run_id: str, root: Path | None = None) -> RunControl | ArgoControl:
        on_cluster = self._runs(root).run(run_id).engine == "argo"
        return self._remote(root).control() if on_cluster else self._control(root)

    def _runs(self, root: Path | None = None) -> RunStore:
        from nbkube.runs import RunStore

        return RunStore(self._store(root))

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


def _notebook(path: Path, content: bytes | None) -> tuple[Notebook, bytes]:
    """Read a notebook from what an editor holds, or from its file; return its bytes, too."""
    import hashlib

    from nbkube.notebook.read import parse_notebook
    from nbkube.notebook.source import read_bytes

    if content is None:
        found = read_bytes(str(path))
        return parse_notebook(str(path), found.data, found.digest), found.data
    return parse_notebook(str(path), content, hashlib.sha256(content).hexdigest()), content


def _wait(run: LocalRun | ArgoRun) -> None:
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
