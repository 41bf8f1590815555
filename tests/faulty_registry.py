"""A server before a real registry that does what networks, proxies and registries do to people."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Fault = Callable[[str, str], "tuple[int, dict[str, str], bytes] | str | None"]
"""From method and path to an answer, "cut" to hang up in the middle, or None to let the request through."""

USER, PASSWORD = "ann", "correct horse"


class Server(ThreadingHTTPServer):
    """`fault` decides; with `tokens` every request needs a token that /token gives for `USER` and `PASSWORD`."""

    daemon_threads = True

    def __init__(self, target: str, fault: Fault, *, tokens: bool, uses: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target, self.fault, self.tokens, self.uses = target, fault, tokens, uses
        self.requests: list[tuple[str, str]] = []
        self.given: dict[str, int] = {}
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


@contextmanager
def before(
    target: str, fault: Fault = lambda *_: None, *, tokens: bool = False, uses: int = 1 << 30
) -> Iterator[Server]:
    """Serve before the registry at `target`; a token is good for `uses` requests."""
    server = Server(target, fault, tokens=tokens, uses=uses)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        return

    def _handle(self) -> None:
        server = self.server
        with server.lock:
            server.requests.append((self.command, self.path))
        if self.path.startswith("/token"):
            return self._token()
        chosen = server.fault(self.command, self.path)
        if chosen == "cut":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if isinstance(chosen, tuple):
            return self._answer(*chosen)
        if server.tokens and not self._has_token():
            realm = f'Bearer realm="http://{server.host}/token",service="test",scope="repository:x:pull"'
            return self._answer(401, {"WWW-Authenticate": realm}, b'{"errors":[{"code":"UNAUTHORIZED"}]}')
        return self._pass_on(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _handle  # noqa: N815 - http.server's names

    def _token(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != f"Basic {basic}" and b"refresh_token=identity" not in body:
            return self._answer(401, {}, b'{"errors":[{"message":"bad credentials"}]}')
        with self.server.lock:
            token = f"token-{len(self.server.given)}"
            self.server.given[token] = self.server.uses
        return self._answer(200, {}, json.dumps({"token": token}).encode())

    def _has_token(self) -> bool:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        with self.server.lock:
            left = self.server.given.get(token, 0)
            self.server.given[token] = left - 1
        return left > 0

    def _pass_on(self, body: bytes) -> None:
        connection = http.client.HTTPConnection(self.server.target, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "authorization")}
        connection.request(self.command, self.path, body, {**headers, "Host": self.server.host})
        answer = connection.getresponse()
        content = answer.read()
        given = {name: value for name, value in answer.headers.items() if name.lower() not in ("transfer-encoding",)}
        if "Location" in given:
            place = urlsplit(given["Location"])
            given["Location"] = f"{place.path}?{place.query}" if place.query else place.path
        connection.close()
        self._answer(answer.status, given, content)

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "date", "server"):
                self.send_header(name, value)
        length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
