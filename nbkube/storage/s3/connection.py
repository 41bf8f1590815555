"""One signed request to a bucket: sent, repeated where it may be, refused in words.

Requests go through minio's signer and urllib3, so that every payload is signed (also over https) and conditions can be
set, which minio's own methods do not offer. Buckets, copies and removals of many are minio's, see `Connection.client`.
"""

from __future__ import annotations

import contextlib
import email.utils
import hashlib
import os
import random
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit
from xml.etree import ElementTree

import msgspec

from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage.s3.access import Server, find_credentials, find_server
from nbkube.storage.s3.signing import Keys, authorization

if TYPE_CHECKING:
    import urllib3
    from minio import Minio

_T = TypeVar("_T")

PARALLEL = 4
"""Requests of one transfer that are under way at a time."""

_CONNECT_SECONDS = 5.0
_READ_SECONDS = 30.0
_FIRST_SECONDS = 6.0
_PATIENCE_SECONDS = 60.0
_SKEW_SECONDS = 240.0
_REPEATED = frozenset({408, 429, 500, 502, 503, 504})
_REPEATED_CODES = frozenset({"ConditionalRequestConflict", "OperationAborted", "RequestTimeout", "SlowDown"})
_BAD_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "TokenRefreshRequired",
        "XAdminUserNotFound",
    }
)
_ABSENT_CODES = frozenset({"", "NoSuchKey", "NoSuchUpload"})  # 404 also tells of missing buckets and users
_EMPTY = hashlib.sha256(b"").hexdigest()


class Body(Protocol):
    """A payload that can be read again for each try."""

    size: int
    sha256: str

    def open(self) -> Any:
        """Return the payload as bytes, or as a file to read from its beginning."""


class Bytes:
    """A payload in memory."""

    def __init__(self, data: bytes | bytearray | memoryview, sha256: str = "") -> None:
        self._data = data
        self.size = memoryview(data).nbytes
        self.sha256 = sha256 or (hashlib.sha256(data).hexdigest() if self.size else _EMPTY)

    def open(self) -> Any:
        """Return the bytes."""
        return self._data


class Answer(msgspec.Struct, frozen=True):
    """A reply that the caller asked for. `repeated`: an earlier try may have been carried out without a reply."""

    status: int
    headers: Mapping[str, str]
    data: bytes
    repeated: bool = False

    @property
    def etag(self) -> str:
        """The object's ETag without quotes."""
        return self.headers.get("etag", "").strip('"')

    @property
    def code(self) -> str:
        """The error code in the reply, "" where it has none."""
        return error_code(self.data)[0]


def error_code(data: bytes) -> tuple[str, str]:
    """Return code and message of an S3 error document, ("", "") where the bytes are none."""
    if not data:
        return "", ""
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        return "", ""
    if not root.tag.endswith("Error"):
        return "", ""
    return root.findtext("{*}Code") or "", root.findtext("{*}Message") or ""


class _LostError(Exception):
    """A try that may be repeated: what was wrong, and how long the server asks to wait."""

    def __init__(self, reason: str, pause: float = 0.0) -> None:
        self.pause = pause
        super().__init__(reason)


