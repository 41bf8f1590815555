"""The small process between an attempt and its worker: it sees to it that nothing of a step outlives the step.

It is the worker's parent and adopts every descendant that loses its own. It ends them all when it is told to, when the
attempt's process dies (its socket closes), or when the worker has ended and what it left behind does not end by itself.
It measures the memory of all of them and reports how the worker ended.

Reports are JSON lines: {"memory": bytes} now and then, {"worker": status} once the worker has ended,
{"leftover": [commands]} if processes had to be ended, {"ended": status, "cpu": seconds, "peak": bytes} at last.
A byte received is a request: `K` ends everything (TERM, then KILL).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from typing import Any

from nbkube.runtime.kernel import command_of, descendants, memory_of

GRACE = 2.0
"""Seconds between TERM and KILL."""

_SAMPLE = 0.5


class Watcher:
    """Watches one worker until no process of it is left."""

    def __init__(self, worker: int, connection: socket.socket, settle: float, private: str) -> None:
        self._worker = worker
        self._connection = connection
        self._settle = settle
        self._private = private
        self._alone = False
        self._status: int | None = None
        self._cpu = 0.0
        self._peak = 0
        self._kill_at: float | None = None  # when KILL follows; None while nothing is being ended
        self._settle_until = 0.0
        self._sample_at = 0.0

    def run(self) -> None:
        """Watch until the last descendant is gone, then report."""
        wake, poke = os.pipe()
        os.set_blocking(poke, False)
        signal.set_wakeup_fd(poke, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, lambda *_: self._end())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._connection.setblocking(False)
        waiting = [wake, self._connection.fileno()]
        while self._reap():
            self._advance()
            ready, _, _ = select.select(waiting, [], [], 0.02 if self._kill_at is not None else _SAMPLE)
            if wake in ready:
                os.read(wake, 4096)
            if self._connection.fileno() in ready and not self._requested():
                # Nobody is left to tell: end everything, and do not look at a closed socket again.
                waiting.remove(self._connection.fileno())
                self._alone = True
        self._report({"ended": self._status, "cpu": self._cpu, "peak": self._peak})
        if self._alone:
            # What the attempt would have cleared away. No mount of the step can be seen from here.
            import shutil

            shutil.rmtree(self._private, ignore_errors=True)

    def _requested(self) -> bool:
        try:
            data = self._connection.recv(64)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        self._end()
        return bool(data)

    def _reap(self) -> bool:
        """Collect processes that have ended; False once there is none left."""
        while True:
            try:
                process, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if process == 0:
                return True
            self._cpu += usage.ru_utime + usage.ru_stime
            self._peak = max(self._peak, usage.ru_maxrss * 1024)
            if process == self._worker:
                self._status = os.waitstatus_to_exitcode(status)
                self._settle_until = time.monotonic() + (self._settle if self._status == 0 else 0.2)
                self._report({"worker": self._status})

    def _advance(self) -> None:
        now = time.monotonic()
        if self._kill_at is not None:
            if now >= self._kill_at:
                self._signal(signal.SIGKILL)
        elif self._status is not None and now >= self._settle_until:
            self._report({"leftover": [command_of(one) for one in descendants(os.getpid())]})
            self._end()
        if now >= self._sample_at:
            self._sample_at = now + _SAMPLE
            self._measure()

    def _measure(self) -> None:
        memory = memory_of(descendants(os.getpid()))
        self._peak = max(self._peak, memory)
        with contextlib.suppress(OSError):
            self._connection.send(json.dumps({"memory": memory}).encode() + b"\n")

    def _end(self) -> None:
        if self._kill_at is None:
            self._kill_at = time.monotonic() + GRACE
            self._signal(signal.SIGTERM)
            self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        for process in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, number)

    def _report(self, message: dict[str, Any]) -> None:
        # Blocking: these must arrive; with the attempt gone it fails and does not matter.
        with contextlib.suppress(OSError):
            self._connection.setblocking(True)
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        with contextlib.suppress(OSError):
            self._connection.setblocking(False)


def split_off(connection: socket.socket, settle: float, private: str, control: socket.socket) -> None:
    """Fork: return in the child, the worker; stay in the parent as its watcher until the end and never return.

    Args:
        connection: the socket to the attempt, closed in the worker.
        settle: seconds that descendants may take to end by themselves after a good end of the worker.
        private: the step's private folder, cleared away here if the attempt cannot do it any more.
        control: what only the worker may hold beside its standard streams.
    """
    from nbkube.runtime.kernel import adopt_orphans, end_with_parent

    adopt_orphans()
    watcher = os.getpid()
    worker = os.fork()
    if worker == 0:
        os.setsid()
        end_with_parent(signal.SIGKILL)
        if os.getppid() != watcher:
            os._exit(1)
        connection.close()
        return
    code = 1
    try:
        control.close()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        Watcher(worker, connection, settle, private).run()
        code = 0
    finally:
        os._exit(code)
