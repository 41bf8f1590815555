"""Endpoints of a project on this machine: starting a server, finding it again, giving it orders.

Each has a folder `endpoints/<name>` in the project's work folder: `endpoint.json` says which process serves it and
where its control socket is, `log` is what server and workers print.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_json, from_plain
from nbkube.errors import NbkubeError, NotFoundError
from nbkube.models.model import check_model_name
from nbkube.runs.model import Process
from nbkube.runs.process import is_alive, send_signal
from nbkube.serving.model import Endpoint, Routing, ServerTask, Statistics

Listener = Callable[[Mapping[str, Any]], None]

START_SECONDS = 180.0
_STOP_SECONDS = 45.0
_RECORD = "endpoint.json"


class ServingError(NbkubeError):
    """An endpoint that cannot be started or does not answer."""

    exit_code = 1


class _Standing(msgspec.Struct):
    routing: Routing
    statistics: Statistics


class LocalEndpoints:
    """The endpoints whose servers run on this machine; `work` is the project's work folder."""

    def __init__(self, work: Path) -> None:
        self._folder = work / "endpoints"

    def all(self) -> list[Endpoint]:
        """Return all endpoints, those that have stopped included, by name."""
        if not self._folder.is_dir():
            return []
        names = sorted(entry.name for entry in self._folder.iterdir() if (entry / _RECORD).is_file())
        return [one for one in map(self._read, names) if one is not None]

    def is_ready(self, name: str) -> bool:
        """Tell whether an endpoint is being served here."""
        found = self._read(name)
        return found is not None and found.phase == "Ready"

    def get(self, name: str) -> Endpoint:
        """Return an endpoint that is being served.

        Raises:
            NotFoundError: there is none of this name.
        """
        found = self._read(name)
        if found is None or found.phase != "Ready":
            serving = [one.name for one in self.all() if one.phase == "Ready"]
            others = f" There are: {', '.join(serving)}." if serving else ""
            raise NotFoundError(f"{name} is not being served.{others} Fix: nbkube serve {name}")
        return found

    def _read(self, name: str) -> Endpoint | None:
        """Return what is known of an endpoint; one whose process has died has stopped."""
        try:
            found = from_json((self._folder / check_model_name(name) / _RECORD).read_bytes(), Endpoint)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError:
            return None  # half written by a process that died; the next start replaces it
        if found.phase in ("Starting", "Ready") and found.process is not None:
            alive = is_alive(found.process)
            if alive is None:
                return msgspec.structs.replace(found, phase="Unknown", message="it runs on another machine")
            if not alive:
                return msgspec.structs.replace(found, phase="Stopped", message="its process has ended")
        return found

    def _write(self, endpoint: Endpoint) -> None:
        folder = self._folder / endpoint.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f"{_RECORD}.{os.getpid()}"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(handle, "wb") as file:
            file.write(msgspec.json.encode(endpoint))
        os.replace(temporary, folder / _RECORD)

    # -- starting and stopping -------------------------------------------------------------------------------------

    def start(self, task: ServerTask, tell: Listener = lambda _: None) -> Endpoint:
        """Start a server and return when it has answered a real prediction; it outlives this process.

        Raises:
            ServingError: it cannot serve the model; says why.
        """
        folder = self._folder / task.name
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        known = self._read(task.name)
        if not task.port and known is not None and not known.profile and known.url:
            task = msgspec.structs.replace(task, port=_free(known.url))
        ours, theirs = socket.socketpair()
        log = os.open(folder / "log", os.O_WRONLY | os.O_TRUNC | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            with theirs:
                first = subprocess.Popen(
                    [sys.executable, "-m", "nbkube.serving.server", str(theirs.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                    pass_fds=(theirs.fileno(),),
                    cwd=Path(__file__).parents[2],
                    start_new_session=True,
                )
            try:
                assert first.stdin is not None
                with contextlib.suppress(BrokenPipeError), first.stdin as pipe:
                    pipe.write(msgspec.json.encode(task))
                with ours:
                    endpoint = self._await(task, ours, folder / "log", tell)
            finally:
                first.wait()  # it has forked at once
        finally:
            os.close(log)
        self._write(endpoint)
        return endpoint

    def _await(self, task: ServerTask, starter: socket.socket, log: Path, tell: Listener) -> Endpoint:
        for news in _lines(starter, START_SECONDS):
            if "error" in news:
                raise ServingError(str(news["error"]))
            tell(news)
            if news.get("phase") == "Ready":
                return Endpoint(
                    name=task.name,
                    version=task.routing.version,
                    url=str(news["url"]),
                    phase="Ready",
                    routing=task.routing,
                    process=from_plain(news["process"], Process),
                    control=str(news["control"]),
                    started=time.time(),
                    authenticated=bool(task.token),
                )
        words = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise ServingError(f"the server of {task.name} did not start: {words or 'it said nothing'} (its log: {log})")

    def stop(self, name: str) -> Endpoint:
        """Let a server finish what it has and end; one that does not is killed. Stopping twice does no harm.

        Raises:
            NotFoundError: there has never been such an endpoint.
        """
        found = self._read(name)
        if found is None:
            raise NotFoundError(f"there is no endpoint {name}. `nbkube endpoints` lists them.")
        if found.phase in ("Ready", "Starting") and found.process is not None:
            process = found.process
            send_signal(process, signal.SIGTERM)
            until = time.monotonic() + _STOP_SECONDS
            while is_alive(process) and time.monotonic() < until:
                time.sleep(0.02)
            if is_alive(process):
                send_signal(process, signal.SIGKILL)
        stopped = msgspec.structs.replace(found, phase="Stopped", message="")
        self._write(stopped)
        return stopped

    # -- orders ----------------------------------------------------------------------------------------------------

    def order(self, name: str, action: str, **details: Any) -> tuple[Endpoint, Statistics]:
        """Give an order to a server (see `nbkube.serving.app.Order`); return the endpoint as it is then.

        Raises:
            NotFoundError: it is not being served.
            ServingError: the order could not be carried out; says why, and nothing has changed.
        """
        endpoint = self.get(name)
        connection = _UnixConnection(endpoint.control)
        try:
            connection.request("POST", "/", msgspec.json.encode({"action": action, **details}))
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            raise ServingError(f"the server of {name} does not answer ({error}). Fix: nbkube serve {name}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise ServingError(str(msgspec.json.decode(body).get("error", "it was refused")))
        standing = from_json(body, _Standing)
        changed = msgspec.structs.replace(endpoint, routing=standing.routing, version=standing.routing.version)
        if changed != endpoint:
            self._write(changed)
        return changed, standing.statistics


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=START_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _lines(starter: socket.socket, seconds: float) -> Iterator[dict[str, Any]]:
    """Yield what a server tells while it starts, until it says no more."""
    until = time.monotonic() + seconds
    rest = b""
    while (left := until - time.monotonic()) > 0:
        starter.settimeout(left)
        try:
            piece = starter.recv(1 << 16)
        except TimeoutError:
            return
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from (msgspec.json.decode(line) for line in lines)


def _free(url: str) -> int:
    """Return the port of an earlier server if nobody has it now, so that the address stays; else 0."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except (OSError, ValueError):
            return 0
    return int(port)


def new_token() -> str:
    """Return a token for callers, random, of 43 letters."""
    return secrets.token_urlsafe(32)
