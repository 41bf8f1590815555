"""The head of a reply counts only as a whole, wherever the connection ends."""

from __future__ import annotations

import http.client
import socket

import pytest

from nbkube.storage.s3.replies import WholeReply

HEAD = b'HTTP/1.1 200 OK\r\nDate: Fri, 27 Nov 2026 10:00:00 GMT\r\nETag: "abc"\r\nContent-Length: 3\r\n\r\n'


def reply(data: bytes, method: str, kind: type[http.client.HTTPResponse] = WholeReply) -> http.client.HTTPResponse:
    here, there = socket.socketpair()
    with here, there:
        there.sendall(data)
        there.shutdown(socket.SHUT_WR)
        found = kind(here, method=method)
        found.begin()
        return found


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_head_cut_anywhere_is_lost(method: str) -> None:
    for end in range(len(HEAD)):
        with pytest.raises(http.client.HTTPException):
            reply(HEAD[:end], method)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_whole_one_is_read(method: str) -> None:
    found = reply(HEAD + b"xyz", method)
    assert (found.status, found.headers["ETag"]) == (200, '"abc"')
    assert found.read() == (b"xyz" if method == "GET" else b"")


def test_the_library_alone_takes_the_half_for_the_whole() -> None:
    """The reason for `WholeReply`: when this fails, it can go."""
    found = reply(HEAD[:54], "GET", http.client.HTTPResponse)
    assert found.status == 200
    assert "ETag" not in found.headers
