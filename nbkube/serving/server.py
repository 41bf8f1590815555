"""The process that serves a model on this machine, or in a pod.

    python -m nbkube.serving.server DESCRIPTOR < task

With a descriptor it leaves the family of its starter and tells there, one JSON object a line, how far it has come; the
last is `{"phase": "Ready", "url": …}` or has an `error`. SIGTERM drains and ends it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.serving.model import ServerTask
from nbkube.serving.spawn import Spawned, spawn

_GRACE = 0.2


def main(arguments: list[str]) -> None:
    """Take the task and serve until the end."""
    task = from_json(sys.stdin.buffer.read(), ServerTask)
    tell: Callable[[dict[str, Any]], None] = lambda news: print(msgspec.json.encode(news).decode(), flush=True)  # noqa: E731, T201
    if arguments:
        if os.fork():
            os._exit(0)
        starter = socket.socket(fileno=int(arguments[0]))
        starter.set_inheritable(False)

        def tell(news: dict[str, Any]) -> None:
            with contextlib.suppress(OSError):
                starter.sendall(msgspec.json.encode(news) + b"\n")

    asyncio.run(serve_until_told(task, tell, detached=bool(arguments)))


async def serve_until_told(task: ServerTask, tell: Callable[[dict[str, Any]], None], *, detached: bool) -> None:
    """Serve until SIGTERM or an order to stop; tell how far it has come, an `error` if it cannot serve."""
    with tempfile.TemporaryDirectory(prefix="nbkube-") as place:
        # Workers that are killed leave the files of their model: those go with this folder.
        task = msgspec.structs.replace(task, folder=task.folder or place)
        # The first worker loads the model while this process imports what it needs itself.
        first = None if task.upstream else spawn(task, task.routing.version)
        try:
            await _serve(task, tell, first, os.path.join(place, "control"), detached=detached)
        finally:
            if first is not None:
                first.drop()


async def _serve(
    task: ServerTask, tell: Callable[[dict[str, Any]], None], first: Spawned | None, control: str, *, detached: bool
) -> None:
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_sockets, bind_unix_socket

    from nbkube.serving.app import application, control_application
    from nbkube.serving.service import Service

    stopping, at_once = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)

    def stop() -> None:
        stopping.set()
        at_once.set()

    for number in (signal.SIGINT, signal.SIGHUP):
        if detached:
            signal.signal(number, signal.SIG_IGN)
        else:
            loop.add_signal_handler(number, stopping.set)
    try:
        sockets = bind_sockets(task.port, task.host)
    except OSError as error:
        tell(
            {"error": f"port {task.port} of {task.host} cannot be used: {error.strerror}. Fix: choose another --port."}
        )
        return
    port = sockets[0].getsockname()[1]
    url = f"http://{task.host if ':' not in task.host else f'[{task.host}]'}:{port}"
    service = Service(task, first)
    tell({"phase": "Starting", "url": url})
    server = HTTPServer(application(service), max_body_size=1 << 40, idle_connection_timeout=120.0)
    server.add_sockets(sockets)
    orders = HTTPServer(control_application(service, stop))
    if task.control_port:  # only who may forward ports of the pod reaches its loopback
        orders.add_sockets(bind_sockets(task.control_port, "127.0.0.1"))
    else:
        orders.add_socket(bind_unix_socket(control, mode=0o600))
    starting = asyncio.ensure_future(service.start())
    stopped = asyncio.ensure_future(stopping.wait())
    await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if starting.done():
        try:
            starting.result()
        except NbkubeError as error:
            tell({"error": str(error)})
            return
        tell({"phase": "Ready", "url": url, "control": control, "process": _identity()})
        await stopped
        await _linger(at_once, task.linger)
    else:
        starting.cancel()
    # Probes see first that it is going, so that balancers send callers elsewhere.
    service.draining = True
    server.stop()
    await asyncio.sleep(_GRACE)
    await service.close()
    await server.close_all_connections()


async def _linger(at_once: asyncio.Event, seconds: float) -> None:
    """Go on answering until no balancer sends callers here any more, or until an order ends it."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(at_once.wait(), seconds)


def _identity() -> Any:
    from nbkube.runs.process import this_process

    return msgspec.to_builtins(this_process())


if __name__ == "__main__":
    main(sys.argv[1:])
