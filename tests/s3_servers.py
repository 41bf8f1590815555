"""Real S3 servers for tests: MinIO and versitygw on loopback, with random keys and folders of their own.

The binaries come from `PATH` or from the parts that the cluster bench has built. Where they are missing, tests that
need them are skipped and say so; `NBKUBE_REQUIRE_S3=1` makes that a failure.
"""

from __future__ import annotations

import atexit
import http.client
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import golang

KINDS = ("minio", "versitygw")
KEYS = {
    "AWS_ACCESS_KEY_ID": secrets.token_hex(10),
    "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
    "AWS_REGION": "us-east-1",
}
"""The same for all servers of this process, so that only the endpoint tells them apart."""

_BUILT = {part.name: part.folder / part.name for part in golang.parts() if part.name in KINDS}
_AWS = ("AWS_", "NBKUBE_S3_")
_TIED = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
"""Ends a server with the process that started it, however that ends."""

_running: dict[str, S3Server] = {}


def find_binary(kind: str) -> str:
    """Return the path of a server's binary; skip the test (or fail it, see above) where there is none."""
    found = shutil.which(kind) or (str(_BUILT[kind]) if os.access(_BUILT[kind], os.X_OK) else None)
    if found is None:
        reason = f"no {kind} in PATH or among the bench's parts: `python -m tests.cluster build --only {kind}` makes it"
        if os.environ.get("NBKUBE_REQUIRE_S3"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class S3Server:
    """A server process; a certificate and its key (`tls`) make it speak https, its data lies below `folder`."""

    def __init__(self, kind: str, *, tls: tuple[Path, Path] | None = None, folder: Path | None = None) -> None:
        self.kind = kind
        binary = find_binary(kind)
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # many small files, all thrown away
        self.folder = Path(tempfile.mkdtemp(prefix=f"nbkube-{kind}-", dir=folder or memory))
        self.data = self.folder / "data"
        self.data.mkdir()
        self.port = _free_port()
        self._tls = tls
        self._command = self._command_of(binary)
        self._log = self.folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """Return the AWS variables that lead to this server."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.endpoint, **more}

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the process (again) on the same port and data, and wait until it answers."""
        names = ("MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD", "ROOT_ACCESS_KEY", "ROOT_SECRET_KEY")
        keys = (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"]) * 2
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "MINIO_BROWSER": "off", "CI": "on"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*_TIED, *self._command],
                env=env | dict(zip(names, keys, strict=True)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 60
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                pytest.fail(f"{self.kind} does not start:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End the process at once, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the process and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _command_of(self, binary: str) -> list[str]:
        address = f"127.0.0.1:{self.port}"
        if self.kind == "minio":
            certificates = self.folder / "certs"
            certificates.mkdir()
            if self._tls:
                shutil.copy(self._tls[0], certificates / "public.crt")
                shutil.copy(self._tls[1], certificates / "private.key")
            return [binary, "server", "--quiet", "--address", address, "--certs-dir", str(certificates), str(self.data)]
        tls = ["--cert", str(self._tls[0]), "--key", str(self._tls[1])] if self._tls else []
        return [binary, "--port", address, "--quiet", *tls, "posix", str(self.data)]

    def _answers(self) -> bool:
        import ssl

        connection: Any = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        if self._tls:
            context = ssl._create_unverified_context()
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=2, context=context)
        try:
            connection.request("GET", "/minio/health/ready" if self.kind == "minio" else "/")
            answer = connection.getresponse()
            return bool(answer.status == 200 if self.kind == "minio" else answer.status < 500)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def running(kind: str) -> S3Server:
    """Return the server of a kind that all tests of this process share."""
    if kind not in _running:
        _running[kind] = S3Server(kind)
    return _running[kind]


def close_all() -> None:
    """End the servers that this process has started."""
    while _running:
        _running.popitem()[1].close()


def set_environment(variables: dict[str, str]) -> None:
    """Make the AWS variables of this process and its children exactly these."""
    for name in [name for name in os.environ if name.startswith(_AWS)]:
        del os.environ[name]
    os.environ.update(variables)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


atexit.register(close_all)
