"""The log of a container, each line once, also when the connection is cut."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from nbkube.cluster.connection import DEADLINE, Connection, backoff, lines, reason
from nbkube.cluster.failures import unreachable
from nbkube.cluster.model import LogLine
from nbkube.errors import ClusterError

SILENCE_SECONDS = 300.0
"""How long a container may print nothing before the connection is made anew, in case it is dead."""


class Seen:
    """Leaves out what was seen before: the API server resumes a log only at whole seconds.

    `since` is the time of the last line that is already known; lines up to and with it are left out.
    """

    def __init__(self, since: str = "") -> None:
        self.last = since
        self._at_last = 0
        self._skipping = 0
        self._whole = bool(since)

    def resumed(self) -> None:
        """Note that the log is being read again from the second of `last` on."""
        self._skipping = 0

    def is_new(self, line: LogLine) -> bool:
        """Tell whether a line has not been seen; lines come in the order in which they were written."""
        moment, last = _sortable(line.time), _sortable(self.last)
        if self.last and moment < last:
            return False
        if self.last and moment == last:
            self._skipping += 1
            if self._whole or self._skipping <= self._at_last:
                return False
            self._at_last += 1
            return True
        self.last, self._at_last, self._skipping, self._whole = line.time, 1, 1, False
        return True


class Logs:
    """Iterate over it for the lines of one container's log.

    Args:
        connection: the API server.
        path: the pod's `log`.
        what: what is done, for messages.
        query: container and the like.
        follow: go on until the container has ended.
        since: RFC 3339 time of the last line that is already known, or "".
    """

    def __init__(
        self, connection: Connection, path: str, what: str, query: Mapping[str, str], follow: bool, since: str
    ) -> None:
        self._connection = connection
        self._path = path
        self._what = what
        self._query = {"timestamps": "true", **query} | ({"follow": "true"} if follow else {})
        self._follow = follow
        self._seen = Seen(since)

    def __iter__(self) -> Iterator[LogLine]:
        from urllib3.exceptions import HTTPError, ReadTimeoutError

        attempt = 0
        until = time.monotonic() + DEADLINE
        while True:
            try:
                for line in self._round():
                    attempt, until = 0, time.monotonic() + DEADLINE
                    yield line
                return
            except ReadTimeoutError:
                continue
            except (HTTPError, ClusterError) as error:
                if time.monotonic() > until:
                    why = error if isinstance(error, ClusterError) else None
                    raise why or unreachable(self._connection.access, reason(error)) from None
                time.sleep(backoff(attempt))
                attempt += 1

    def _round(self) -> Iterator[LogLine]:
        query = dict(self._query)
        if self._seen.last:
            query["sinceTime"] = self._seen.last
            query.pop("tailLines", None)
        self._seen.resumed()
        with self._connection.stream(self._path, self._what, query, SILENCE_SECONDS) as response:
            for text in lines(response, unfinished=True):
                line = _parsed(text)
                if self._seen.is_new(line):
                    yield line


def _parsed(text: bytes) -> LogLine:
    moment, _, rest = text.partition(b" ")
    return LogLine(moment.decode("ascii", "replace"), rest)


def _sortable(moment: str) -> tuple[str, str]:
    """Return a UTC time such that it sorts: nanoseconds are written without trailing zeros."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    return whole, fraction.ljust(9, "0")
