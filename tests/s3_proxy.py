"""A proxy before a real S3 server that loses replies, answers by itself, delays or cuts: the faults of a network.

It understands just enough HTTP to know where a request and its reply end; the bytes go through unchanged, so signatures
stay right.
"""

from __future__ import annotations

import http.client
import random
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple


class Request(NamedTuple):
    """What a client asked: method, path without the query, query, header names in lower case."""

    method: str
    path: str
    query: str
    headers: dict[str, str]


FORWARD = "forward"
LOSE_REPLY = "lose the reply"
LOSE_REQUEST = "lose the request"
CUT_REPLY = "cut the reply in the middle"
CUT_HEAD = "cut the reply among its headers"
SLOW = "a second late"
CLAIM = "claim that it is done"
Rule = Callable[[Request], str | int]
"""Decides a request's fate: one of the words above, or a status that the proxy answers by itself."""


class Proxy:
    """Listens on a port of loopback before the server at `port`; `seen` are the requests so far."""

    def __init__(self, port: int, rule: Rule = lambda _: FORWARD) -> None:
        self.rule = rule
        self.seen: list[Request] = []
        self._target = port
        self._lock = threading.Lock()
        self._chance = random.Random(port)
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while proxy._serve(self):
                    pass

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

            def handle_error(self, request: object, client_address: object) -> None:
                return None  # a client or server that went away is what is being tested

        self._server = Server(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def count(self, method: str, part: str = "") -> int:
        """Return how many requests of a method have had a text in path or query."""
        return sum(one.method == method and part in f"{one.path}?{one.query}" for one in self.seen)

    def _serve(self, handler: socketserver.StreamRequestHandler) -> bool:
        line = handler.rfile.readline()
        if not line.strip():
            return False
        head = [line]
        headers: dict[str, str] = {}
        while (line := handler.rfile.readline()).strip():
            head.append(line)
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = handler.rfile.read(int(headers.get("content-length", 0)))
        method, target = head[0].decode("latin-1").split()[:2]
        path, _, query = target.partition("?")
        request = Request(method, path, query, headers)
        with self._lock:
            self.seen.append(request)
            fate = self.rule(request)
        if fate == LOSE_REQUEST:
            return False
        if isinstance(fate, int):
            document = b"<Error><Code>SlowDown</Code><Message>made by the proxy</Message></Error>"
            text = f"HTTP/1.1 {fate} Fault\r\nContent-Length: {len(document)}\r\n\r\n"
            handler.wfile.write(text.encode() + (b"" if method == "HEAD" else document))
            return True
        if fate == CLAIM:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n<Result/>")
            return True
        if fate == SLOW:
            time.sleep(1)
        reply = self._forward(b"".join(head) + b"\r\n" + body, method)
        if fate == LOSE_REPLY:
            return False
        if fate == CUT_HEAD:
            reply = reply[: self._chance.randrange(1, reply.index(b"\r\n\r\n") + 3)]
        elif fate == CUT_REPLY:
            reply = reply[: len(reply) * 2 // 3]
        handler.wfile.write(reply)
        return fate not in (CUT_REPLY, CUT_HEAD)

    def _forward(self, data: bytes, method: str) -> bytes:
        with socket.create_connection(("127.0.0.1", self._target), timeout=60) as server:
            server.sendall(data)
            answer = http.client.HTTPResponse(server, method=method)
            answer.begin()
            body = answer.read()
            skipped = {"transfer-encoding", "connection"} | ({"content-length"} if method != "HEAD" else set())
            lines = [f"{name}: {value}\r\n" for name, value in answer.getheaders() if name.lower() not in skipped]
            if method != "HEAD":
                lines.append(f"Content-Length: {len(body)}\r\n")
            head = f"HTTP/1.1 {answer.status} {answer.reason}\r\n{''.join(lines)}\r\n"
            return head.encode("latin-1") + body
