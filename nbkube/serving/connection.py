"""One HTTP connection that is kept open, for whoever sends many requests and has no cycles to spare."""

from __future__ import annotations

import asyncio


class Connection:
    """One HTTP connection that is kept open; it knows what our own server sends, and bodies with a length.

    `connect_seconds` is how long opening it may take: the address of a pod that has gone may not answer at all.
    """

    def __init__(self, host: str, port: int, connect_seconds: float = 30.0) -> None:
        self._host, self._port = host, port
        self._connect_seconds = connect_seconds
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def is_open(self) -> bool:
        """Whether the last request has left it open."""
        return self._writer is not None

    async def send(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Send a request and return status, headers (lower case) and body. Raises `OSError` and `EOFError`."""
        if self._reader is None or self._writer is None:
            async with asyncio.timeout(self._connect_seconds):
                self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        try:
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
            body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        except BaseException:
            self.close()
            raise
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split(" ", 2)[1]), headers, body

    def close(self) -> None:
        """Close it; the next request opens a new one."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None
