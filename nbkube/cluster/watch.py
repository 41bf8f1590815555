"""List, then watch: every change of the objects of a kind, over cut connections and expired versions."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from nbkube.cluster.connection import Connection, backoff, lines, reason
from nbkube.cluster.failures import ExpiredError, unreachable
from nbkube.cluster.model import Change, Kind, Manifest
from nbkube.errors import ClusterError, ForbiddenError, NbkubeError

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

Listing = tuple[list[Manifest], str]
Lister = Callable[[], Listing]
HANG_SECONDS = 10.0
"""Silence beyond the time the server was asked to end the watch: then the connection counts as dead."""
REFUSED_SECONDS = 60.0
"""A watch that has worked goes on through refusals this long: a server that just started may not know its rights."""
SHORTEST_ROUND = 0.2


class Tracker:
    """What is known of the objects: turns lists and watch events into changes, each reported once."""

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._known: dict[tuple[str, str], Manifest] = {}
        self.version = ""

    def listed(self, items: list[Manifest], version: str) -> Iterator[Change]:
        """Take in a whole list: yields what is new, different or gone since the last change taken in."""
        present = {_key(one): one for one in items}
        for key in [key for key in self._known if key not in present]:
            yield Change("deleted", self._known.pop(key))
        for one in items:
            yield from self._seen(one)
        self.version = version

    def event(self, event: Manifest) -> Iterator[Change]:
        """Take in one event of a watch.

        Raises:
            ExpiredError: the event says that the watch has to start anew.
        """
        what, one = event["type"], event["object"]
        if what == "ERROR":
            # 410 for an expired version is the usual one; listing anew is right for all of them.
            raise ExpiredError(str(one.get("message", "")))
        self.version = one["metadata"]["resourceVersion"]
        if what == "DELETED":
            if self._known.pop(_key(one), None) is not None:
                yield Change("deleted", one)
        elif what != "BOOKMARK":
            yield from self._seen({"apiVersion": self._kind.api_version, "kind": self._kind.kind} | one)

    def _seen(self, one: Manifest) -> Iterator[Change]:
        before = self._known.get(_key(one))
        if before is not None and _uid(before) != _uid(one):
            yield Change("deleted", before)
            before = None
        self._known[_key(one)] = one
        if before is None:
            yield Change("added", one)
        elif before["metadata"].get("resourceVersion") != one["metadata"].get("resourceVersion"):
            yield Change("modified", one)


class Watch:
    """Iterate over it for the changes, once; `close` (from any thread) ends the iteration."""

    def __init__(
        self, connection: Connection, kind: Kind, path: str, query: Mapping[str, str], lister: Lister, idle: float
    ) -> None:
        self._connection = connection
        self._what = f"watch {kind.kind}"
        self._path = path
        self._query = dict(query)
        self._list = lister
        self._idle = idle
        self._tracker = Tracker(kind)
        self._closed = threading.Event()
        self._response: BaseHTTPResponse | None = None

    def close(self) -> None:
        """End the iteration; a wait for the next change ends at once."""
        self._closed.set()
        response = self._response
        if response is not None:
            # The reader may be closing it at this very moment.
            with contextlib.suppress(OSError, ValueError):
                response.shutdown()

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Change]:
        yield from self._tracker.listed(*self._list())
        yield Change("synced")
        expired = worked = False
        failures = 0
        since = 0.0
        while not self._closed.is_set():
            started = time.monotonic()
            try:
                for change in self._round(expired):
                    lost, failures, expired, worked = failures > 1, 0, False, True
                    if lost or change.what != "found":
                        yield change
            except ExpiredError:
                expired = True
            except NbkubeError as error:
                failures += 1
                since = since if failures > 1 else started
                refused = isinstance(error, ForbiddenError) or not isinstance(error, ClusterError)
                if refused and (not worked or time.monotonic() - since > REFUSED_SECONDS):
                    raise
                if failures > 1:
                    yield Change("lost" if failures == 2 else "idle", reason=str(error))
                self._closed.wait(backoff(failures))
            if time.monotonic() - started < SHORTEST_ROUND:
                # Whatever ends watches at once must not be asked in a busy loop.
                self._closed.wait(SHORTEST_ROUND)

    def _round(self, expired: bool) -> Iterator[Change]:
        """Yield `found` as soon as there is contact, the changes until the server ends the watch, then `idle`."""
        from urllib3.exceptions import HTTPError

        if expired:
            changes = list(self._tracker.listed(*self._list()))
            yield Change("found")
            yield from changes
        query = self._query | {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._tracker.version,
            "timeoutSeconds": str(max(1, round(self._idle))),
        }
        try:
            with self._connection.stream(self._path, self._what, query, self._idle + HANG_SECONDS) as response:
                self._response = response
                yield Change("found")
                for line in lines(response):
                    yield from self._tracker.event(msgspec.json.decode(line))
        except HTTPError as error:
            if not self._closed.is_set():
                raise unreachable(self._connection.access, reason(error)) from None
        except msgspec.DecodeError:
            # The connection went, or was closed, in the middle of a line.
            if not self._closed.is_set():
                raise unreachable(self._connection.access, "the answer was cut short") from None
        finally:
            self._response = None
        yield Change("idle")


def _key(one: Manifest) -> tuple[str, str]:
    return one["metadata"].get("namespace", ""), one["metadata"]["name"]


def _uid(one: Manifest) -> str:
    return str(one["metadata"].get("uid", ""))
