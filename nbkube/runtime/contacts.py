"""Which hosts a step's Python code connects to: what they answer is no part of a result's proof."""

from __future__ import annotations

import socket
import sys
from types import FrameType
from typing import Any

_NETWORKS = (socket.AF_INET, socket.AF_INET6)
_MACHINERY = ("nbkube.state", "nbkube.runtime")
_STORE = "nbkube.storage"


class Contacts:
    """Notes hosts from `watch` on. Connections of child processes and of compiled libraries are not seen."""

    def __init__(self) -> None:
        self.hosts: set[str] = set()
        """`NAME:PORT`, or `ADDRESS:PORT` where no name was looked up."""
        self._names: dict[str, str] = {}

    def watch(self) -> None:
        """Begin to note, for all sockets of this process."""
        kind: Any = socket.socket
        for method in ("connect", "connect_ex"):
            setattr(kind, method, self._noting(getattr(kind, method)))
        look_up = socket.getaddrinfo

        def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
            found = look_up(host, *arguments, **options)
            if isinstance(host, str):
                self._names.update({str(one[4][0]): host for one in found})
            return found

        getaddrinfo.__doc__, getaddrinfo.__module__ = look_up.__doc__, "socket"
        socket.getaddrinfo = getaddrinfo

    def _noting(self, original: Any) -> Any:
        def connect(one: socket.socket, address: Any) -> Any:
            if one.family in _NETWORKS and isinstance(address, tuple) and len(address) >= 2 and not _is_own():
                host = str(address[0])
                self.hosts.add(f"{self._names.get(host, host)}:{address[1]}")
            return original(one, address)

        connect.__name__ = connect.__qualname__ = original.__name__
        connect.__doc__, connect.__module__ = original.__doc__, "socket"
        return connect


def _is_own() -> bool:
    """Tell whether the store is asked for the step's own values, not by a cell."""
    frame: FrameType | None = sys._getframe(2)
    met_store = False
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name == "__main__":
            return False
        if met_store and name.startswith(_MACHINERY):
            return True
        met_store = met_store or name.startswith(_STORE)
        frame = frame.f_back
    return met_store  # a thread of the store
