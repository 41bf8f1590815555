"""An endpoint on a cluster at a port of this machine: carried through the API server by a process of its own.

    python -m nbkube.serving.forwarding CONTEXT NAMESPACE NAME PORT

It prints the port and goes on until the endpoint is gone, or somebody ends it. Each connection goes to a router that is
ready then, so that routers may be replaced meanwhile.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.runs.model import Process
from nbkube.runs.process import is_alive, send_signal, this_process
from nbkube.serving.local import ServingError

_START_SECONDS = 30.0
_LOOK_SECONDS = 2.0


class Carried(msgspec.Struct, frozen=True):
    """What the process has said: where it listens and which process it is; or an `error`."""

    port: int = 0
    process: Process | None = None
    error: str = ""


class Forwarding:
    """The processes that carry a profile's endpoints to ports of this machine; each has a file in `folder`."""

    def __init__(self, folder: Path, context: str, namespace: str) -> None:
        self._folder = folder
        self._context = context
        self._namespace = namespace

    def url(self, name: str) -> str:
        """Return the address of an endpoint on this machine, "" if none is carried."""
        known = self._read(name)
        alive = known is not None and known.process is not None and is_alive(known.process)
        return f"http://127.0.0.1:{known.port}" if known is not None and alive else ""

    def start(self, name: str, port: int = 0) -> str:
        """Carry an endpoint, if it is not carried already, and return its address here.

        Raises:
            ServingError: the port is taken, or the process did not start.
        """
        if url := self.url(name):
            return url
        known = self._read(name)
        wanted = [port] if port else [known.port, 0] if known is not None else [0]  # the address stays if it can
        for one in wanted:
            carried = self._started(name, one)
            if not carried.error:
                return f"http://127.0.0.1:{carried.port}"
        raise ServingError(carried.error)

    def _started(self, name: str, port: int) -> Carried:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._folder / f"{name}.log", "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "nbkube.serving.forwarding", self._context, self._namespace, name, str(port)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=Path(__file__).parents[2],
                start_new_session=True,
            )
        assert process.stdout is not None
        guard = threading.Timer(_START_SECONDS, process.kill)
        guard.start()
        try:
            with process.stdout as pipe:
                line = pipe.readline()
        finally:
            guard.cancel()
        try:
            found = from_json(line, Carried)
        except msgspec.DecodeError:
            found = Carried(error=f"the process that carries {name} did not start; see {self._folder / name}.log")
        if not found.error:
            (self._folder / f"{name}.json").write_bytes(line)
            threading.Thread(target=process.wait, daemon=True).start()  # it is our child as long as we live
        else:
            process.wait()
        return found

    def stop(self, name: str) -> None:
        """End the process that carries an endpoint."""
        known = self._read(name)
        if known is not None and known.process is not None:
            send_signal(known.process, signal.SIGTERM)
        (self._folder / f"{name}.json").unlink(missing_ok=True)

    def _read(self, name: str) -> Carried | None:
        try:
            return from_json((self._folder / f"{name}.json").read_bytes(), Carried)
        except (FileNotFoundError, msgspec.DecodeError):
            return None


class _Routers:
    """The routers that are ready, looked up anew every few seconds."""

    def __init__(self, context: str, namespace: str, name: str) -> None:
        from nbkube.cluster import connect

        self.cluster = connect(context, namespace)
        self._name = name
        self._turn = itertools.count()
        self._names: list[str] = []
        self._seen = 0.0
        self._lock = threading.Lock()

    def one(self) -> str:
        """Return one of them, in turn."""
        from nbkube.cluster.model import POD
        from nbkube.serving.objects import ROUTER, labels

        with self._lock:
            while time.monotonic() - self._seen > _LOOK_SECONDS or not self._names:
                found = self.cluster.list(POD, labels=labels(self._name, ROUTER))
                self._names = [one["metadata"]["name"] for one in found if _is_ready(one)]
                self._seen = time.monotonic()
                if not self._names:
                    time.sleep(0.2)
            return self._names[next(self._turn) % len(self._names)]

    def are_wanted(self) -> bool:
        """Tell whether the endpoint is still there."""
        from nbkube.cluster.model import SERVICE
        from nbkube.serving.objects import object_name

        return self.cluster.find(SERVICE, object_name(self._name)) is not None


def _is_ready(pod: dict[str, object]) -> bool:
    status: dict[str, list[dict[str, str]]] = pod.get("status") or {}  # type: ignore[assignment]
    metadata: dict[str, object] = pod["metadata"]  # type: ignore[assignment]
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or ())
    return ready and "deletionTimestamp" not in metadata


def main(arguments: Sequence[str]) -> int:
    """Carry until the endpoint is gone; return the exit status."""
    from nbkube.cluster.forward import Forward
    from nbkube.serving.objects import PORT

    context, namespace, name, port = arguments
    try:
        routers = _Routers(context, namespace, name)
        forward = Forward(routers.cluster, routers.one, PORT, int(port))
    except NbkubeError as error:
        _say(Carried(error=str(error)))
        return 1
    _say(Carried(forward.local_port, this_process()))
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    while True:
        time.sleep(10)
        try:
            if not routers.are_wanted():
                return 0
        except NbkubeError:
            continue  # the cluster does not answer: it may do so again


def _say(carried: Carried) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(carried) + b"\n")
    sys.stdout.flush()
    # Nobody reads any further.
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
