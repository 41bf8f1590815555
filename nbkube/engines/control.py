"""What can be done with a run on this machine from outside: start it, follow it, stop, pause and resume it.

Any process may do any of this at any time, several at once. Who carries out a run is settled by its lock, what has
become of it by its events.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from nbkube.engines import detached
from nbkube.engines.model import Listener, Submission
from nbkube.errors import Diagnostic, NotFoundError, RunError, StorageError
from nbkube.runs import Phase, Run, RunState, RunStore
from nbkube.runs.process import is_alive
from nbkube.state.frozen import save_view
from nbkube.state.recycling import remove_tree
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

CANCEL_SECONDS = 20.0
"""How long a run may take to end when it is asked to; then it is killed."""

_NONE: Mapping[str, str] = {}
_PATIENCE = 10.0
_PAUSE = 0.02
_LATELY = 10
"""Among so many of the newest runs an equal one is looked for."""

Files = Callable[[Path, Path], FileView]
"""Freezes the project's files to a folder, given another one in which digests are kept from run to run."""


class RunControl:
    """The runs of one store that this machine carries out; `work` is the folder of their work folders.

    `variables` are added to the environment of runs and their steps: they lead to the store and to data.
    """

    def __init__(self, store: ObjectStore, work: Path, variables: Mapping[str, str] = _NONE) -> None:
        self._variables = dict(variables)
        self._store = store
        self._work = work
        self._runs = RunStore(store)

    def start(self, run: Run, submission: Submission, files: Files, findings: Iterable[Diagnostic] = ()) -> None:
        """Record a run and let a process of its own begin it; `findings` become warnings of the run.

        Raises:
            RunError: the process could not start.
        """
        detached.clean_work(self._work)
        known = self._is_known(run)
        with detached.Supervisor(self._store, self._work, run.id, self._variables, known=known) as supervisor:
            place = self._work / run.id
            place.mkdir(mode=0o700, exist_ok=True)
            view = files(place, self._work.parent)
            save_view(view, place / detached.BASE)
            detached.keep_submission(self._store, submission)
            recorder = self._runs.create(run)
            for finding in (*findings, *view.diagnostics):
                recorder({"event": "warning", "message": str(finding)})
            supervisor.go()

    def _is_known(self, run: Run) -> bool:
        """Tell whether this very notebook was run with these parameters lately, to a good end."""
        if not run.use_cache or run.begins:
            return False
        for run_id in reversed(list(self._store.folders("runs/"))[-_LATELY:]):
            with contextlib.suppress(NotFoundError, StorageError):  # half removed, or written by another version
                earlier = self._runs.run(run_id)
                if (earlier.notebook, earlier.root) == (run.notebook, run.root):
                    same = earlier.notebook_digest == run.notebook_digest and earlier.parameters == run.parameters
                    return same and self._runs.load(run_id).phase is Phase.SUCCEEDED
        return False

    def follow(self, run_id: str, on_event: Listener) -> RunState:
        """Tell a listener all events of a run until its end; whatever interrupts the waiting person cancels the run.

        The listener is called from another thread, with plain dicts. A second interruption kills what has not ended
        by itself yet.
        """
        follower = _Follower(self._runs, run_id, on_event)
        try:
            follower.wait()
        except KeyboardInterrupt:
            try:
                self._ask(run_id, "stop")
                if not follower.wait(CANCEL_SECONDS):
                    detached.end(self._runs, self._work, run_id, "killed")
            except KeyboardInterrupt:
                detached.end(self._runs, self._work, run_id, "killed")
            follower.wait(1.0)
            raise
        return self._runs.load(run_id)

    def stop(self, run_id: str, *, now: bool = False) -> RunState:
        """Cancel a run and wait for its end."""
        state = self._here(run_id)
        if state.phase.ended:
            return state
        if not now and state.process is not None and is_alive(state.process):
            self._ask(run_id, "stop")
            state = self._until(run_id, lambda state: state.phase.ended, CANCEL_SECONDS)
        if not state.phase.ended:
            detached.end(self._runs, self._work, run_id, "killed" if now else "stopped")
        return self._runs.load(run_id)

    def pause(self, run_id: str) -> RunState:
        """Have a run start no further step."""
        state = self._here(run_id)
        if state.phase is Phase.PAUSED:
            return state
        if state.phase not in (Phase.RUNNING, Phase.PENDING):
            raise RunError(f"run {run_id} does not go on ({state.phase}), so it cannot be paused.")
        self._ask(run_id, "pause")
        return self._until(run_id, lambda state: state.phase is not Phase.RUNNING, _PATIENCE)

    def resume(self, run_id: str) -> RunState:
        """Let a run go on; return its state when it does."""
        until = time.monotonic() + _PATIENCE
        while True:
            state = self._here(run_id)
            if state.phase is Phase.PAUSED:
                self._ask(run_id, "resume")
                return self._until(run_id, lambda state: state.phase is not Phase.PAUSED, _PATIENCE)
            if state.phase in (Phase.RUNNING, Phase.SUCCEEDED):
                return state
            detached.load_submission(self._store, run_id)
            with detached.Supervisor(self._store, self._work, run_id, self._variables) as supervisor:
                answer = supervisor.go(resume=True)
            if answer != detached.BUSY or time.monotonic() > until:
                return self._runs.load(run_id)
            time.sleep(_PAUSE)  # its last process is about to go, or somebody else's is about to begin

    def remove(self, run_id: str) -> None:
        """Remove a run's records and what it has left in the work folder. Raises `RunError` if it is going on."""
        self._here(run_id)
        with detached.locked(self._work, run_id) as mine:
            if not mine:
                raise RunError(f"run {run_id} is going on. Stop it first: nbkube stop {run_id}")
            self._runs.remove(run_id)
            remove_tree(self._work / run_id)
            detached.log_path(self._work, run_id).unlink(missing_ok=True)

    def _here(self, run_id: str) -> RunState:
        """Return a run's state. Raises `RunError` if a process of another machine has it."""
        state = self._runs.load(run_id)
        if state.process is not None and not state.phase.ended and is_alive(state.process) is None:
            where = state.process.host.partition("/")[0]
            raise RunError(f"run {run_id} belongs to {where}. Type the command there.")
        return state

    def _ask(self, run_id: str, what: str) -> None:
        detached.ask(self._runs, run_id, what)

    def _until(self, run_id: str, reached: Callable[[RunState], bool], seconds: float) -> RunState:
        """Wait until a run is as wanted, or lost, or the time is over; return its state."""
        until = time.monotonic() + seconds
        while True:
            state = self._runs.load(run_id)
            if reached(state) or state.phase.ended or state.phase is Phase.UNKNOWN or time.monotonic() > until:
                return state
            time.sleep(_PAUSE)


class _Follower:
    """Follows a run on a thread, so that an interruption does not lose the place."""

    def __init__(self, runs: RunStore, run_id: str, on_event: Listener) -> None:
        self._runs = runs
        self._run_id = run_id
        self._on_event = on_event
        self._ended = threading.Event()
        self._fault: BaseException | None = None
        threading.Thread(target=self._follow, name=f"follow-{run_id}", daemon=True).start()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for the end of the run; raises what the listener has raised."""
        ended = self._ended.wait(seconds)
        if self._fault is not None:
            raise self._fault
        return ended

    def _follow(self) -> None:
        try:
            for seen in self._runs.watch(self._run_id):
                self._on_event(msgspec.to_builtins(seen))
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits
            self._fault = fault
        finally:
            self._ended.set()
