"""The parent's side of one step process: it starts it, reads what comes, and sees it end."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from typing import Any

from nbkube.runtime.gpu import GpuMeter
from nbkube.runtime.kernel import descendants, session_members
from nbkube.runtime.spawning import StepProcess
from nbkube.runtime.transcript import Transcript

_DRAIN = 1.0
"""Seconds to wait for the end of the pipes after the last known process has gone."""


class Connection:
    """The reading side of a step process. One thread pumps; `kill` may come from any.

    Args:
        process: the step process.
        transcript: takes text and the messages that have a place in it.
        on_memory: takes the bytes that all processes of the step hold, now and then.
    """

    def __init__(self, process: StepProcess, transcript: Transcript, on_memory: Callable[[int], None]) -> None:
        self._process = process
        self._transcript = transcript
        self._on_memory = on_memory
        self._partial = {"control": b"", "watch": b""}
        self._selector = selectors.DefaultSelector()
        for name in ("control", "watch", "stdout", "stderr"):
            self._selector.register(getattr(process, name), selectors.EVENT_READ, name)
        self.started: dict[str, Any] = {}
        """What the worker said first."""
        self.declined = ""
        """Why a forked process is of no use for this step."""
        self.status: int | None = None
        """How the worker ended: exit status, or minus the signal."""
        self.ended = False
        """Whether no process of the step is left."""
        self.gpu = GpuMeter(self._processes)
        self.cpu_seconds = 0.0
        self.peak_memory = 0

    def send(self, message: Mapping[str, Any]) -> None:
        """Tell the worker something; one that has ended hears nothing."""
        with contextlib.suppress(OSError):
            self._process.control.sendall(json.dumps(message).encode() + b"\n")

    def kill(self) -> None:
        """Have all processes ended; returns at once."""
        with contextlib.suppress(OSError):
            self._process.watch.send(b"K")

    def pump(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Pass on what comes until `done` or the end of all processes; False if the deadline came first."""
        while not done() and not self.ended:
            wait = None if deadline is None else deadline - time.monotonic()
            if wait is not None and wait <= 0:
                return False
            self._step(wait)
        return True

    def abandon(self) -> None:
        """Let go of a process that is being killed without reading what it still has to say."""
        self._transcript.mute()
        self._process.wait()
        self.close()

    def close(self) -> None:
        """Take what is still in the pipes and let go of everything."""
        until = time.monotonic() + _DRAIN
        while self.ended and self._reading("stdout", "stderr") and (wait := until - time.monotonic()) > 0:
            self._step(wait)
        self._transcript.close()
        self.drop()

    def drop(self) -> None:
        """Let go of everything; what the process has said so far stays in the transcript."""
        self._selector.close()
        self.gpu.close()
        self._process.close()

    # -- reading ---------------------------------------------------------------------------------------------------

    def _step(self, wait: float | None) -> None:
        for key, _ in self._selector.select(wait):
            source = key.fileobj
            try:
                data = os.read(key.fd, 1 << 16)
            except ConnectionResetError:
                data = b""
            if key.data in ("stdout", "stderr"):
                self._transcript.text(key.data, data)
            else:
                self._lines(key.data, data)
            if not data:
                self._forget(source)

    def _forget(self, source: Any) -> None:
        with contextlib.suppress(KeyError):
            self._selector.unregister(source)

    def _reading(self, *names: str) -> bool:
        return any(key.data in names for key in self._selector.get_map().values())

    def _lines(self, name: str, data: bytes) -> None:
        if not data and name == "watch" and not self.ended:
            self._watcher_lost()
        *lines, self._partial[name] = (self._partial[name] + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if name == "watch":
                self._watched(message)
            elif message["event"] == "started":
                self.started.update(message)
            elif message["event"] == "declined":
                self.declined = message["reason"]
            else:
                self._transcript.message(message)

    def _watched(self, message: dict[str, Any]) -> None:
        if "memory" in message:
            self.peak_memory = max(self.peak_memory, message["memory"])
            self._on_memory(message["memory"])
            self.gpu.look()
        elif "worker" in message:
            self.status = message["worker"]
        elif "leftover" in message:
            names = ", ".join(message["leftover"]) or "a process"
            self._transcript.say(f"nbkube: still running at the end of the step, and ended: {names}\n")
        else:
            self.status = message["ended"] if self.status is None else self.status
            self.cpu_seconds = message["cpu"]
            self.peak_memory = max(self.peak_memory, message["peak"])
            self.ended = True

    def _processes(self) -> list[int]:
        worker = self.started.get("process")
        return [] if worker is None else [worker, *descendants(worker)]

    def _watcher_lost(self) -> None:
        """Do the watcher's work: it never came to life, or somebody has killed it and the worker has ended with it."""
        worker = self.started.get("process")
        if worker is None:
            status = self._process.wait()
            self.status = -signal.SIGKILL if status is None else status
        while worker and (left := session_members(worker)):
            for process in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.01)
        self.status = -signal.SIGKILL if self.status is None else self.status
        self.ended = True
