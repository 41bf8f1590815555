"""Bodies of many megabytes, taken off the connection as they come, into memory that is used again.

Tornado gathers a body in pieces of 64 KiB that are copied five times before a handler sees them, into memory that is
new for each request; on the way of an upload that takes longer than all else that this server has to do.
"""

from __future__ import annotations

import asyncio
import re
from typing import ClassVar, cast

from jupyter_server.base.handlers import APIHandler
from tornado import iostream, web
from tornado.http1connection import HTTP1Connection

from nbkube.storage.s3.transfer import PART

_TURN = 1 << 20
"""Bytes after which other connections have their turn."""
_KEPT = 3
"""Buffers that are kept: as many as the parts that a browser sends at a time."""
_LENGTH = re.compile(r"[0-9]{1,15}")


@web.stream_request_body
class BodyHandler(APIHandler):
    """A path that takes files; `request.body` is a view of memory that is valid until the answer is finished."""

    _free: ClassVar[list[bytearray]] = []
    _buffer: bytearray | None = None

    async def prepare(self) -> None:  # type: ignore[override]
        """Let nobody in without a right to, and take the body."""
        size = self._stated_size()
        try:
            await super().prepare()
        except web.HTTPError:
            if size <= PART:  # so that the refusal is read: one who is still sending would only see the connection end
                await self._take(size)
            raise
        if self.serverapp is not None and size > self.serverapp.max_body_size:
            raise web.HTTPError(413, f"a body of {size} bytes is too large for this server")
        await self._take(size)

    def data_received(self, chunk: bytes) -> None:
        """Take a piece of a body that does not state its length; tornado reads those."""
        self.request.body += chunk

    def on_finish(self) -> None:
        """Leave the memory to the next one."""
        if self._buffer is not None and len(self._free) < _KEPT:
            self._free.append(self._buffer)
        self._buffer = None
        super().on_finish()

    def _stated_size(self) -> int:
        """Return the bytes of the body; 0 where there is none, or where tornado has to find out."""
        headers = self.request.headers
        length = headers.get("Content-Length", "")
        known = isinstance(self.request.connection, HTTP1Connection) and "Transfer-Encoding" not in headers
        return int(length) if known and _LENGTH.fullmatch(length) else 0

    async def _take(self, size: int) -> None:
        if not size:
            self.request.body = cast("bytes", bytearray())
            return
        connection, headers = cast("HTTP1Connection", self.request.connection), self.request.headers
        body = self._memory(size)
        headers["Content-Length"] = "0"  # it is taken here: tornado has nothing to wait for afterwards
        try:
            if headers.pop("Expect", "").lower() == "100-continue":
                await connection.stream.write(b"HTTP/1.1 100 (Continue)\r\n\r\n")
            for start in range(0, size, _TURN):
                await connection.stream.read_into(cast("bytearray", body[start : start + _TURN]))
                await asyncio.sleep(0)
        except iostream.StreamClosedError:
            self.detach()  # nobody is there to be answered
            return
        self.request.body = cast("bytes", body)

    def _memory(self, size: int) -> memoryview:
        if not PART // 2 < size <= PART:
            return memoryview(bytearray(size))
        self._buffer = self._free.pop() if self._free else bytearray(PART)
        return memoryview(self._buffer)[:size]
