"""Replies whose headers have arrived as a whole.

Python's HTTP library takes the end of a broken connection for the end of the headers: the rest are missing then, the
last may be half a value, and without Content-Length the reply seems to have no content. Only the blank line after the
headers (RFC 9112, section 2.1) tells that they are complete.
"""

from __future__ import annotations

import http.client
from typing import IO


class _Lines:
    """The lines of a reply's head as they are read; `last` is the one read last."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.last = b"\n"  # nothing is read where the head has been already

    def readline(self, limit: int = -1) -> bytes:
        self.last = self._source.readline(limit)
        return self.last

    def close(self) -> None:
        self._source.close()

    def flush(self) -> None:
        self._source.flush()


class WholeReply(http.client.HTTPResponse):
    """A reply that counts as lost where the connection ends before its headers do."""

    def begin(self) -> None:
        """Read the status and the headers.

        Raises:
            http.client.IncompleteRead: the connection ended among them.
        """
        source = self.fp
        lines = _Lines(source)
        self.fp = lines  # type: ignore[assignment]  # all that is done with it in there is to read lines, or to close it
        try:
            super().begin()
        finally:
            if self.fp is not None:  # set to None where the connection had to be closed
                self.fp = source
        if lines.last not in (b"\r\n", b"\n"):
            self.close()
            raise http.client.IncompleteRead(lines.last)


class WholeReplies:
    """Mixed into a connection: it gives only such replies."""

    response_class: type[http.client.HTTPResponse] = WholeReply
