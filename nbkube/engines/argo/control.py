"""What can be done from outside with a run that is on a cluster: start it, follow it, stop, pause and resume it."""

from __future__ import annotations

import time
from collections.abc import Callable

from nbkube.engines.argo.engine import ArgoEngine, ArgoRun
from nbkube.engines.argo.launch import Launch
from nbkube.engines.argo.news import PodNews, WorkflowNews, Workflows
from nbkube.engines.argo.place import project
from nbkube.engines.argo.prepare import again
from nbkube.engines.argo.target import Target
from nbkube.engines.argo.watch import finish, workflow_of
from nbkube.engines.model import Listener, Submission
from nbkube.errors import NotFoundError, RunError
from nbkube.runs import Phase, Run, RunEvent, RunState, RunStore
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

CANCEL_SECONDS = 60.0
"""How long a Workflow may take to end when it is asked to: its pods have 30 seconds each, and its exit hook runs."""

_PAUSE = 1.0


class ArgoControl:
    """The runs of one store that a cluster carries out."""

    def __init__(self, store: ObjectStore, workflows: Workflows, target: Target) -> None:
        self._store = store
        self._workflows = workflows
        self._target = target
        self._runs = RunStore(store)

    def start(
        self, run: Run, submission: Submission, view: FileView, uploading: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        """Send a run to the cluster. Raises what `ArgoEngine.submit` does."""
        engine = ArgoEngine(self._store, view, self._target, self._workflows, run=run, uploading=uploading)
        engine.start(submission)

    def follow(self, run_id: str, on_event: Listener) -> RunState:
        """Tell a listener all events of a run until its end; an interruption (KeyboardInterrupt) stops the run."""
        followed = self._followed(self._runs.run(run_id), on_event)
        try:
            while not followed.wait(0.2):
                pass
        except KeyboardInterrupt:
            try:
                followed.cancel()
                if not followed.wait(CANCEL_SECONDS):
                    self._end(run_id)
            except KeyboardInterrupt:
                self._end(run_id)
            raise
        return self._runs.load(run_id)

    def stop(self, run_id: str, *, now: bool = False) -> RunState:
        """Cancel a run and wait for its end; finished steps are kept."""
        state = self._runs.load(run_id)
        if state.phase.ended:
            return state
        if now:
            self._end(run_id)
            return self._runs.load(run_id)
        self._ask(run_id, "stop")
        self._workflows.stop(self._current(state.run))
        self._until_ended(state.run, CANCEL_SECONDS)
        if not self._runs.load(run_id).phase.ended:
            self._end(run_id)
        return self._runs.load(run_id)

    def pause(self, run_id: str) -> RunState:
        """Have a run start no further step."""
        state = self._runs.load(run_id)
        if state.phase is Phase.PAUSED:
            return state
        if state.phase.ended:
            raise RunError(f"run {run_id} does not go on ({state.phase}), so it cannot be paused.")
        self._workflows.suspend(self._current(state.run), paused=True)
        self._ask(run_id, "pause")
        self._runs.append(run_id, RunEvent("run-paused"))
        return self._runs.load(run_id)

    def resume(self, run_id: str) -> RunState:
        """Let a run go on that is paused, was cancelled or has failed; finished steps are kept."""
        state = self._runs.load(run_id)
        if state.phase is Phase.PAUSED:
            self._workflows.suspend(self._current(state.run), paused=False)
            self._ask(run_id, "resume")
            self._runs.append(run_id, RunEvent("run-resumed"))
        elif state.phase.ended and state.phase is not Phase.SUCCEEDED:
            self._go_on(state)
        return self._runs.load(run_id)

    def remove(self, run_id: str) -> None:
        """Remove a run's records; results it made stay in the cache.

        Raises:
            RunError: the run is going on.
        """
        self._runs.remove(run_id)

    def settle(self, run_id: str) -> RunState:
        """Record the end of a run whose Workflow has ended or is gone without that anybody has told; return the state.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        state = self._runs.load(run_id)
        if not state.phase.ended and state.run.workflow:
            submission = self._submission(state.run)
            for news in self._workflows.watch(self._current(state.run)):
                if news is None:
                    break
                if isinstance(news, WorkflowNews) and news.ended:
                    finish(self._store, submission, news, {})
        return self._runs.load(run_id)

    def waiting(self, run_id: str) -> dict[str, str]:
        """Return why pods of a run do not get on now: a sentence for each step that waits for something.

        Raises:
            ClusterError: the cluster cannot be reached.
        """
        found: dict[str, str] = {}
        for news in self._workflows.watch(self._current(self._runs.run(run_id))):
            if news is None:
                break
            if isinstance(news, PodNews):
                found[news.step] = news.reason if news.phase == "Pending" else ""
        return {step: reason for step, reason in found.items() if reason}

    # -- inside ----------------------------------------------------------------------------------------------------

    def _followed(self, run: Run, on_event: Listener) -> ArgoRun:
        launch = Launch.load(self._store, run.submission)
        view = launch.files(self._store, project())
        followed = ArgoRun(self._store, launch.of_run(run.id, project()), view, self._workflows, on_event)
        followed.follow()
        return followed

    def _submission(self, run: Run) -> Submission:
        if not run.submission:
            raise NotFoundError(f"run {run.id} was not made for a cluster.")
        return Launch.load(self._store, run.submission).of_run(run.id, project())

    def _go_on(self, state: RunState) -> None:
        number = 1 + sum(1 for event in self._runs.events(state.id) if event.event == "run-started")
        name = f"{state.id}-r{number}"
        for step in state.repeated:
            self._runs.append(state.id, RunEvent("again", step=step, reason="resumed"))
        manifest = again(self._submission(state.run), state.run, self._store, self._target, name)
        self._runs.append(state.id, RunEvent("run-started", workflow=name))
        if manifest is not None:
            self._workflows.send(manifest)

    def _current(self, run: Run) -> str:
        return workflow_of(self._runs, run.id)

    def _ask(self, run_id: str, what: str) -> None:
        self._runs.append(run_id, RunEvent("asked", state=what))

    def _until_ended(self, run: Run, seconds: float) -> None:
        until = time.monotonic() + seconds
        submission = self._submission(run)
        look_at = 0.0
        for news in self._workflows.watch(self._current(run)):
            if time.monotonic() > look_at:
                look_at = time.monotonic() + _PAUSE
                if self._runs.load(run.id).phase.ended or time.monotonic() > until:
                    return
            if isinstance(news, WorkflowNews) and news.ended:
                finish(self._store, submission, news, {})
                return

    def _end(self, run_id: str) -> None:
        """End a run at once, without its exit hook."""
        run = self._runs.run(run_id)
        self._workflows.stop(self._current(run), now=True)
        if not self._runs.load(run_id).phase.ended:
            self._runs.append(run_id, RunEvent("run-ended", phase=Phase.CANCELLED, reason="stopped at once"))
