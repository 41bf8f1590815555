"""Messages between a run and its template process: JSON in packets of limited size, with descriptors on the last."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

PIECE = 64 << 10
"""Bytes of a message in one packet."""

_MORE, _LAST = b"+", b"."
_DESCRIPTORS = 8


def send(connection: socket.socket, message: Mapping[str, Any], descriptors: Sequence[int] = ()) -> None:
    """Send a message over a socket of the kind SOCK_SEQPACKET, with duplicates of descriptors."""
    data = json.dumps(message).encode()
    while len(data) > PIECE:
        connection.send(_MORE + data[:PIECE])
        data = data[PIECE:]
    socket.send_fds(connection, [_LAST + data], list(descriptors))


def receive(connection: socket.socket) -> tuple[dict[str, Any] | None, list[int]]:
    """Return the next message and the descriptors that came with it; None once the other side has gone."""
    pieces: list[bytes] = []
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, PIECE + 1, _DESCRIPTORS)
        for one in descriptors:
            os.set_inheritable(one, False)
        if not data:
            return None, []
        pieces.append(data[1:])
        if data[:1] == _LAST:
            message: dict[str, Any] = json.loads(b"".join(pieces))
            return message, descriptors
