"""What a step's processes use of NVIDIA GPUs, as the driver's own program `nvidia-smi` tells.

Where there is no such program nothing is asked. In a container the driver may know processes under numbers that mean
nothing there: then nothing is seen, and 0 stands for "not known".
"""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable

_EVERY = 5.0
"""Seconds between two questions."""

_PATIENCE = 5.0
_MIB = 1 << 20


@functools.cache
def _program() -> str | None:
    return shutil.which("nvidia-smi")


class GpuMeter:
    """Asks now and then, without waiting for the answer; `memory` in bytes and `count` are the most seen at a time.

    Args:
        processes: returns the ids of the processes to look for.
    """

    def __init__(self, processes: Callable[[], Iterable[int]]) -> None:
        self.memory = 0
        self.count = 0
        self._processes = processes
        self._looked_for: set[int] = set()
        self._asked: subprocess.Popen[str] | None = None
        self._next = 0.0

    def look(self) -> None:
        """Take the answer if it has come, else ask if it is time."""
        if self._asked is not None:
            if self._asked.poll() is not None:
                self._take()
        elif _program() is not None and time.monotonic() >= self._next:
            self._ask()

    def close(self) -> None:
        """Take the last answer."""
        if self._asked is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._asked.wait(_PATIENCE)
            self._asked.kill()
            self._take()

    def _ask(self) -> None:
        self._looked_for = set(self._processes())
        if not self._looked_for:
            return
        self._next = time.monotonic() + _EVERY
        command = [_program() or "", "--query-compute-apps=gpu_uuid,pid,used_memory", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError):
            self._asked = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )

    def _take(self) -> None:
        assert self._asked is not None
        text, _ = self._asked.communicate()
        good, self._asked = self._asked.returncode == 0, None
        memory, gpus = used_by(text, self._looked_for | set(self._processes())) if good else (0, 0)
        self.memory, self.count = max(self.memory, memory), max(self.count, gpus)


def used_by(text: str, processes: set[int]) -> tuple[int, int]:
    """Return the bytes of GPU memory that processes hold, and on how many GPUs.

    Args:
        text: lines of `GPU, process, MiB`; the last is `[N/A]` where the driver does not tell it.
        processes: their ids.
    """
    memory, gpus = 0, set()
    for line in text.splitlines():
        fields = [one.strip() for one in line.split(",")]
        if len(fields) == 3 and fields[1].isdigit() and int(fields[1]) in processes:
            gpus.add(fields[0])
            memory += int(fields[2]) * _MIB if fields[2].isdigit() else 0
    return memory, len(gpus)


__all__ = ["GpuMeter", "used_by"]
