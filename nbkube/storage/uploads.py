"""Uploads made piece by piece by somebody else, such as a browser: begun, gone on with, completed or given up.

Nothing of an upload is kept here: the server that holds its parts is the only one that knows it. One that was broken
off is found again by its key, and each part by its MD5, which is what S3 names a part by.
"""

from __future__ import annotations

from xml.etree import ElementTree

import msgspec

from nbkube.errors import LocationError, NotFoundError
from nbkube.storage.bucket_files import Bucket
from nbkube.storage.model import Buffer
from nbkube.storage.s3 import transfer
from nbkube.storage.s3.connection import Bytes

MOST = 5 << 40
"""Bytes that an object may have on any S3 server: 5 TiB."""


class PartialUpload(msgspec.Struct, frozen=True):
    """An upload under way: its `id`, the bytes of each part but the last, and the MD5 of the parts that are there."""

    id: str
    part: int
    there: dict[int, str]


def begin(place: Bucket, size: int) -> PartialUpload:
    """Go on with the newest unfinished upload of a key, or begin one.

    Raises:
        LocationError: the size is none, or the key is no object's.
    """
    if not 0 <= size <= MOST:
        raise LocationError(f"{size} bytes are no size of an object (at most 5 TiB).")
    connection, key = place.connection, place.object_key
    found, there = transfer.unfinished(connection, key)
    if not found:
        answer = connection.request("POST", key, frozenset({200}), query={"uploads": ""})
        found = ElementTree.fromstring(answer.data).findtext("{*}UploadId") or ""
    return PartialUpload(found, transfer.part_size(size), there)


def send(place: Bucket, upload: str, number: int, data: Buffer) -> str:
    """Send one part (the first is 1) and return its MD5 as the server has it.

    Raises:
        NotFoundError: somebody has completed the upload or given it up.
    """
    query = {"partNumber": str(number), "uploadId": upload}
    answer = place.connection.request("PUT", place.object_key, frozenset({200, 404}), query=query, body=Bytes(data))
    if answer.status == 404:
        raise NotFoundError(f"{place}: this upload is no longer there. Begin it anew.")
    return answer.etag


def complete(place: Bucket, upload: str, parts: dict[int, str]) -> None:
    """Make the object out of all its parts; it appears as a whole, or not at all.

    Raises:
        LocationError: parts are missing, or others than the server has.
    """
    if sorted(parts) != list(range(1, len(parts) + 1)) or not parts:
        raise LocationError(f"{place}: the upload has gaps. Send the missing parts.")
    answer = transfer.complete(place.connection, place.object_key, upload, parts, {})
    if answer.status != 200:
        raise LocationError(f"{place}: the upload was not completed ({answer.code or answer.status}). Begin it anew.")


def give_up(place: Bucket, upload: str) -> None:
    """Remove the parts of an upload."""
    query = {"uploadId": upload}
    place.connection.request("DELETE", place.object_key, frozenset({200, 204, 404}), query=query)
