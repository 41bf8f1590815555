"""The one service layer: command line, magics, widgets and server call this and nothing below it.

A `Client` belongs to a project (a folder) and its store. Everything is synchronous; progress is handed to a listener
that may be called from any thread.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.errors import Diagnostic, NbkubeError, NotebookError, NotFoundError, Place
from nbkube.state.model import FileEntry, OutputRef

if TYPE_CHECKING:
    from nbkube.engines.argo.control import ArgoControl
    from nbkube.engines.argo.engine import ArgoRun
    from nbkube.engines.control import RunControl
    from nbkube.engines.local import LocalRun
    from nbkube.engines.model import Listener
    from nbkube.pipeline.model import Pipeline
    from nbkube.profiles.model import Profile
    from nbkube.remote import Remote
    from nbkube.report.model import Report
    from nbkube.runs import Live, Phase, RunState, RunStore, RunUnit, Seen, StepRun
    from nbkube.runs.garbage import Collected
    from nbkube.runtime.program import Failure, StepManifest
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
        store: folder or `s3://BUCKET/PREFIX` that holds results; by default the profile's, else `.nbkube` in the
            project's root.
        profile: of nbkube.toml; by default that of NBKUBE_PROFILE, or the files' default.
    """

    def __init__(self, project: Path | None = None, *, store: str | None = None, profile: str = "") -> None:
        self._project = project
        self._store_url = store
        self._profile_name = profile
        self._profiles: dict[Path, Profile] = {}

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

        plan = Plan.of(self.show(path, parameters, options), path)
        profile = self._profile(plan.root)
        engine = engine or profile.engine
        if engine not in ("local", "argo"):
            raise NbkubeError(f"there is no engine {engine!r}. Fix: use local or argo.")
        run = plan.run(experiment, use_cache=use_cache, engine=engine, profile=profile.name)
        submission = plan.submission(run.id, use_cache=use_cache, parallel=parallel)
        if engine == "argo":
            self._remote(plan.root).start(plan, run, submission, on_event)
        else:
            self._control(plan.root).start(run, submission, plan.files)
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

        plan = Plan.of(self.show(path, parameters, options), path)
        run = plan.run("", use_cache=use_cache, engine="argo", profile=self._profile(plan.root).name)
        return self._remote(plan.root).export(plan, run, plan.submission("", use_cache=use_cache), on_event)

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
        from nbkube.engines.local import LocalEngine
        from nbkube.plan import Plan
        from nbkube.storage import open_store
        from nbkube.verify import PipelineResult, folder_outside, verify_notebook

        plan = Plan.of(self.show(path, parameters), path)
        with folder_outside(plan.root) as place:
            files = plan.files(place / "project")

            def run_pipeline(adversarial: bool) -> PipelineResult:
                run: LocalRun | ArgoRun
                started = time.monotonic()
                if (engine or self._profile(plan.root).engine) == "argo":
                    run, url = self._remote(plan.root).verifying(plan, files, adversarial=adversarial)
                else:
                    # A store of its own: what one run has made must not be found by the next.
                    store = open_store(place / f"store-{int(adversarial)}")
                    submission = plan.submission("verify", adversarial=adversarial)
                    run, url = LocalEngine(store, place / "work", files).submit(submission, _silent), store.url
                _wait(run)
                seconds = time.monotonic() - started
                return PipelineResult(run.bindings(), run.files(), run.metrics(), run.failure(), seconds, url)

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
        self._control().remove(self._runs().resolve(run_id))

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

    # -- places ----------------------------------------------------------------------------------------------------

    def _root(self, notebook: Path | None = None) -> Path:
        from nbkube.state.snapshot import find_root

        return find_root(notebook or (self._project or Path.cwd()) / "notebook")

    def _store(self, root: Path | None = None) -> ObjectStore:
        from nbkube.storage import open_store

        root = root or self._root()
        profile = self._profile(root)
        return open_store(self._store_url or profile.store.url or root / STORE_FOLDER)

    def _profile(self, root: Path) -> Profile:
        from nbkube.profiles import load_profile
        from nbkube.profiles.environment import adopt

        if root not in self._profiles:
            self._profiles[root] = load_profile(self._profile_name, root)
            adopt(self._profiles[root])
        return self._profiles[root]

    def _control(self, root: Path | None = None) -> RunControl:
        from nbkube.engines.control import RunControl

        root = root or self._root()
        return RunControl(self._store(root), root / STORE_FOLDER / "work")

    def _remote(self, root: Path | None = None) -> Remote:
        from nbkube.remote import Remote

        root = root or self._root()
        return Remote(self._profile(root), self._store(root), root / STORE_FOLDER / "work")

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
