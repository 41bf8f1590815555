"""Many requests at once: a file up in parts, an object down in ranges, both in bounded memory.

An upload that was broken off goes on: the parts that the server holds are compared by their MD5 and not sent again.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO, NamedTuple
from xml.etree import ElementTree

from nbkube.errors import NotFoundError, StorageError
from nbkube.storage.model import Buffer
from nbkube.storage.s3.connection import PARALLEL, Answer, Bytes, Connection

PART = 8 << 20
"""Bytes of a part or range; more where a file would need over 10,000 parts."""

SINGLE = 2 * PART
"""Up to this size an object is sent in one request."""

_PIECE = 1 << 20
_MAX_PARTS = 10_000
_ROUNDS = 3

Progress = Callable[[int], None]
"""Called with the number of bytes that have just been transferred; from any thread."""


def _silent(_: int) -> None:
    return None


def _read_range(handle: int, start: int, size: int) -> bytes:
    """Return a range of a file that other threads read, too."""
    pieces = []
    while size > 0:
        if not (piece := os.pread(handle, size, start)):
            raise StorageError("the file was made shorter while it was sent. Send it again once nothing writes to it.")
        pieces.append(piece)
        start, size = start + len(piece), size - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Digests(NamedTuple):
    """sha256 of a whole file, and of each of the parts it would be sent in; () where they are not known beforehand."""

    whole: str
    parts: tuple[str, ...]
    size: int


def part_size(size: int) -> int:
    """Return the size of the parts of a file; the same for all who send that file."""
    return max(PART, -(-size // _MAX_PARTS) + _PIECE - 1 & -_PIECE)


def digests_of(handle: int) -> Digests:
    """Hash an open file once, as a whole and by parts, both at the same time where it has several."""
    size = os.fstat(handle).st_size
    if size <= SINGLE:
        return Digests(_hash_range(handle, 0, size), (), size)
    step = part_size(size)
    with ThreadPoolExecutor(1, thread_name_prefix="nbkube-hash") as pool:
        parts = pool.submit(lambda: tuple(_hash_range(handle, start, step) for start in range(0, size, step)))
        return Digests(_hash_range(handle, 0, size), parts.result(), size)


def _hash_range(handle: int, start: int, size: int) -> str:
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(size, _PIECE)))
    end = start + size
    while start < end and (count := os.preadv(handle, [buffer[: end - start]], start)):
        digest.update(buffer[:count])
        start += count
    return digest.hexdigest()


# up


def upload(
    connection: Connection,
    key: str,
    handle: int,
    digests: Digests,
    headers: Mapping[str, str],
    condition: Mapping[str, str],
    progress: Progress = _silent,
) -> bool:
    """Send an open file; False where the condition does not hold.

    Args:
        connection: the bucket.
        key: the object's key.
        handle: descriptor of the file, which nobody changes meanwhile (else the server refuses the payload).
        digests: from `digests_of`; parts may be (), and are hashed as they are sent then: where the file cannot change,
            or its digest is no part of the name ("").
        headers: of the object, metadata for instance.
        condition: `If-None-Match: *` for an object that must not exist, or {}.
        progress: told about each part that has arrived.
    """
    if digests.size <= SINGLE:
        body = Bytes(_read_range(handle, 0, digests.size), digests.whole)
        answer = connection.request("PUT", key, frozenset({200, 412}), headers={**headers, **condition}, body=body)
        progress(digests.size)
        return answer.status == 200
    for _ in range(_ROUNDS):
        answer = _multipart(connection, key, handle, digests, headers, condition, progress)
        if answer.status in (200, 412):
            return answer.status == 200
        # 404: the upload was ended by another process, which may have completed it; 409: begin a new one.
        if connection.request("HEAD", key, frozenset({200, 404})).status == 200:
            return False
    raise StorageError(f"s3://{connection.bucket}/{key}: other processes end this upload. Run the command again.")


def _multipart(
    connection: Connection,
    key: str,
    handle: int,
    digests: Digests,
    headers: Mapping[str, str],
    condition: Mapping[str, str],
    progress: Progress,
) -> Answer:
    upload_id, there = unfinished(connection, key)
    if not upload_id:
        answer = connection.request("POST", key, frozenset({200}), query={"uploads": ""}, headers=headers)
        upload_id = ElementTree.fromstring(answer.data).findtext("{*}UploadId") or ""
    step = part_size(digests.size)
    etags: dict[int, str] = {}
    gone: list[Answer] = []

    def send(number: int) -> None:
        # Read into memory: the bytes that are sent are those that were signed, and the socket takes them as a whole.
        start = (number - 1) * step
        data = _read_range(handle, start, min(step, digests.size - start))
        if number in there and there[number] == hashlib.md5(data, usedforsecurity=False).hexdigest():
            etags[number] = there[number]
        elif not gone:
            query = {"partNumber": str(number), "uploadId": upload_id}
            part = Bytes(data, digests.parts[number - 1] if digests.parts else "")
            answer = connection.request("PUT", key, frozenset({200, 404}), query=query, body=part)
            if answer.status == 404:
                gone.append(answer)
                return
            etags[number] = answer.etag
        progress(len(data))

    _all(send, range(1, -(-digests.size // step) + 1))
    if gone:
        return gone[0]
    answer = complete(connection, key, upload_id, etags, condition)
    if answer.status == 200 and answer.repeated:
        # A server that died while it completed the upload may take it for completed without having the object
        # (versitygw does): then the upload counts as ended, and is begun anew.
        look = connection.request("HEAD", key, frozenset({200, 404}))
        answer = answer if look.status == 200 else look
    if answer.status in (404, 409, 412):
        connection.request("DELETE", key, frozenset({204, 404}), query={"uploadId": upload_id})
    return answer


def _all(act: Callable[[int], None], numbers: range) -> None:
    """Carry out an act for all numbers, a few at a time; the first error ends the rest."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="nbkube-s3") as pool:
        todo = [pool.submit(act, number) for number in numbers]
        try:
            for one in todo:
                one.result()
        finally:
            for one in todo:
                one.cancel()


