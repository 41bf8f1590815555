"""The Argo engine: a submission becomes a Workflow; the run is followed from the store, its pods from the cluster."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from nbkube.engines.argo.news import Workflows
from nbkube.engines.argo.prepare import plain_run, prepare
from nbkube.engines.argo.standing import Standing, metrics, view_at
from nbkube.engines.argo.target import Target
from nbkube.engines.argo.watch import Watcher, workflow_of
from nbkube.engines.model import Listener, Submission
from nbkube.engines.results import Result
from nbkube.engines.schedule import Schedule
from nbkube.errors import NbkubeError, StorageError
from nbkube.runs import Phase, Run, RunEvent, RunStore
from nbkube.runs.watch import Seen
from nbkube.runtime.program import Failure
from nbkube.state.model import OutputRef
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

_ENDS: dict[str, Any] = {"phase": None, "reason": "", "seconds": 0.0, "cached": False, "manifest": "", "metrics": {}}
_ENDS |= {"failure": None, "executed": "", "log": "", "cpu_seconds": 0.0, "peak_memory": 0, "gpu_memory": 0, "gpus": 0}

_PAUSE = 2.0
"""Seconds until a store that does not answer is asked again: loss of contact is not the run's end."""


class ArgoEngine:
    """Runs submissions as Workflows of a cluster.

    Args:
        store: this machine's way to the store that the pods use, too.
        view: the project's files.
        target: what the profile says of the pods.
        workflows: the cluster.
        run: the record of the run, where more is known of it than the submission says.
        uploading: is told (files done, files in all) while the project's files go to the store.
    """

    def __init__(
        self,
        store: ObjectStore,
        view: FileView,
        target: Target,
        workflows: Workflows,
        *,
        run: Run | None = None,
        uploading: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._store = store
        self._view = view
        self._target = target
        self._workflows = workflows
        self._run = run
        self._uploading = uploading

    def submit(self, submission: Submission, listener: Listener) -> ArgoRun:
        """Send a run to the cluster and return when it is there; it needs this process no longer.

        Raises:
            NotebookError: an option of a step cannot be had on a cluster.
            ClusterError: the cluster cannot be reached or refuses the run.
            StorageError: the store cannot be reached.
        """
        self.start(submission)
        handle = ArgoRun(self._store, submission, self._view, self._workflows, listener)
        handle.follow()
        return handle

    def start(self, submission: Submission) -> None:
        """Send a run to the cluster without following it. Raises what `submit` does."""
        record = self._run or plain_run(submission)
        prepared = prepare(submission, record, self._view, self._store, self._target, self._uploading)
        if prepared.manifest is None:
            return
        try:
            self._workflows.send(prepared.manifest)
        except NbkubeError as error:
            reason = f"the cluster did not take it: {error}"
            RunStore(self._store).append(submission.run, RunEvent("run-ended", phase=Phase.FAILED, reason=reason))
            raise


class ArgoRun:
    """A run on a cluster as this process follows it: one thread reads the store, one watches the cluster."""

    def __init__(
        self, store: ObjectStore, submission: Submission, view: FileView, workflows: Workflows, listener: Listener
    ) -> None:
        self._store = store
        self._submission = submission
        self._view = view
        self._workflows = workflows
        self._listener = listener
        self._runs = RunStore(store)
        self._standing = Standing(store, submission)
        self._watcher = Watcher(store, submission, workflows, listener)
        self._told: Counter[bytes] = Counter()
        self._fault: BaseException | None = None
        self._ended = threading.Event()

    # -- what callers see ------------------------------------------------------------------------------------------

    def follow(self) -> None:
        """Start to follow the run."""
        for work in (self._read, self._watcher.run):
            threading.Thread(target=work, name=f"{work.__name__}-{self._submission.run}", daemon=True).start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if it has not come in time. Raises what made it impossible to follow the run."""
        ended = self._ended.wait(timeout)
        if ended and self._fault is not None:
            raise self._fault
        return ended

    def cancel(self, reason: str = "", *, now: bool = False) -> None:
        """Ask Argo to end the pods of the run; finished results are kept."""
        run = self._submission.run
        self._runs.append(run, RunEvent("asked", state="stop", reason=reason))
        self._workflows.stop(workflow_of(self._runs, run), now=now)

    def bindings(self) -> dict[str, OutputRef]:
        """Return the variables at the notebook's end, as far as the run has come."""
        return self._plan().bindings(len(self._submission.units))

    def files(self) -> FileView:
        """Return the project's files at the notebook's end, as far as the run has come."""
        return view_at(self._plan(), self._view, len(self._submission.units))

    def metrics(self) -> dict[str, Any]:
        """Return the metrics of the steps that have finished."""
        return metrics(self._plan())

    def failure(self) -> Failure | None:
        """Return why the run failed, where the reason is a step."""
        plan = self._plan()
        failed = plan.first_failure()
        outcome = None if failed is None else plan.groups[failed].outcome
        return outcome.failure if outcome else None

    # -- following -------------------------------------------------------------------------------------------------

    def _plan(self) -> Schedule[Result]:
        return self._standing.load()

    def _read(self) -> None:
        try:
            while not self._has_told_all():
                self._ended.wait(_PAUSE)
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits
            self._fault = fault
        finally:
            self._watcher.close()
            self._ended.set()

    def _has_told_all(self) -> bool:
        """Pass on what the store tells until the run's end; False if the store could not be reached any more."""
        skipped = self._told.copy()
        try:
            for seen in self._runs.watch(self._submission.run):
                key = msgspec.json.encode(seen)
                if skipped[key]:
                    skipped[key] -= 1
                    continue
                self._told[key] += 1
                self._listener(told(seen))
        except StorageError as error:
            self._listener({"event": "contact", "lost": True, "reason": str(error)})
            return False
        return True


def told(seen: Seen) -> dict[str, Any]:
    """Return an event as an engine's listener gets it."""
    found: dict[str, Any] = {**msgspec.json.decode(msgspec.json.encode(seen)), "event": seen.event}
    return {**_ENDS, **found} if seen.event in ("step-ended", "run-ended") else found
