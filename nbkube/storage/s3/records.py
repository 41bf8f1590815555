"""Records in a bucket: made only once, compared and swapped, removed.

Every write carries an attempt number in the object's metadata. Where the reply to a conditional write is lost, the
repetition finds the condition taken (412), and the number tells whether this very write took it.

A record is removed under a condition in two requests, since not every server heeds conditions of DELETE: first it is
replaced by a gravestone under `If-Match`, which is the moment it ceases to be; then the gravestone is deleted. Whoever
creates a record where a gravestone lies waits until it is gone; one that its maker left behind counts for nothing after
three minutes by the server's clock.
"""

from __future__ import annotations

import email.utils
import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from nbkube.errors import StorageError
from nbkube.storage.s3.connection import Answer, Bytes, Connection

KIND = "x-amz-meta-nbkube-kind"
ATTEMPT = "x-amz-meta-nbkube-attempt"
GONE = "gone"
GRAVESTONE = b"This record has been removed; nbkube deletes this object.\n"
_STALE_SECONDS = 180.0
_DELETE_SECONDS = 20.0
ABSENT: Mapping[str, str] = {"If-None-Match": "*"}


class Found(NamedTuple):
    """An object as it was read; `kind` tells what it is besides a plain record, `size` is that of the whole object."""

    data: bytes
    etag: str
    kind: str
    size: int


def _found(answer: Answer) -> Found:
    length = answer.headers.get("content-range", "").rpartition("/")[2] or answer.headers.get("content-length", "")
    size = int(length) if length.isdigit() else len(answer.data)
    return Found(answer.data, answer.etag, answer.headers.get(KIND, ""), size)


def get(connection: Connection, key: str) -> Found | None:
    """Return an object, or None; a gravestone is returned as such."""
    answer = connection.request("GET", key, frozenset({200, 404}))
    if answer.status == 404:
        return None
    return _found(answer)


def get_from(connection: Connection, key: str, start: int, etag: str) -> bytes | None:
    """Return one version of an object from a byte on (b"" behind its end), or None where it is another one now."""
    headers = {"If-Match": f'"{etag}"'} | ({"Range": f"bytes={start}-"} if start else {})
    answer = connection.request("GET", key, frozenset({200, 206, 404, 412, 416}), headers=headers)
    if answer.status in (404, 412):
        return None
    if answer.status == 416:
        return b""
    return answer.data[start:] if start and answer.status == 200 else answer.data


def head(connection: Connection, key: str) -> Answer | None:
    """Return what is known of an object without its content, or None."""
    answer = connection.request("HEAD", key, frozenset({200, 404}))
    if answer.status == 404:
        connection.require_bucket()
        return None
    return answer


def look(connection: Connection, key: str) -> Found | None:
    """Return an object without its content, or None."""
    answer = head(connection, key)
    return None if answer is None else _found(answer)


def put(
    connection: Connection, key: str, data: bytes, condition: Mapping[str, str] | None = None, *, kind: str = ""
) -> str | None:
    """Write an object and return its ETag; None where the condition does not hold (nothing is changed)."""
    attempt = os.urandom(12).hex()
    headers = {ATTEMPT: attempt, **(condition or {})} | ({KIND: kind} if kind else {})
    answer = connection.request("PUT", key, frozenset({200, 404, 412}), headers=headers, body=Bytes(data))
    if answer.status == 200:
        return answer.etag
    if answer.repeated:
        current = head(connection, key)
        if current is not None and current.headers.get(ATTEMPT) == attempt:
            return current.etag
    return None


def create(connection: Connection, key: str, data: bytes, *, kind: str = "") -> str | None:
    """Write an object that must not exist yet and return its ETag; None where it exists."""
    etag = put(connection, key, data, ABSENT, kind=kind)
    pause = 0.005
    while etag is None:
        answer = head(connection, key)
        if answer is None:
            etag = put(connection, key, data, ABSENT, kind=kind)
        elif answer.headers.get(KIND) != GONE:
            return None
        elif age(answer) > _STALE_SECONDS:
            etag = put(connection, key, data, matching(answer.etag), kind=kind)
        time.sleep(pause if etag is None else 0)
        pause = min(pause * 2, 1.0)
    return etag


def matching(etag: str) -> dict[str, str]:
    """Return the condition that an object is still this one."""
    return {"If-Match": f'"{etag}"'}


def remove_if(connection: Connection, key: str, etag: str) -> bool:
    """Remove an object if it is still this one."""
    start = time.monotonic()
    grave = put(connection, key, GRAVESTONE, matching(etag), kind=GONE)
    if grave is None:
        return False
    if time.monotonic() - start < _DELETE_SECONDS:
        delete(connection, key, grave)
    return True


def delete(connection: Connection, key: str, etag: str = "") -> None:
    """Delete an object; nothing happens where there is none, or (where the server heeds it) another one."""
    condition = matching(etag) if etag else {}
    connection.request("DELETE", key, frozenset({200, 204, 404, 412}), headers=condition)


def age(answer: Answer) -> float:
    """Return how old an object is by the server's own clock, in seconds."""
    try:
        made = email.utils.parsedate_to_datetime(answer.headers["last-modified"])
        now = email.utils.parsedate_to_datetime(answer.headers["date"])
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"the S3 server sends no dates with its replies ({error}).") from error
    return (now - made).total_seconds()
