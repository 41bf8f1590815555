"""Which process carries out a run, and whether it still lives."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
from functools import lru_cache
from pathlib import Path

from nbkube.runs.model import Process


def this_process() -> Process:
    """Return the identity of the calling process."""
    return Process(os.getpid(), _start(os.getpid()) or "", _boot(), _host())


def is_alive(process: Process) -> bool | None:
    """Tell whether a process still lives; None where that cannot be told from this machine."""
    if process.host != _host():
        return None
    if process.boot != _boot():
        return False
    start = _start(process.pid)
    return start is not None and start == process.start


def send_signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to a process of this machine, and never to a later one with its number."""
    with contextlib.suppress(ProcessLookupError):
        if not hasattr(os, "pidfd_open"):
            if is_alive(process):
                os.kill(process.pid, number)
            return
        handle = os.pidfd_open(process.pid)
        try:
            if is_alive(process):
                signal.pidfd_send_signal(handle, number)
        finally:
            os.close(handle)


@lru_cache(maxsize=1)
def _host() -> str:
    """Return a name for the machine, or the container, whose process numbers these are."""
    try:
        return f"{platform.node()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return platform.node()


@lru_cache(maxsize=1)
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _start(pid: int) -> str | None:
    """Return when a process began, as the system writes it; None if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return _start_elsewhere(pid) if not os.path.exists("/proc/self/stat") else None
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    return None if fields[0] in "ZX" else fields[19]


def _start_elsewhere(pid: int) -> str | None:
    """Do the same on systems without /proc."""
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return found.stdout.strip() or None
