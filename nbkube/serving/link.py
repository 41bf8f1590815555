"""The server's end of the connection to a worker: whole messages in, jobs out, by callbacks and without tasks.

A request passes here twice, so that what asyncio's streams would cost for each wait counts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from nbkube.decoding import from_msgpack
from nbkube.serving.frames import Done, length_of

_HEAD = 4


class Link(asyncio.Protocol):
    """A connection to one worker.

    Args:
        arrived: is called with each message of the worker.
        gone: is called once, when the connection has ended.
    """

    def __init__(self, arrived: Callable[[Done], None], gone: Callable[[], None]) -> None:
        self._arrived = arrived
        self._gone = gone
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Hand on what is complete."""
        self._buffer += data
        while len(self._buffer) >= _HEAD:
            end = _HEAD + length_of(bytes(self._buffer[:_HEAD]))
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_HEAD:end])
            del self._buffer[:end]
            try:
                done: Any = from_msgpack(body, Done)
            except msgspec.DecodeError:
                self.close()  # whatever it is, it is no worker of ours any more
                return
            self._arrived(done)

    def connection_lost(self, _: Exception | None) -> None:
        """Tell that the worker is gone."""
        self._gone()

    def send(self, message: bytes) -> None:
        """Send a job."""
        if self._transport is not None:
            self._transport.write(message)

    def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()
