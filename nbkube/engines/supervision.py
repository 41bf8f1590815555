"""What the process of a run does: takes the lock, tells of the run, does what it is asked, clears up."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from types import FrameType

from nbkube.engines.detached import BASE, BUSY, ENDED, GOING, POKE, load_submission, locked, log_path
from nbkube.engines.local import LocalEngine, LocalRun
from nbkube.engines.model import Submission
from nbkube.engines.registering import registering
from nbkube.errors import NbkubeError
from nbkube.runs import Phase, Recorder, RunStore
from nbkube.runtime.spawning import TemplateProcess
from nbkube.state.frozen import load_view, save_view
from nbkube.state.recycling import remove_tree
from nbkube.state.snapshot import FileView, snapshot
from nbkube.storage import open_store
from nbkube.storage.model import ObjectStore


def supervise(
    url: str, folder: str, run_id: str, starter: socket.socket, ahead: TemplateProcess | None, *, resume: bool
) -> None:
    """Carry out a run to its end, if nobody else does; steps are forked from the process `ahead` where they can be."""
    work = Path(folder)

    def answer(text: str) -> None:
        with contextlib.suppress(OSError):  # nobody waits for it any more
            starter.sendall(text.encode())
        starter.close()

    with locked(work, run_id) as mine:
        if not mine:
            answer(BUSY)
            return
        try:
            supervision = _Supervision(open_store(url), work, run_id, ahead, resume=resume)
        except NbkubeError as error:
            answer(str(error))
            return
        if supervision.settled:
            answer(ENDED)
            return
        supervision.carry_out(lambda: answer(GOING))
    log = log_path(work, run_id)
    with contextlib.suppress(OSError):
        if log.stat().st_size == 0:
            log.unlink()


class _Supervision:
    """One run while this process has it."""

    def __init__(
        self, store: ObjectStore, work: Path, run_id: str, ahead: TemplateProcess | None, *, resume: bool
    ) -> None:
        self._ahead = ahead
        self._store = store
        self._runs = RunStore(store)
        self._run_id = run_id
        self._work = work
        self._resume = resume
        state = self._runs.load(run_id)
        self.settled = state.phase is Phase.SUCCEEDED
        self._repeated = state.repeated
        self._submission: Submission = load_submission(store, run_id)
        self._recorder: Recorder = self._runs.recorder(run_id)
        self._requests: SimpleQueue[signal.Signals | None] = SimpleQueue()
        self._started = 0.0

    def carry_out(self, begun: Callable[[], None]) -> None:
        """Run to the end; `begun` is called once the run's first event is written."""
        for number in (POKE, signal.SIGTERM):
            signal.signal(number, self._signalled)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._started = self._recorder.start()
        begun()
        for name in self._repeated:
            self._recorder({"event": "again", "step": name, "reason": "resumed"})
        try:
            view = self._view()
        except NbkubeError as error:
            self._recorder({"event": "run-ended", "phase": Phase.FAILED, "reason": str(error)})
            return
        listen = registering(self._store, self._submission, self._recorder, soon=True)
        run = LocalEngine(self._store, self._work, view, self._ahead).submit(self._submission, listen)
        listener = threading.Thread(target=self._obey, args=(run,), name="requests", daemon=True)
        listener.start()
        self._requests.put(POKE)  # something may have been asked already
        try:
            run.wait()
        except NbkubeError:
            pass  # told as the reason of the run's end
        except Exception:  # noqa: BLE001 - a defect: its traceback belongs in the log, the run has ended all the same
            traceback.print_exc()
        self._requests.put(None)
        listener.join()

    def _signalled(self, number: int, _: FrameType | None) -> None:
        self._requests.put(signal.Signals(number))

    # -- what is asked ---------------------------------------------------------------------------------------------

    def _obey(self, run: LocalRun) -> None:
        while (request := self._requests.get()) is not None:
            if request is signal.SIGTERM:
                run.cancel("ended by a signal: the machine was shut down, or somebody has killed the run's process")
            else:
                self._do(run, self._asked())

    def _asked(self) -> str:
        """Return what was asked last since this process has the run; "" for nothing."""
        asked = [event for event in self._runs.events(self._run_id) if event.event == "asked"]
        wanted = [event.state for event in asked if event.time >= self._started]
        return "stop" if "stop" in wanted else wanted[-1] if wanted else ""

    def _do(self, run: LocalRun, wanted: str) -> None:
        if wanted == "stop":
            run.cancel()
        elif wanted == "pause":
            run.pause()
        elif wanted == "resume":
            run.unpause()

    # -- files -----------------------------------------------------------------------------------------------------

    def _view(self) -> FileView:
        """Return the project's files as the run sees them: as they were when it was made, where that is still known."""
        folder = self._work / self._run_id
        if self._resume and folder.is_dir():
            for entry in folder.iterdir():
                if entry.name != BASE:
                    remove_tree(entry)
        view = load_view(folder / BASE, self._work.parent)
        if view is None:
            remove_tree(folder / BASE)
            view = snapshot(Path(self._submission.root), self._work.parent).freeze(folder / BASE)
            save_view(view, folder / BASE)
            message = "the project's files are taken as they are now; those of the run's beginning are gone"
            self._recorder({"event": "warning", "message": message})
        return view
