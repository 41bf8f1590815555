"""Servers of the bench as processes: started in its namespace, remembered in files, ended by process id.

For each server the run folder holds `servers/NAME.json` (how it was started, so that it can be started again after a
test has killed it), `servers/NAME.pid` and `logs/NAME.log`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.cluster import network
from tests.cluster.layout import BenchError


class Server(msgspec.Struct, frozen=True):
    """One server: `argv[0]` is the program's full path, `env` is added to a small fixed environment."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = {}


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Servers that this process started: they outlive it, and until then it has to collect those that end."""


class Servers:
    """The servers whose files lie in one run folder."""

    def __init__(self, run: Path) -> None:
        self._folder = run / "servers"
        self._logs = run / "logs"

    def names(self) -> list[str]:
        """Return the names of all servers that were ever started here."""
        return sorted(path.stem for path in self._folder.glob("*.json"))

    def start(self, server: Server) -> int:
        """Start `server` in the bench's network namespace and return its process id."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._logs.mkdir(exist_ok=True)
        (self._folder / f"{server.name}.json").write_bytes(msgspec.json.encode(server))
        with (self._logs / f"{server.name}.log").open("ab") as log:
            process = subprocess.Popen(  # nsenter executes the server in its own place: the process id stays
                network.inside(list(server.argv)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", **server.env},
                cwd="/",
                start_new_session=True,
            )
        _children[process.pid] = process
        (self._folder / f"{server.name}.pid").write_text(str(process.pid))
        return process.pid

    def start_again(self, name: str) -> int:
        """Start the server called `name` as it was started before."""
        return self.start(self._read(name))

    def pid(self, name: str) -> int | None:
        """Return the process id of a server that runs; None when it has ended or the id belongs to another program."""
        try:
            pid = int((self._folder / f"{name}.pid").read_text())
            running = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
        except (OSError, ValueError):
            return None
        expected = os.path.realpath(self._read(name).argv[0])
        return pid if running in {expected, os.path.realpath("/usr/bin/nsenter")} and not _is_zombie(pid) else None

    def running(self) -> dict[str, int]:
        """Return name and process id of all servers that run."""
        return {name: pid for name in self.names() if (pid := self.pid(name)) is not None}

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a signal to one server and, for SIGKILL, wait until it is gone."""
        pid = self.pid(name)
        if pid is None:
            raise BenchError(f"{name} does not run; start it with `python -m tests.cluster up`")
        os.kill(pid, number)
        if number == signal.SIGKILL:
            wait_until(lambda: self.pid(name) is None, 10, f"{name} to be gone")

    def log(self, name: str) -> str:
        """Return the last lines a server wrote."""
        with contextlib.suppress(OSError):
            return "\n".join((self._logs / f"{name}.log").read_text(errors="replace").splitlines()[-15:])
        return ""

    def _read(self, name: str) -> Server:
        try:
            return msgspec.json.decode((self._folder / f"{name}.json").read_bytes(), type=Server)
        except FileNotFoundError:
            raise BenchError(f"no server {name!r} here, there are: {', '.join(self.names()) or 'none'}") from None


def end(pids: Iterable[int], patience: float = 2.0) -> None:
    """End processes: TERM to all at once, KILL to those still there after `patience` seconds."""
    remaining = set(pids)
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 10.0)):
        for pid in remaining:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while remaining and time.monotonic() < deadline:
            remaining = {pid for pid in remaining if Path(f"/proc/{pid}").exists() and not _is_zombie(pid)}
            time.sleep(0.02)


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll `condition` until it holds; errors of connections count as not yet. Raises BenchError after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        if time.monotonic() > deadline:
            raise BenchError(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.05)


def _is_zombie(pid: int) -> bool:
    """Tell whether a process has ended; a child of ours is collected by the way."""
    if (child := _children.get(pid)) and child.poll() is not None:
        del _children[pid]
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
