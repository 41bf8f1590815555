"""A registry's requests (OCI distribution 1.1): keys, repetition, refusals in words. The only place that speaks it.

Own code over urllib3, for no maintained Python library mounts blobs across repositories and repeats what was cut.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO, Concatenate, ParamSpec
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError, MaxRetryError, NameResolutionError, SSLError

from nbkube.errors import BuildError, RegistryError
from nbkube.images.credentials import Credentials, credentials
from nbkube.images.model import DOCKER_INDEX, DOCKER_MANIFEST, INDEX, MANIFEST

Response = urllib3.BaseHTTPResponse
P = ParamSpec("P")
Body = Callable[[], "BinaryIO | bytes"]

_TRIES = 5
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE = 30.0
_PIECE = 32 << 20
_LARGE = 64 << 20
_MANIFESTS = ", ".join((MANIFEST, INDEX, DOCKER_MANIFEST, DOCKER_INDEX))
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def _repeated(once: Callable[Concatenate[Registry, P], Response]) -> Callable[Concatenate[Registry, P], Response]:
    """Return the request that is sent again where that may help."""

    def ask(self: Registry, /, *given: P.args, **named: P.kwargs) -> Response:
        for number in range(_TRIES):
            try:
                return once(self, *given, **named)
            except _CutError as error:
                if number == _TRIES - 1:
                    raise RegistryError(f"{error}. Fix: try again later.") from None
                self._wait(number, error.after)
        raise AssertionError("the last try returns or raises")

    return ask


class Registry:
    """One registry; methods may be called from several threads.

    Args:
        host: HOST[:PORT].
        plain_http: speak http, which the profile must allow; else https alone.
        ca: a file with the certificate authority, where it is an own one.
        keys: returns the keys for a host.
        pause: seconds before the first repetition; it doubles each time.
    """

    def __init__(
        self,
        host: str,
        *,
        plain_http: bool = False,
        ca: str = "",
        keys: Callable[[str], Credentials] = credentials,
        pause: float = 0.5,
    ) -> None:
        self.host = host
        self._scheme = "http" if plain_http else "https"
        self._server = "registry-1.docker.io" if host == "docker.io" else host
        self._keys = keys
        self._pause = pause
        self._lock = threading.Lock()
        self._authorization: dict[str, str] = {}
        self._pool = _pool(self._scheme, self._server, ca)

    # -- blobs -----------------------------------------------------------------------------------------------------

    def has(self, repository: str, digest: str) -> bool:
        """Tell whether a repository has a blob."""
        return self._ask("HEAD", repository, f"blobs/{digest}", (200, 404)).status == 200

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Take a blob over from another repository of this registry; False if it is not there or not allowed."""
        path = "blobs/uploads/?" + urlencode({"mount": digest, "from": source})
        try:
            answer = self._ask("POST", repository, path, (201, 202), scope=f"{_pull(source)} {_push(repository)}")
        except RegistryError:
            return False
        if answer.status == 202:
            self._give_up(repository, answer.headers.get("Location", ""))
        return answer.status == 201

    def try_writing(self, repository: str) -> None:
        """Begin to send a blob and give it up at once.

        Raises:
            RegistryError: the registry takes nothing from us, or does not answer.
        """
        answer = self._ask("POST", repository, "blobs/uploads/", (202,), {"Content-Length": "0"})
        self._give_up(repository, answer.headers.get("Location", ""))

    def upload(self, repository: str, digest: str, size: int, body: Body) -> None:
        """Send a blob; one that is cut is begun anew. `body` opens it each time.

        Raises:
            RegistryError: the registry does not take it.
        """
        for number in range(_TRIES):
            try:
                if number and size > _LARGE:
                    return self._in_pieces(repository, digest, body)
                return self._whole(repository, digest, size, body)
            except _CutError as error:
                if number == _TRIES - 1:
                    raise RegistryError(f"{error}. Nothing is half-pushed. Fix: try again later.") from None
                self._wait(number, error.after)
        return None

    def _whole(self, repository: str, digest: str, size: int, body: Body) -> None:
        place = self._begin(repository)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        try:
            self._once("PUT", repository, _with_digest(place, digest), (201, 204), headers, body)
        except _CutError as error:
            self._give_up(repository, place)
            if error.status == 413 and size <= _LARGE:
                return self._in_pieces(repository, digest, body)
            raise
        except RegistryError:
            self._give_up(repository, place)
            raise

    def _in_pieces(self, repository: str, digest: str, body: Body) -> None:
        """Send a blob piece by piece, for servers in between that let nothing large pass."""
        place = self._begin(repository)
        source = body()
        try:
            at = 0
            while piece := _read(source, at):
                span = {"Content-Range": f"{at}-{at + len(piece) - 1}", "Content-Type": "application/octet-stream"}
                given = {**span, "Content-Length": str(len(piece))}
                place = self._location(self._once("PATCH", repository, place, (202,), given, _same(piece)), place)
                at += len(piece)
            self._once("PUT", repository, _with_digest(place, digest), (201, 204), {"Content-Length": "0"})
        except RegistryError:
            self._give_up(repository, place)
            raise
        finally:
            if not isinstance(source, bytes):
                source.close()

    def _begin(self, repository: str) -> str:
        answer = self._once("POST", repository, "blobs/uploads/", (202,), {"Content-Length": "0"})
        return self._location(answer, self._url(repository, "blobs/uploads/"))

    def _location(self, answer: Response, before: str) -> str:
        found = urljoin(before, answer.headers.get("Location", ""))
        if urlsplit(found).scheme != self._scheme and self._scheme == "https":
            raise RegistryError(f"{self.host} wants blobs sent without encryption. Fix: have its https set up.")
        return found

    def _give_up(self, repository: str, place: str) -> None:
        """Let the registry forget an upload that was begun; it would in time by itself."""
        if place:
            with suppress(RegistryError):
                url = urljoin(self._url(repository, ""), place)
                self._once("DELETE", repository, url, (200, 202, 204, 404, 405))

    def read(self, repository: str, digest: str) -> Iterator[bytes]:
        """Yield a blob's bytes as they come.

        Raises:
            RegistryError: it is not there or was cut.
        """
        answer = self._ask("GET", repository, f"blobs/{digest}", (200,), stream=True)
        try:
            yield from answer.stream(1 << 20, decode_content=False)
        except HTTPError as error:
            raise RegistryError(f"{self.host}: {digest[:19]} was cut ({_said(error)}). Fix: try again.") from None
        finally:
            answer.release_conn()

    # -- manifests -------------------------------------------------------------------------------------------------

    def has_manifest(self, repository: str, version: str) -> bool:
        """Tell whether a repository has a manifest."""
        answer = self._ask("HEAD", repository, f"manifests/{version}", (200, 404), {"Accept": _MANIFESTS})
        return answer.status == 200

    def manifest(self, repository: str, version: str) -> tuple[bytes, str] | None:
        """Return a manifest or index with its media type; None if there is none."""
        answer = self._ask("GET", repository, f"manifests/{version}", (200, 404), {"Accept": _MANIFESTS})
        if answer.status == 404:
            return None
        return answer.data, answer.headers.get("Content-Type", MANIFEST).partition(";")[0]

    def put_manifest(self, repository: str, version: str, data: bytes, kind: str = MANIFEST) -> None:
        """Put a manifest, after everything it names is there."""
        self._ask("PUT", repository, f"manifests/{version}", (201,), {"Content-Type": kind}, lambda: data)

    # -- one request: `_ask` sends it again where that may help ----------------------------------------------------

    def _wait(self, number: int, after: float) -> None:
        time.sleep(min(max(self._pause * 2**number, after), _LONGEST_PAUSE))

    def _once(
        self,
        method: str,
        repository: str,
        path: str,
        accepted: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        *,
        scope: str = "",
        stream: bool = False,
    ) -> Response:
        url = path if "://" in path else self._url(repository, path)
        writes = method not in ("GET", "HEAD")
        scope = scope or (_push(repository) if writes else _pull(repository))
        ours = urlsplit(url).netloc == self._server
        refused = ""
        for _ in range(2):
            known = self._authorization.get(scope, "") if ours else ""
            given = {**(headers or {}), **({"Authorization": known} if known else {})}
            answer = self._send(method, url, given, body, stream)
            if answer.status != 401 or not ours:
                break
            if known and known == refused:
                break
            refused = self._log_in(scope, answer)
        return self._checked(answer, method, repository, accepted)

    _ask = _repeated(_once)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: Body | None, stream: bool) -> Response:
        content = body() if body else None
        try:
            return self._pool.request(
                method, url, body=content, headers=dict(headers), retries=urllib3.Retry(0, redirect=5),
                redirect=method in ("GET", "HEAD"), preload_content=not stream, decode_content=False,
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            raise self._cut(error) from None
        finally:
            if content is not None and not isinstance(content, bytes):
                content.close()

    def _cut(self, error: Exception) -> RegistryError:
        reason = error.reason if isinstance(error, MaxRetryError) else error
        if isinstance(reason, SSLError):
            return RegistryError(
                f"the certificate of {self.host} is not accepted ({_said(reason)}). Fix: name its authority by "
                "registry-ca in the profile, or the host in plain-http if it speaks no https at all."
            )
        if isinstance(reason, NameResolutionError):
            return RegistryError(
                f"{self.host} cannot be found from here. Fix: correct its name in the profile, or name one that this "
                "machine reaches (`registry`, and `base` for what images are built upon)."
            )
        return _CutError(f"{self.host} cannot be reached ({_said(reason or error)})")

    def _url(self, repository: str, path: str) -> str:
        return f"{self._scheme}://{self._server}/v2/{repository}/{path}"

    def _checked(self, answer: Response, method: str, repository: str, accepted: tuple[int, ...]) -> Response:
        if answer.status in accepted:
            return answer
        where, what = f"{self.host}/{repository}", _words(answer)
        if answer.status in (401, 403):
            does = "push to" if method not in ("GET", "HEAD") else "read"
            raise RegistryError(
                f"{self.host} does not let us {does} {repository} ({answer.status}{what}). Fix: log in there again "
                f"(docker login {self.host}, or a key in $DOCKER_CONFIG/config.json), or ask for the right."
            )
        if answer.status == 507 or re.search(r"no space|quota|insufficient storage", what, re.IGNORECASE):
            raise RegistryError(f"{where} is full ({answer.status}{what}). Fix: have old images removed there.")
        if answer.status in _AGAIN or answer.status == 413:
            after = answer.headers.get("Retry-After", "")
            raise _CutError(
                f"{where} answers {answer.status}{what}", answer.status, float(after) if after.isdigit() else 0.0
            )
        if answer.status == 404:
            raise RegistryError(f"{where} does not have what was asked for (404{what}). Fix: check name and tag.")
        raise RegistryError(f"{where} answers {answer.status}{what}. Fix: ask whoever runs it.")

    # -- keys ------------------------------------------------------------------------------------------------------

    def _log_in(self, scope: str, answer: Response) -> str:
        """Answer a challenge; return what is sent from now on for this scope."""
        kind, _, rest = answer.headers.get("WWW-Authenticate", "").partition(" ")
        keys = self._keys(self.host)
        if kind.lower() == "basic":
            if not keys.user:
                raise RegistryError(
                    f"{self.host} asks for a login. Fix: docker login {self.host}, or a key in "
                    "$DOCKER_CONFIG/config.json."
                )
            found = urllib3.make_headers(basic_auth=f"{keys.user}:{keys.password}")["authorization"]
        elif kind.lower() == "bearer":
            found = f"Bearer {self._token(dict(_CHALLENGE.findall(rest)), scope, keys)}"
        else:
            raise RegistryError(f"{self.host} asks for a login of the kind {kind[:20]!r}. Fix: use token or basic.")
        with self._lock:
            self._authorization[scope] = found
        return found

    def _token(self, challenge: Mapping[str, str], scope: str, keys: Credentials) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme != "https" and self._scheme == "https":
            raise RegistryError(f"{self.host} wants keys sent without encryption. Fix: have its realm use https.")
        fields: list[tuple[str, str]] = [("service", challenge.get("service", ""))]
        fields += [("scope", one) for one in scope.split()]
        headers = {}
        if keys.token:
            form = urlencode(
                [*fields, ("grant_type", "refresh_token"), ("refresh_token", keys.token), ("client_id", "nbkube")]
            )
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            answer = self._send("POST", realm, headers, lambda: form.encode(), stream=False)
        else:
            if keys.user:
                headers = urllib3.make_headers(basic_auth=f"{keys.user}:{keys.password}")
            answer = self._send("GET", f"{realm}?{urlencode(fields)}", headers, None, stream=False)
        if answer.status != 200:
            hint = "its key is refused or has expired" if keys else "it gives no token without a key"
            raise RegistryError(
                f"{self.host}: {hint} ({answer.status}{_words(answer)}). Fix: log in again: docker login {self.host}."
            )
        try:
            body = json.loads(answer.data)
            return str(body.get("token") or body["access_token"])
        except (ValueError, KeyError, AttributeError):
            raise RegistryError(f"{self.host} gives no token. Fix: ask whoever runs it.") from None


class _CutError(RegistryError):
    """A request that may go better when it is sent again."""

    def __init__(self, message: str, status: int = 0, after: float = 0.0) -> None:
        super().__init__(message)
        self.status = status
        self.after = after


def _pool(scheme: str, host: str, ca: str) -> urllib3.PoolManager:
    options: dict[str, Any] = {"timeout": urllib3.Timeout(connect=10, read=300), "maxsize": 8}
    if ca:
        if not os.path.isfile(ca):
            raise BuildError(f"there is no file {ca}. Fix: correct registry-ca in the profile.")
        options["ca_certs"] = ca
    proxy = "" if urllib.request.proxy_bypass(host) else urllib.request.getproxies().get(scheme, "")
    try:
        return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    except (OSError, ValueError) as error:
        raise BuildError(
            f"requests to {host} cannot be made: {error}. Fix: check registry-ca and {scheme}_proxy."
        ) from None


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"


def _with_digest(place: str, digest: str) -> str:
    return f"{place}{'&' if '?' in place else '?'}{urlencode({'digest': digest})}"


def _same(piece: bytes) -> Body:
    return lambda: piece


def _read(source: BinaryIO | bytes, at: int) -> bytes:
    return source[at : at + _PIECE] if isinstance(source, bytes) else source.read(_PIECE)


def _words(answer: Response) -> str:
    """Return what a registry says of a refusal, short and printable; "" if nothing."""
    try:
        first = json.loads(answer.data)["errors"][0]
        text = f"{first.get('message') or first.get('code', '')} {first.get('detail') or ''}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return ""
    clean = "".join(one for one in " ".join(text.split()) if one.isprintable())
    return f": {clean[:200]}" if clean else ""


def _said(error: BaseException) -> str:
    text = str(error).rpartition(": ")[2].strip(" ()'\"") or type(error).__name__
    return text[:120]
