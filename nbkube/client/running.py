"""Runs: started, followed, stopped, taken up again, proved."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.client.notebooks import Notebooks, Options
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.engines.argo.engine import ArgoRun
    from nbkube.engines.local import LocalRun
    from nbkube.engines.model import Listener
    from nbkube.plan import Plan
    from nbkube.runs import RunState, Seen
    from nbkube.runs.garbage import Collected
    from nbkube.state.snapshot import FileView
    from nbkube.verify.model import Verification

CANCEL_SECONDS = 20.0


def _silent(_: Mapping[str, Any]) -> None:
    return None


class Running(Notebooks):
    """Runs: started, followed, stopped, taken up again, proved."""

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
        fuse: bool = True,
        on_event: Listener = _silent,
    ) -> RunState:
        """Run a notebook as a pipeline, follow it, and return the state it ended in.

        `engine` is `local` or `argo`, by default the profile's. With `fuse` chains of steps that ask for the same
        share a pod there.

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
            fuse=fuse,
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
        fuse: bool = True,
        on_event: Listener = _silent,
    ) -> str:
        """Start a run and return its id; the run goes on whatever becomes of this process. Raises what `run` does."""
        from nbkube.plan import Plan

        plan = Plan.of(self._pipeline(path, parameters, options), path)
        return self._start(plan, experiment, use_cache, parallel, engine, on_event, fuse=fuse)

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
        self,
        plan: Plan,
        experiment: str,
        use_cache: bool,
        parallel: int | None,
        engine: str,
        on_event: Listener,
        *,
        fuse: bool = True,
    ) -> str:
        profile = self.profile(plan.root)
        engine = engine or profile.engine
        if engine not in ("local", "argo"):
            raise NbkubeError(f"there is no engine {engine!r}. Fix: use local or argo.")
        run = plan.run(experiment, use_cache=use_cache, engine=engine, profile=profile.name)
        submission = plan.submission(run.id, use_cache=use_cache, parallel=parallel, fuse=fuse)
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

    def verify(
        self,
        path: Path,
        *,
        parameters: Mapping[str, Any] | None = None,
        engine: str = "",
        fuse: bool = True,
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
                with self._verifying(plan, files, place, engine, adversarial=adversarial, fuse=fuse) as (run, url):
                    _wait(run)
                    seconds = time.monotonic() - started
                    return PipelineResult(run.bindings(), run.files(), run.metrics(), run.failure(), seconds, url)

            subject = plan.subject(files, self.profile(plan.root).store.variables())
            return verify_notebook(subject, run_pipeline, open_store(place / "store"), tell)

    @contextlib.contextmanager
    def _verifying(
        self, plan: Plan, files: FileView, place: Path, engine: str, *, adversarial: bool, fuse: bool = True
    ) -> Iterator[tuple[LocalRun | ArgoRun, str]]:
        """Run the pipeline for a comparison on an engine; yield the run and its store's address."""
        from nbkube.engines.local import LocalEngine
        from nbkube.storage import open_store

        if (engine or self.profile(plan.root).engine) == "argo":
            with self._remote(plan.root).verifying(plan, files, adversarial=adversarial, fuse=fuse) as found:
                yield found
        else:
            # A store of its own: what one run has made must not be found by the next.
            store = open_store(place / f"store-{int(adversarial)}")
            submission = plan.submission("verify", adversarial=adversarial)
            submission = submission.with_variables(self.profile(plan.root).store.variables())
            yield LocalEngine(store, place / "work", files).submit(submission, _silent), store.url

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
            NbkubeError: the grace period is too short while runs go on.
        """
        from nbkube.runs import garbage

        store = self._store()
        going = [one.id for one in self._runs().list() if not one.phase.ended]
        if grace < garbage.SHORTEST_GRACE and going:
            raise NbkubeError(f"runs have not ended ({', '.join(going[:3])}). Fix: a grace period of 2h or more.")
        damaged = tuple(garbage.scrub(store)) if scrub else ()
        return msgspec.structs.replace(garbage.collect(store, grace=grace, dry_run=dry_run), damaged=damaged)


def _wait(run: LocalRun | ArgoRun) -> None:
    """Wait for the end of a run in this process; whatever interrupts the wait cancels the run first."""
    try:
        while not run.wait(0.2):
            pass
    except BaseException:
        run.cancel()
        run.wait(CANCEL_SECONDS)
        raise
