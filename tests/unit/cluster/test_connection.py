"""Answers that are cut, from a real socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from nbkube.cluster.connection import Connection, DoneBeforeError
from nbkube.cluster.model import Access
from nbkube.errors import ClusterError

WHOLE = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 14\r\n\r\n{"kind":"Pod"}'
CONFLICT = (
    b"HTTP/1.1 409 Conflict\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
    b'{"reason":"AlreadyExists","code":1}'[:34]
)
CUT = WHOLE[:-5]


@contextmanager
def answering(*answers: bytes) -> Iterator[Connection]:
    """A server that gives these answers, each over a connection of its own that it then closes."""
    from kubernetes.client import Configuration

    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def serve() -> None:
        for answer in answers:
            one, _ = listener.accept()
            with one, one.makefile("rb") as asked:
                # Read whole, its body may come in a packet of its own: what is closed with something
                # unread in it resets the connection, and the answer is lost on its way.
                length = 0
                while line := asked.readline().strip().lower():
                    if line.startswith(b"content-length:"):
                        length = int(line.partition(b":")[2])
                asked.read(length)
                one.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    access = Access("test", "default", f"http://127.0.0.1:{listener.getsockname()[1]}", "kubeconfig")
    settings = Configuration()
    settings.host = access.server

    def again() -> Any:
        raise AssertionError

    try:
        yield Connection(access, settings, again)
    finally:
        thread.join()
        listener.close()


def test_an_answer_cut_in_its_middle_is_asked_for_again() -> None:
    with answering(CUT, WHOLE) as connection:
        assert connection.call("GET", "/api/v1/x", "read x") == {"kind": "Pod"}


def test_an_object_made_by_a_request_whose_answer_was_cut_is_told_as_such() -> None:
    with answering(CUT, CONFLICT) as connection, pytest.raises(DoneBeforeError):
        connection.call("POST", "/api/v1/x", "make x", body={})


def test_what_must_not_be_repeated_is_not() -> None:
    with answering(CUT) as connection, pytest.raises(ClusterError):
        connection.call("POST", "/api/v1/x", "make x", body={}, repeat=False)
