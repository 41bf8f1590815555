"""Runs on this machine that belong to a process of their own: starting it, reaching it, and one of them per run.

The process (`nbkube.engines.supervisor`) is no child of anybody's and has a session of its own: a terminal that is
closed, a command that is killed, a Jupyter server that is restarted do not reach it. What it needs lies in the store
(submission, events) and in the run's work folder (the project's files as they were). A lock on a file of that folder
is held by it and by nobody else; the system lets go of it when the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from nbkube.decoding import from_json
from nbkube.engines.model import Submission
from nbkube.engines.supervisor import NOTHING, PROCESSES
from nbkube.errors import NotFoundError, RunError
from nbkube.runs import Phase, RunEvent, RunStore
from nbkube.runs.process import send_signal
from nbkube.state.recycling import remove_tree
from nbkube.storage.disk import explained
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import seal, unsealed

POKE = signal.SIGUSR1
"""Tells a supervisor to look for what it has been asked."""

START_SECONDS = 60.0
_KILL_SECONDS = 10.0

BASE = "base"
"""The folder, in a run's work folder, of the project's files as they were when the run was made."""

GOING = "going"
BUSY = "busy"
ENDED = "ended"


def keep_submission(store: ObjectStore, submission: Submission) -> None:
    """Write down what an engine is given, so that any process can take the run up; before the run is recorded."""
    store.create(_submission_name(submission.run), seal(msgspec.json.encode(submission)))


def load_submission(store: ObjectStore, run_id: str) -> Submission:
    """Return a run's submission.

    Raises:
        NotFoundError: the run was made by a version that did not keep it.
    """
    data = store.read(_submission_name(run_id))
    plain = None if data is None else unsealed(data)
    if plain is None:
        why = "were not kept" if data is None else "are damaged"
        raise NotFoundError(f"run {run_id} cannot be resumed: its programs {why}. Run its notebook again.")
    return from_json(plain, Submission)


def _submission_name(run_id: str) -> str:
    return f"runs/{run_id}/submission.json"


# -- one supervisor per run ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(work: Path, run_id: str) -> Iterator[bool]:
    """Hold the lock of a run; False if another process has it.

    Args:
        work: the folder of all runs' work folders.
        run_id: the run.
    """
    path = lock_path(work, run_id)
    with explained(work):
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = _locked_handle(path)
    if handle is None:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            path.unlink()  # while it is held: whoever has opened it sees that it is no longer the run's
        os.close(handle)


def _locked_handle(path: Path) -> int | None:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        except BlockingIOError:
            os.close(handle)
            return None
        except FileNotFoundError:
            pass
        os.close(handle)  # removed by its last holder in between: try the new one


def clean_work(work: Path, *, older_than: float = 7 * 86400.0) -> None:
    """Remove what runs that died have left in the work folder, by age in seconds; runs that go on are not touched.

    An interrupted run is resumed from its files as they were as long as they are here, later from the project's own.
    """
    limit = time.time() - older_than
    for entry in work.iterdir() if work.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if entry.lstat().st_mtime < limit:
                with locked(work, entry.name.removesuffix(".log").removesuffix(".lock")) as mine:
                    if mine and entry.is_dir():
                        remove_tree(entry)
                    elif mine:
                        entry.unlink(missing_ok=True)


def lock_path(work: Path, run_id: str) -> Path:
    """Return the file that the process of a run holds locked."""
    return work / f"{run_id}.lock"


def log_path(work: Path, run_id: str) -> Path:
    """Return the file for what the process of a run says when something goes wrong with it."""
    return work / f"{run_id}.log"


# -- starting ------------------------------------------------------------------------------------------------------


class Supervisor:
    """A process that is ready to carry out a run, or soon will be; nothing happens before `go`.

    It is started early, because it can load what it needs while the run is being prepared. It ends by itself if it is
    not told to go. `variables` are added to its environment, and so to that of the steps. `known`: the results of all
    steps are expected to be in the store, so it does not start the process that steps are forked from before it knows.
    """

    def __init__(
        self, store: ObjectStore, work: Path, run_id: str, variables: Mapping[str, str], *, known: bool = False
    ) -> None:
        self._run_id = run_id
        self._log = log_path(work, run_id)
        self._connection, theirs = socket.socketpair()
        with theirs, explained(work):
            work.mkdir(mode=0o700, parents=True, exist_ok=True)
            log = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                # It forks at once and the first process ends: the supervisor is nobody's child.
                self._first = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "nbkube.engines.supervisor",
                        store.url,
                        str(work),
                        run_id,
                        str(theirs.fileno()),
                        NOTHING if known else PROCESSES,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # Where this very package is found, whatever the interpreter has installed.
                    cwd=Path(__file__).parents[2],
                    pass_fds=(theirs.fileno(),),
                    env={**os.environ, **variables},
                    start_new_session=True,
                )
            finally:
                os.close(log)

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()
        self._first.wait()

    def go(self, *, resume: bool = False) -> str:
        """Let the run begin and return once it has: `going`; `busy`: another process has it; `ended`: it needs nothing.

        Raises:
            RunError: the process could not take up the run; says why.
        """
        self._connection.settimeout(START_SECONDS)
        try:
            self._connection.sendall(b"resume\n" if resume else b"start\n")
            answer = self._connection.recv(1 << 16).decode("utf-8", "replace")
        except (OSError, TimeoutError):
            answer = ""
        if answer in (GOING, BUSY, ENDED):
            return answer
        raise RunError(answer or f"the process of run {self._run_id} could not start: {self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(OSError):
            words = self._log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            return f"{words} (all of it is in {self._log})" if words else "it said nothing."
        return "it said nothing."


# -- reaching ------------------------------------------------------------------------------------------------------


def ask(runs: RunStore, run_id: str, what: str) -> None:
    """Ask the process of a run to stop, pause or resume; it does so on its own time.

    The wish is an event of the run; the signal only says that there is one.
    """
    runs.append(run_id, RunEvent("asked", state=what))
    process = runs.load(run_id).process
    if process is not None:
        send_signal(process, POKE)


def end(runs: RunStore, work: Path, run_id: str, reason: str) -> None:
    """Kill the process of a run, and its steps with it; the run is cancelled unless it has ended already."""
    until = time.monotonic() + _KILL_SECONDS
    while time.monotonic() < until:
        state = runs.load(run_id)
        if state.process is not None and not state.phase.ended:
            send_signal(state.process, signal.SIGKILL)
        with locked(work, run_id) as mine:
            if mine:
                if not runs.load(run_id).phase.ended:
                    runs.append(run_id, RunEvent("run-ended", phase=Phase.CANCELLED, reason=reason))
                remove_tree(work / run_id)
                return
        time.sleep(0.01)
    raise RunError(f"the process of run {run_id} does not end: see {lock_path(work, run_id)}.")