def unfinished(connection: Connection, key: str) -> tuple[str, dict[int, str]]:
    """Return the newest upload of a key that was begun and not completed ("" if none), and its parts' ETags."""
    answer = connection.request("GET", "", frozenset({200, 501}), query={"uploads": "", "prefix": key})
    if answer.status != 200:  # a server without this listing: begin anew
        return "", {}
    found = [
        (one.findtext("{*}Initiated") or "", one.findtext("{*}UploadId") or "")
        for one in ElementTree.fromstring(answer.data).iterfind("{*}Upload")
        if one.findtext("{*}Key") == key
    ]
    if not found:
        return "", {}
    upload_id = max(found)[1]
    parts: dict[int, str] = {}
    marker = ""
    while True:
        query = {"uploadId": upload_id} | ({"part-number-marker": marker} if marker else {})
        answer = connection.request("GET", key, frozenset({200, 404}), query=query)
        if answer.status == 404:
            return "", {}
        root = ElementTree.fromstring(answer.data)
        for one in root.iterfind("{*}Part"):
            parts[int(one.findtext("{*}PartNumber") or 0)] = (one.findtext("{*}ETag") or "").strip('"')
        marker = root.findtext("{*}NextPartNumberMarker") or ""
        if root.findtext("{*}IsTruncated") != "true" or not marker:
            return upload_id, parts


def complete(
    connection: Connection, key: str, upload_id: str, etags: Mapping[int, str], condition: Mapping[str, str]
) -> Answer:
    """Make an object out of the parts of an upload; 404, 409 and 412 are answers, too."""
    root = ElementTree.Element("CompleteMultipartUpload")
    for number, etag in sorted(etags.items()):
        part = ElementTree.SubElement(root, "Part")
        ElementTree.SubElement(part, "PartNumber").text = str(number)
        ElementTree.SubElement(part, "ETag").text = f'"{etag}"'
    accept = frozenset({200, 404, 409, 412})
    body = Bytes(ElementTree.tostring(root))
    answer = connection.request("POST", key, accept, query={"uploadId": upload_id}, headers=condition, body=body)
    if answer.status == 200 and answer.code:  # S3 may tell of a failure after it has begun to answer
        raise StorageError(f"s3://{connection.bucket}/{key}: the upload was not completed ({answer.code}). Try again.")
    return answer


