"""How a client in Python meets servers that are going away, have too much to do, or are not there."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import pytest

from nbkube.serving import requests
from nbkube.serving.local import ServingError
from nbkube.serving.requests import PredictionError, post

BUSY = b'{"error": "the server is not ready."}'


class Plan(BaseHTTPRequestHandler):
    """Answers as planned: status and `Retry-After`, one after the other, then 200."""

    answers: ClassVar[list[tuple[int, str]]] = []
    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        Plan.asked += 1
        status, after = Plan.answers.pop(0) if Plan.answers else (200, "")
        answer = body if status == 200 else BUSY
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        if after:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    Plan.answers, Plan.asked = [], 0
    with HTTPServer(("127.0.0.1", 0), Plan) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/v1/models/small:predict"
        server.shutdown()
        thread.join()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that the client would have made."""
    found: list[float] = []
    monkeypatch.setattr(requests, "time", type("Clock", (), {"sleep": found.append}))
    return found


def test_a_server_that_is_going_away_is_asked_again_when_it_says(url: str, pauses: list[float]) -> None:
    Plan.answers = [(503, "1"), (503, ""), (503, "3600"), (503, "Fri, 27 Nov 2026 12:00:00 GMT")]
    assert post(url, b'{"instances": [1]}') == {"instances": [1]}
    assert pauses == [1.0, 0.1, 5.0, 0.4]
    assert Plan.asked == 5


def test_a_server_that_stays_busy_is_given_up(url: str, pauses: list[float]) -> None:
    Plan.answers = [(503, "2")] * 9
    with pytest.raises(ServingError, match=r"does not answer: the server is not ready\."):
        post(url, b"{}")
    assert (Plan.asked, pauses) == (6, [2.0] * 5)


@pytest.mark.parametrize(("status", "kind"), [(400, PredictionError), (404, PredictionError), (500, ServingError)])
def test_what_is_refused_is_not_sent_again(url: str, pauses: list[float], status: int, kind: type[Exception]) -> None:
    Plan.answers = [(status, "1")]
    with pytest.raises(kind, match="not ready"):
        post(url, b"{}")
    assert (Plan.asked, pauses) == (1, [])


def test_nobody_is_there(pauses: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        with pytest.raises(ServingError, match="does not answer: .*refused"):
            post(f"http://127.0.0.1:{taken.getsockname()[1]}/", b"{}")
    assert pauses == [0.05, 0.1, 0.2, 0.4, 0.8]