class Connection:
    """A bucket on a server; safe to use from many threads, and in a child after a fork.

    Args:
        bucket: its name; "" for what concerns all buckets.
        environment: names server and credentials; by default this process's own.
        patience: seconds for which a request is repeated, where `NBKUBE_S3_PATIENCE` does not say.
    """

    def __init__(
        self, bucket: str, environment: Mapping[str, str] | None = None, patience: float | None = None
    ) -> None:
        self.bucket = bucket
        self.server = find_server(environment)
        self._environment = environment
        self._patience = patience
        self._local = threading.RLock()
        self._pid = 0
        self._pool: urllib3.PoolManager | None = None
        self._client: Minio | None = None
        self._credentials: Keys | None = None
        self._reached = False
        self._bucket_seen = False
        _connections.add(self)

    def __repr__(self) -> str:
        return f"Connection({self.bucket!r} at {self.server.endpoint})"

    def request(
        self,
        method: str,
        key: str,
        accept: frozenset[int],
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """Send a request until one of the accepted statuses comes back.

        A 404 counts as accepted only if it is the object that is missing, not the bucket or the user.
        Requests that change something are made so that a repetition does no harm: whoever sends one looks at
        `Answer.repeated` where an earlier try may already have met the condition.

        Raises:
            StorageError: the server refuses, or cannot be reached within the patience (`NBKUBE_S3_PATIENCE` seconds,
                60 unless set; six where it has never answered).
        """
        repeated = False
        refreshed = False
        for attempt in self._tries():
            try:
                answer = self._send(method, key, query or {}, headers or {}, body)
            except _LostError as lost:
                attempt(lost)
                repeated = True
                continue
            if answer.status in accept and (answer.status != 404 or answer.code in _ABSENT_CODES):
                return msgspec.structs.replace(answer, repeated=repeated)
            if answer.status in (401, 403) and not refreshed:
                refreshed = True
                if self._new_credentials():
                    continue
            lost_reply = self._worth_repeating(answer)
            if lost_reply is None:
                raise self._refusal(method, key, answer)
            attempt(lost_reply)
            repeated = True
        raise AssertionError("unreachable")

    def client_call(self, act: Callable[[Minio], _T]) -> _T:
        """Carry out calls of minio's client under the same rules; `act` may be run several times."""
        import urllib3
        from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

        refreshed = False
        for attempt in self._tries():
            try:
                result = act(self.client())
            except (S3Error, ServerError, InvalidResponseError) as error:
                answer = self._answer_of(error)
                if answer.status in (401, 403) and not refreshed:
                    refreshed = True
                    if self._new_credentials():
                        continue
                lost = self._worth_repeating(answer)
                if lost is None:
                    raise self._refusal("LIST", "", answer) from error
                attempt(lost)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                attempt(self._lost(error))
            except ElementTree.ParseError:
                attempt(_LostError("its replies are cut off"))
            except (MinioException, ValueError) as error:
                raise StorageError(f"{self.server.endpoint} does not answer as an S3 server does: {error}.") from error
            else:
                self._reached = True
                return result
        raise AssertionError("unreachable")

    def client(self) -> Minio:
        """Return minio's client over the same connections."""
        from minio import Minio
        from minio.credentials.providers import StaticProvider

        with self._local:
            pool = self._connections()
            if self._client is None:
                keys = self._keys()
                self._client = Minio(
                    self.server.host,
                    secure=self.server.secure,
                    region=self.server.region,
                    http_client=pool,
                    credentials=StaticProvider(keys.access_key, keys.secret_key, keys.session_token),
                )
            return self._client

    # one try

    def _send(
        self, method: str, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: Body | None
    ) -> Answer:
        import urllib3

        path = f"/{self.bucket}" + (f"/{quote(key, safe='/~')}" if key else "")
        text = urlencode(sorted(query.items()), quote_via=quote, safe="~")
        url = urlsplit(self.server.endpoint + path + (f"?{text}" if text else ""))
        credentials = self._keys()
        date = datetime.now(UTC)
        sha256 = body.sha256 if body else _EMPTY
        signed: dict[str, str] = {
            "Host": self.server.host,
            "x-amz-date": date.strftime("%Y%m%dT%H%M%SZ"),
            "x-amz-content-sha256": sha256,
            **headers,
        }
        if credentials.session_token:
            signed["x-amz-security-token"] = credentials.session_token
        signed["Authorization"] = authorization(
            method, url, signed, credentials, region=self.server.region, sha256=sha256, date=date
        )
        if body:
            signed["Content-Length"] = str(body.size)
        with self._local:
            pool = self._connections()
        try:
            response = pool.request(
                method, url.geturl(), body=body.open() if body else None, headers=signed, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise self._lost(error) from error
        found = {name.lower(): value for name, value in response.headers.items()}
        if not _is_sized(method, response.status, found):
            raise _LostError("its replies are cut off")
        self._reached = True
        return Answer(response.status, found, response.data)

    def _connections(self) -> urllib3.PoolManager:
        if self._pool is None or self._pid != os.getpid():
            self._client = None
            self._pool = _make_pool(self.server)
            self._pid = os.getpid()
        return self._pool

    # credentials

    def _keys(self) -> Keys:
        with self._local:
            if self._credentials is None or self._credentials.is_expired():
                self._credentials = find_credentials(self._environment)
                self._client = None
            return self._credentials

    def _new_credentials(self) -> bool:
        """Read the credentials again; tell whether they are others now."""
        with self._local:
            old, self._credentials, self._client = self._credentials, None, None
            return self._keys() != old

    # what went wrong

    def _tries(self) -> Iterator[Callable[[_LostError], None]]:
        """Yield once for each try; what is yielded is called with the reason why the try counts for nothing."""
        start = time.monotonic()
        chosen = os.environ.get("NBKUBE_S3_PATIENCE")
        number = 0

        def failed(lost: _LostError) -> None:
            usual = _PATIENCE_SECONDS if self._reached else _FIRST_SECONDS
            patience = _seconds(chosen) if chosen else usual if self._patience is None else self._patience
            left = start + patience - time.monotonic()
            pause = max(lost.pause, random.uniform(0.02, min(3.0, 0.1 * 2**number)))
            if pause > left:
                raise StorageError(
                    f"the store s3://{self.bucket} at {self.server.endpoint} cannot be reached: {lost} (tried "
                    f"for {time.monotonic() - start:.0f} s). Check that the server runs and AWS_ENDPOINT_URL is right, "
                    "then run the command again; what is finished is kept."
                ) from lost
            time.sleep(pause)

        while True:
            yield failed
            number += 1

    def _lost(self, error: BaseException) -> _LostError:
        """Return the try as one to repeat; where repeating is no use, raise at once."""
        import ssl

        inner = _innermost(error)
        if isinstance(inner, ssl.SSLCertVerificationError):
            raise StorageError(
                f"{self.server.endpoint} shows a certificate that this machine does not trust: {inner.verify_message}. "
                "Set AWS_CA_BUNDLE to the file with the certificates of its authority."
            ) from error
        return _LostError(_reason(inner))

    def _worth_repeating(self, answer: Answer) -> _LostError | None:
        code = answer.code
        if answer.status not in _REPEATED and code not in _REPEATED_CODES:
            return None
        pause = 0.0
        with contextlib.suppress(ValueError):
            pause = min(10.0, float(answer.headers.get("retry-after", "0")))
        return _LostError(f"it answers {answer.status} {code}".rstrip(), pause)

    def _answer_of(self, error: Any) -> Answer:
        """Return the reply behind an error of minio's client; a gateway's reply without XML is only in its text."""
        response = getattr(error, "response", None)
        status = getattr(response, "status", 0) or getattr(error, "status_code", 0)
        if not status and (told := re.search(r"Response code: (\d+)", str(error))):
            status = told[1]
        headers = {name.lower(): value for name, value in getattr(response, "headers", {}).items()}
        document = b""
        if code := getattr(error, "code", ""):
            root = ElementTree.Element("Error")
            ElementTree.SubElement(root, "Code").text = code
            ElementTree.SubElement(root, "Message").text = getattr(error, "message", "") or ""
            document = ElementTree.tostring(root)
        return Answer(int(status), headers, document)

    def _refusal(self, method: str, key: str, answer: Answer) -> StorageError:
        """Return the error that tells a person what the server refused and what to do."""
        if method == "HEAD" and answer.status in (400, 403):  # has no body: ask again for the reason
            with contextlib.suppress(_LostError):
                again = self._send("GET", key, {}, {"Range": "bytes=0-0"}, None)
                answer = again if again.status >= 400 else answer
        code, message = error_code(answer.data)
        where = f"s3://{self.bucket} at {self.server.endpoint}"
        if code == "NoSuchBucket" or (answer.status == 404 and not key and not code):
            return NoBucketError(f"{where}: there is no such bucket. `nbkube storage mb s3://{self.bucket}` makes it.")
        if skew := self._skew(code, answer):
            return StorageError(f"{where} refuses: {skew}. Set the clock, then run the command again.")
        region = answer.headers.get("x-amz-bucket-region", "")
        if region and region != self.server.region:
            return LocationError(f"{where}: the bucket is in the region {region}. Set AWS_REGION={region}.")
        if code in _BAD_CREDENTIALS:
            reason = "the credentials have expired" if "Token" in code else "the credentials are wrong"
            return StorageError(
                f"{where} refuses: {reason} ({code}). "
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to valid ones."
            )
        if answer.status in (401, 403):
            return StorageError(
                f"{where} refuses {method} {key or 'of the bucket'}: no permission ({code or answer.status}). "
                "Ask who runs the bucket, or choose other credentials by AWS_PROFILE."
            )
        if answer.status == 409 and code in ("ExistingObjectIsDirectory", "ObjectParentIsFile"):
            return StorageError(f"{where}: {key}: a record's name cannot also be the folder of other records.")
        if answer.status == 507 or code in ("XMinioStorageFull", "QuotaExceeded", "XMinioAdminBucketQuotaExceeded"):
            return StorageError(f"{where}: the server's disk is full ({code or answer.status}). Free some space there.")
        detail = " ".join(str(part) for part in (answer.status, code, message[:200]) if part)
        # Short of 408 and 429 (come again later), 4xx says that it is the request which nobody takes.
        wrong = 400 <= answer.status < 500 and answer.status not in (408, 429)
        kind = LocationError if wrong else StorageError
        return kind(f"{where} refuses {method} {key or 'of the bucket'}: {detail}.")

    def _skew(self, code: str, answer: Answer) -> str:
        """Return by how much this machine's clock differs, "" where that is not why the server refuses."""
        if answer.status != 403 or code not in ("", "RequestTimeTooSkewed", "AccessDenied", "SignatureDoesNotMatch"):
            return ""
        try:
            there = email.utils.parsedate_to_datetime(answer.headers.get("date", "")).timestamp()
        except (TypeError, ValueError):
            return "this machine's clock differs too much from the server's" if code == "RequestTimeTooSkewed" else ""
        ahead = time.time() - there
        if abs(ahead) < _SKEW_SECONDS and code != "RequestTimeTooSkewed":
            return ""
        return f"this machine's clock is {abs(ahead) / 60:.0f} min {'ahead of' if ahead > 0 else 'behind'} the server's"

    def require_bucket(self) -> None:
        """Raise where the bucket does not exist; asked once, since a missing object looks like a missing bucket."""
        if not self._bucket_seen:
            self.request("GET", "", frozenset({200, 403}), query={"location": ""})
            self._bucket_seen = True


_connections: weakref.WeakSet[Connection] = weakref.WeakSet()


def _after_fork() -> None:
    for one in list(_connections):
        one._local = threading.RLock()  # a thread of the parent may have held it


os.register_at_fork(after_in_child=_after_fork)


class NoBucketError(NotFoundError, StorageError):
    """The bucket does not exist."""

    exit_code = 2


def _seconds(text: str) -> float:
    try:
        return max(0.0, float(text or 0))
    except ValueError:
        raise LocationError(f"NBKUBE_S3_PATIENCE={text[:40]!r} is no number of seconds.") from None


def _is_sized(method: str, status: int, headers: Mapping[str, str]) -> bool:
    """Tell whether a reply says how long it is; of others nobody knows whether they have arrived as a whole."""
    return method == "HEAD" or status in (204, 304) or "content-length" in headers or "transfer-encoding" in headers


def _innermost(error: BaseException) -> BaseException:
    import ssl

    while not isinstance(error, ssl.SSLCertVerificationError):
        cause = getattr(error, "reason", None)
        if not isinstance(cause, BaseException):
            cause = error.__cause__ or error.__context__
        if cause is None:
            break
        error = cause
    return error


def _reason(error: BaseException) -> str:
    """Return why a request failed in few words."""
    text = str(error) or type(error).__name__
    return text.split("object at 0x")[0][:200] if "object at 0x" in text else text[:200]


def _make_pool(server: Server) -> urllib3.PoolManager:
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    wait = _seconds(os.environ.get("NBKUBE_S3_PATIENCE", "")) or _READ_SECONDS
    settings: dict[str, Any] = {
        "num_pools": 4,
        "maxsize": 4 * PARALLEL,
        "retries": False,
        "timeout": urllib3.Timeout(connect=min(_CONNECT_SECONDS, wait), read=min(_READ_SECONDS, wait)),
        "blocksize": 1 << 20,
    }
    if server.secure:
        settings |= {"cert_reqs": "CERT_REQUIRED", "ca_certs": server.ca_file}
    scheme, host = server.endpoint.split("://")
    proxy = getproxies().get(scheme)
    from nbkube.storage.s3.addresses import guarded

    if proxy and not proxy_bypass(host):
        return guarded(urllib3.ProxyManager(proxy, **settings))
    return guarded(urllib3.PoolManager(**settings))
