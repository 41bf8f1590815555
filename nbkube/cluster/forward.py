"""A port of a pod at a port of this machine, through the API server: by the `kubernetes` package's own port-forward."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbkube.errors import ClusterError

if TYPE_CHECKING:
    from nbkube.cluster.client import Cluster

_PIECE = 64 << 10


class Forward:
    """Connections to a local port, each carried to the pod; only this machine can make them.

    Args:
        cluster: where the pod is, in the namespace for objects that name none.
        pod: its name, or what tells for each connection which pod it goes to ("" for none, which ends it).
        port: the port in the pod.
        local_port: the port here; 0 takes one that is free.

    Raises:
        ClusterError: the local port is taken.
    """

    def __init__(self, cluster: Cluster, pod: str | Callable[[], str], port: int, local_port: int = 0) -> None:
        self._cluster = cluster
        self._pod = pod
        self._port = port
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._listener.bind(("127.0.0.1", local_port))
        except OSError as error:
            self._listener.close()
            raise ClusterError(f"port {local_port} of this machine: {error.strerror}. Choose another one.") from error
        self._listener.listen()
        self.local_port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="nbkube-forward", daemon=True).start()

    def __enter__(self) -> Forward:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._carry, args=(here,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        # A pod that has gone ends the connection; whoever has made it tries again, as after any other break.
        from kubernetes.client.exceptions import ApiException
        from urllib3.exceptions import HTTPError
        from websocket import WebSocketException

        with contextlib.closing(here), contextlib.suppress(ApiException, HTTPError, WebSocketException, OSError):
            pod = self._pod if isinstance(self._pod, str) else self._pod()
            if not pod:
                return
            there = self._cluster.open_port(pod, self._port)
            with contextlib.closing(there):
                back = threading.Thread(target=_pump, args=(there, here), daemon=True)
                back.start()
                _pump(here, there)
                back.join()


def _pump(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(_PIECE):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def ask_pod(cluster: Cluster, pod: str, port: int, body: bytes, seconds: float = 60.0) -> tuple[int, bytes]:
    """Send JSON to a port of a pod's own loopback, through the API server; return status and body of the answer.

    Raises:
        OSError: the pod is gone, or nothing listens there (yet).
    """
    import http.client

    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError
    from websocket import WebSocketException

    connection = http.client.HTTPConnection("localhost", timeout=seconds)
    ports: Any = None
    try:
        ports = cluster.port_forward(pod, port)
        connection.sock = ports.socket(port)
        connection.sock.settimeout(seconds)
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    except (ApiException, HTTPError, WebSocketException, http.client.HTTPException) as error:
        raise OSError(str(error).strip().split("\n")[0] or type(error).__name__) from None
    finally:
        # The package's thread is over, and leaves its connection open, where the pod has closed first.
        left = ports is not None and ports.local_ports[port].python.fileno() == -1
        connection.close()
        if left:
            ports.websocket.shutdown()
