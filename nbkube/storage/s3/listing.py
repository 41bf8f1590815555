"""Listing keys, a page of a thousand at a time.

Not by minio's `list_objects`: that takes five times as long for 100,000 keys, and hides the status of a gateway that
answers without XML.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple
from urllib.parse import unquote_plus
from xml.etree import ElementTree

from nbkube.errors import StorageError
from nbkube.storage.s3.connection import Connection

PAGE = 1000


class Entry(NamedTuple):
    """A key; or, where folders are listed as one, a prefix that ends in '/' (`folder`)."""

    key: str
    size: int
    etag: str
    modified: str
    folder: bool

    @property
    def time(self) -> float | None:
        """When it was written, in seconds since 1970; None for folders."""
        return datetime.fromisoformat(self.modified).timestamp() if self.modified else None


def list_keys(connection: Connection, prefix: str, *, folders: bool = False) -> Iterator[Entry]:
    """Yield all keys that begin with a prefix, in the order of their UTF-8 bytes.

    With `folders`, keys with a further '/' behind the prefix are yielded once for each folder; entries of a page come
    keys first.
    """
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix}
    if folders:
        query["delimiter"] = "/"
    while True:
        answer = connection.request("GET", "", frozenset({200}), query=query)
        root = _parsed(connection, answer.data)
        space = root.tag[: root.tag.index("}") + 1] if "}" in root.tag else ""
        name = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
        names = [f"{space}{word}" for word in ("Key", "Size", "ETag", "LastModified")]
        for one in root.iterfind(f"{space}Contents"):
            key, size, etag, modified = [one.findtext(word) or "" for word in names]
            yield Entry(name(key), int(size or 0), etag.strip('"'), modified, False)
        for one in root.iterfind(f"{space}CommonPrefixes"):
            yield Entry(name(one.findtext(f"{space}Prefix") or ""), 0, "", "", True)
        token = root.findtext(f"{space}NextContinuationToken")
        if root.findtext(f"{space}IsTruncated") != "true" or not token:
            return
        query["continuation-token"] = token


def _parsed(connection: Connection, data: bytes) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        root = ElementTree.Element("none")
    if not root.tag.endswith("ListBucketResult"):
        raise StorageError(f"{connection.server.endpoint} does not answer as an S3 server does: no listing came.")
    return root
