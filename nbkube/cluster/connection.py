"""Requests to the API server. TLS, proxies and tokens are those of the `kubernetes` package's client."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.cluster import failures
from nbkube.cluster.model import Access, Manifest
from nbkube.errors import ConflictError

if TYPE_CHECKING:
    from kubernetes.client import Configuration
    from urllib3 import BaseHTTPResponse, PoolManager

Query = Mapping[str, str]
JSON = "application/json"
DEADLINE = 20.0
"""Seconds for which a request is tried again before the API server counts as not reachable."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
_NOTHING: Query = {}
_BUSY = (408, 429, 500, 502, 503, 504)


class DoneBeforeError(ConflictError):
    """An object is there already, after a request to make it whose answer was lost: it is most likely ours."""


class Connection:
    """HTTP to one API server; may be used from several threads.

    Args:
        access: how the cluster is reached.
        settings: the client's settings with credentials.
        again: makes both anew, when the credentials are no longer accepted.
    """

    def __init__(
        self, access: Access, settings: Configuration, again: Callable[[], tuple[Access, Configuration]]
    ) -> None:
        self.access = access
        self._again = again
        self._settings = settings
        self._pool = _pool(settings)
        self.skew: float | None = None

    @property
    def settings(self) -> Configuration:
        """The client's settings with the credentials in force, for what is not plain HTTP."""
        return self._settings

    def call(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Query = _NOTHING,
        body: Any = None,
        content: str = JSON,
        repeat: bool = True,
    ) -> Manifest:
        """Send a request and return the JSON answered. Tries again while the server is away or busy.

        Args:
            method: HTTP's.
            path: where.
            what: what is done, for messages.
            query: parameters.
            body: what to send as JSON.
            content: its type.
            repeat: send it again when the answer was lost, though it may have been carried out.

        Raises:
            DoneBeforeError: the answer was lost, and the repeated request finds the object made.
            NbkubeError: see `failures.translate`.
        """  # fmt: skip
        response = self._persist(method, path, what, query, body, content, repeat)
        answer: Manifest = msgspec.json.decode(response.data)
        return answer

    def stream(self, path: str, what: str, query: Query, read_seconds: float | None) -> BaseHTTPResponse:
        """Send one GET and return the open answer, to be read piece by piece and closed by the caller.

        Raises:
            urllib3's HTTPError: no answer.
            NbkubeError: an answer that is no success.
        """
        response = self._send("GET", path, query, None, JSON, read_seconds)
        if response.status == 401:
            self._renew()
            response = self._send("GET", path, query, None, JSON, read_seconds)
        return self._checked(response, what)

    def _persist(
        self, method: str, path: str, what: str, query: Query, body: Any, content: str, repeat: bool
    ) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError

        until = time.monotonic() + DEADLINE
        renewed = lost = False
        for attempt in itertools.count():
            try:
                response = self._send(method, path, query, body, content, READ_SECONDS)
                _ = response.data  # read here, and kept: an answer that is cut in its middle is lost, too
            except HTTPError as error:
                lost = lost or not _never_sent(error)
                if hopeless(error) or (lost and not repeat) or not _pause(attempt, until):
                    raise failures.unreachable(self.access, reason(error)) from None
                continue
            if response.status == 401 and not renewed:
                renewed = True
                self._renew()
                response.drain_conn()
                continue
            if _is_busy(response) and _pause(attempt, until, response.headers.get("Retry-After", "")):
                response.drain_conn()
                continue
            try:
                return self._checked(response, what)
            except ConflictError as error:
                raise (DoneBeforeError(str(error)) if lost else error) from None
        raise AssertionError("unreachable")

    def _send(
        self, method: str, path: str, query: Query, body: Any, content: str, read_seconds: float | None
    ) -> BaseHTTPResponse:
        from urllib.parse import urlencode

        from urllib3 import Timeout

        headers = {"Accept": JSON, "User-Agent": "nbkube"}
        for setting in self._settings.auth_settings().values():
            if setting["value"]:
                headers[setting["key"]] = setting["value"]
        data = None
        if body is not None:
            headers["Content-Type"] = content
            data = msgspec.json.encode(body)
        response = self._pool.request(
            method,
            self.access.server + path + (f"?{urlencode(query)}" if query else ""),
            body=data,
            headers=headers,
            preload_content=False,
            redirect=False,
            retries=False,
            timeout=Timeout(connect=CONNECT_SECONDS, read=read_seconds),
        )
        self._note_clock(response.headers.get("Date", ""))
        return response

    def _checked(self, response: BaseHTTPResponse, what: str) -> BaseHTTPResponse:
        if response.status < 300:
            return response
        try:
            raise failures.translate(response.status, response.data, what, self.access)
        finally:
            response.release_conn()

    def _renew(self) -> None:
        self.access, self._settings = self._again()
        self._pool = _pool(self._settings)

    def _note_clock(self, date: str) -> None:
        from email.utils import parsedate_to_datetime

        if date:
            self.skew = time.time() - parsedate_to_datetime(date).timestamp()


def reason(error: Exception) -> str:
    """Return why a connection failed, in a few words."""
    from urllib3 import exceptions as known

    text = str(error)
    if isinstance(error, known.NameResolutionError):
        return f"the name {error._host} is not known"
    if isinstance(error, known.SSLError) or "CERTIFICATE_VERIFY_FAILED" in text:
        return f"its certificate is not accepted ({text.partition('] ')[2].partition(' (_ssl')[0] or text})"
    if isinstance(error, known.NewConnectionError):
        return "connection refused" if "refused" in text else text.rpartition(": ")[2]
    if isinstance(error, known.ConnectTimeoutError):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, known.ReadTimeoutError):
        return "no answer in time"
    return " ".join(text.split())[:200]


def hopeless(error: Exception) -> bool:
    """Tell whether trying again cannot help."""
    from urllib3.exceptions import SSLError

    return isinstance(error, SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(error)


def backoff(attempt: int, longest: float = 5.0) -> float:
    """Return the seconds to wait after a failed attempt (from 0): doubling, with full jitter."""
    return random.uniform(0.05, min(longest, 0.2 * 2 ** min(attempt, 10)))


def lines(response: BaseHTTPResponse, *, unfinished: bool = False) -> Iterator[bytes]:
    """Yield the lines of an open answer as they arrive; the last one without an end only with `unfinished`."""
    rest = b""
    for piece in response.stream(2**16):
        *complete, rest = (rest + piece).split(b"\n")
        yield from complete
    if rest and unfinished:
        yield rest


def _never_sent(error: Exception) -> bool:
    from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

    return isinstance(error, NewConnectionError | ConnectTimeoutError | ProxyError)


def _pause(attempt: int, until: float, retry_after: str = "") -> bool:
    """Wait before the next attempt; False (at once) if the deadline would pass."""
    seconds = float(retry_after) if retry_after.isdigit() else backoff(attempt)
    if time.monotonic() + seconds > until:
        return False
    time.sleep(seconds)
    return True


def _is_busy(response: BaseHTTPResponse) -> bool:
    """Tell whether the same request may be answered otherwise a little later."""
    # Server-side apply reports unknown fields as an internal error.
    return response.status in _BUSY and not (response.status == 500 and b"field not declared" in response.data)


def _pool(settings: Configuration) -> PoolManager:
    from kubernetes.client.rest import RESTClientObject

    pool: PoolManager = RESTClientObject(settings).pool_manager
    return pool
