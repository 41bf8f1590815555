"""Real Jupyter servers for tests: a process, a token, a folder of its own."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TOKEN = "a-token-for-tests"
API = "/nbkube/api/v1"
ROOT = Path(__file__).parents[1]
START_SECONDS = 90


@dataclass
class Answer:
    """What a server has answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """A running server; `ask` talks to it as a program with the token does."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, verb: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None, timeout: float = 60
    ) -> Answer:
        given = {"Authorization": f"token {TOKEN}"} if headers is None else dict(headers)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request(verb.upper(), path, None if body is None else json.dumps(body), given)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def stop(self) -> None:
        """End the server and wait until it is gone."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)


def start_server(
    folder: Path,
    settings: Path,
    *,
    port: int = 0,
    app: str = "server",
    python: Path | None = None,
    ready: str = f"{API}/information",
) -> Server:
    """Start a server on a folder; `app` is server, lab or notebook. Its settings and data lie in `settings`.

    By default it is the server of the checkout; with the `python` of another environment, the one installed there.
    `ready` is what it answers once it is up.
    """
    port = port or _free_port()
    settings.mkdir(parents=True, exist_ok=True)
    user = settings / "user"
    news = user / "@jupyterlab" / "apputils-extension"
    news.mkdir(parents=True, exist_ok=True)
    (news / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    command = [
        str(python or sys.executable), "-m", "jupyter", app,
        "--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={TOKEN}", f"--ServerApp.root_dir={folder}",
        *([] if python else ["--ServerApp.jpserver_extensions={'nbkube.server': True}"]),
    ]  # fmt: skip
    env = {
        "NBKUBE_CACHE": str(settings / "cache"),
        **os.environ,
        **({} if python else {"PYTHONPATH": str(ROOT)}),
        "PATH": f"{Path(python or sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTERLAB_SETTINGS_DIR": str(user),
        "JUPYTERLAB_WORKSPACES_DIR": str(settings / "workspaces"),
        "JUPYTER_CONFIG_DIR": str(settings / "config"),
        "JUPYTER_DATA_DIR": str(settings / "data"),
        "JUPYTER_RUNTIME_DIR": str(settings / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    if not python:
        extensions = settings / "data" / "labextensions"
        extensions.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            (extensions / "nbkube").symlink_to(ROOT / "nbkube" / "labextension")
    log = settings / f"{app}-{port}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=output, stderr=output, start_new_session=True)
    server = Server(port, folder, process, log)
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with contextlib.suppress(OSError, http.client.HTTPException):
            if server.ask("GET", ready).status == 200:
                return server
        time.sleep(0.2)
    server.stop()
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


@contextlib.contextmanager
def running_server(
    folder: Path,
    settings: Path,
    *,
    app: str = "server",
    python: Path | None = None,
    ready: str = f"{API}/information",
) -> Iterator[Server]:
    """A server for the time of a `with`."""
    server = start_server(folder, settings, app=app, python=python, ready=ready)
    try:
        yield server
    finally:
        server.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