# down


class Download:
    """An object's bytes in order, from several ranged requests under way at a time.

    Iterating yields pieces of at most `part` bytes; `size` and `etag` are those of the object. All pieces are of one
    version of it: where it is replaced meanwhile, `StorageError` is raised.

    Args:
        connection: the bucket.
        key: the object's key.
        start: first byte wanted.
        end: first byte no longer wanted; None for the object's end.
        parallel: ranges in flight, which is also what is held in memory.
        part: bytes of a range.

    Raises:
        NotFoundError: there is no such object.
    """

    def __init__(
        self,
        connection: Connection,
        key: str,
        start: int = 0,
        end: int | None = None,
        *,
        parallel: int = PARALLEL,
        part: int = PART,
    ) -> None:
        self._connection = connection
        self._key = key
        self._parallel = parallel
        self._part = part
        stop = start + part if end is None else min(start + part, end)
        headers = {"Range": f"bytes={start}-{max(start, stop - 1)}"}
        answer = connection.request("GET", key, frozenset({200, 206, 404, 416}), headers=headers)
        if answer.status == 416:  # nothing from `start` on; the refusal does not tell which version of the object
            answer = connection.request("HEAD", key, frozenset({200, 404}))
        if answer.status == 404:
            raise NotFoundError(f"s3://{connection.bucket}/{key}: there is no such object.")
        self.headers = answer.headers
        self.etag = answer.etag
        if answer.status == 200:  # of HEAD, or of a server that knows no ranges and sends all of it
            self.size = int(answer.headers.get("content-length", len(answer.data)))
            self._first, self._next = answer.data[start:end], self.size
        else:
            self.size = _total(answer, start + len(answer.data))
            self._first, self._next = answer.data, start + len(answer.data)
        self._end = self.size if end is None else min(end, self.size)

    def __iter__(self) -> Iterator[bytes]:
        first, self._first = self._first, b""
        if self._next >= self._end:
            if first:
                yield first
            return
        with ThreadPoolExecutor(self._parallel, thread_name_prefix="nbkube-s3") as pool:
            waiting: deque[Future[bytes]] = deque()
            starts = iter(range(self._next, self._end, self._part))
            try:
                for start in starts:
                    waiting.append(pool.submit(self._range, start))
                    if len(waiting) >= self._parallel:
                        break
                if first:
                    yield first
                first = b""
                while waiting:
                    piece = waiting.popleft().result()
                    if (start := next(starts, -1)) >= 0:
                        waiting.append(pool.submit(self._range, start))
                    yield piece
            finally:
                for one in waiting:
                    one.cancel()

    def _range(self, start: int) -> bytes:
        stop = min(start + self._part, self._end)
        headers = {"Range": f"bytes={start}-{stop - 1}", "If-Match": f'"{self.etag}"'}
        answer = self._connection.request("GET", self._key, frozenset({206, 404, 412}), headers=headers)
        if answer.status != 206 or len(answer.data) != stop - start:
            raise StorageError(f"s3://{self._connection.bucket}/{self._key} was replaced while it was read. Try again.")
        return answer.data


def _total(answer: Answer, otherwise: int) -> int:
    total = answer.headers.get("content-range", "").rpartition("/")[2]
    return int(total) if total.isdigit() else otherwise


def read_all(pieces: Iterator[bytes]) -> bytes:
    """Return all pieces as one; a single piece is not copied."""
    found = list(pieces)
    return found[0] if len(found) == 1 else b"".join(found)


def copy_into(pieces: Iterator[Buffer], file: BinaryIO, progress: Progress = _silent) -> int:
    """Write all pieces to a file; return their size."""
    size = 0
    for piece in pieces:
        file.write(piece)
        size += len(piece)
        progress(len(piece))
    return size
