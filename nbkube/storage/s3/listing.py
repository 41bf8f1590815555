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


def iso_timestamp(text: str) -> float | None:
    """Return an ISO date in seconds since 1970; None where there is none."""
    return datetime.fromisoformat(text).timestamp() if text else None


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
        return iso_timestamp(self.modified)


def list_keys(connection: Connection, prefix: str, *, folders: bool = False) -> Iterator[Entry]:
    """Yield all keys that begin with a prefix, in the order of their UTF-8 bytes.

    With `folders`, keys with a further '/' behind the prefix are yielded once for each folder; entries of a page come
    keys first.
    """
    token = ""
    while True:
        entries, token = list_page(connection, prefix, token, folders=folders)
        yield from entries
        if not token:
            return


def list_page(
    connection: Connection, prefix: str, token: str = "", *, folders: bool = False, limit: int = PAGE
) -> tuple[list[Entry], str]:
    """Return one page of what `list_keys` yields, and the token of the next page ("" at the end)."""
    query = {"list-type": "2", "encoding-type": "url", "max-keys": str(min(limit, PAGE)), "prefix": prefix}
    if folders:
        query["delimiter"] = "/"
    if token:
        query["continuation-token"] = token
    answer = connection.request("GET", "", frozenset({200}), query=query)
    root = _parsed(connection, answer.data)
    space = root.tag[: root.tag.index("}") + 1] if "}" in root.tag else ""
    name = unquote_plus if root.findtext(f"{space}EncodingType") == "url" else str
    names = [f"{space}{word}" for word in ("Key", "Size", "ETag", "LastModified")]
    found: list[Entry] = []
    for one in root.iterfind(f"{space}Contents"):
        key, size, etag, modified = [one.findtext(word) or "" for word in names]
        found.append(Entry(name(key), int(size or 0), etag.strip('"'), modified, False))
    for one in root.iterfind(f"{space}CommonPrefixes"):
        found.append(Entry(name(one.findtext(f"{space}Prefix") or ""), 0, "", "", True))
    more = root.findtext(f"{space}IsTruncated") == "true"
    return found, (root.findtext(f"{space}NextContinuationToken") or "") if more else ""


class Version(NamedTuple):
    """A version of an object; `deleted`: the mark that a removal leaves. Without versioning there is one, "null"."""

    id: str
    size: int
    modified: str
    latest: bool
    deleted: bool


def list_versions(connection: Connection, key: str) -> list[Version]:
    """Return the versions that a bucket keeps of one object, the newest first (at most `PAGE` of them)."""
    query = {"versions": "", "encoding-type": "url", "max-keys": str(PAGE), "prefix": key}
    answer = connection.request("GET", "", frozenset({200}), query=query)
    root = _parsed(connection, answer.data, "ListVersionsResult")
    name = unquote_plus if root.findtext("{*}EncodingType") == "url" else str
    found = []
    for one in root:
        kind = one.tag.rpartition("}")[2]
        if kind in ("Version", "DeleteMarker") and name(one.findtext("{*}Key") or "") == key:
            found.append(
                Version(
                    one.findtext("{*}VersionId") or "null",
                    int(one.findtext("{*}Size") or 0),
                    one.findtext("{*}LastModified") or "",
                    one.findtext("{*}IsLatest") == "true",
                    kind == "DeleteMarker",
                )
            )
    return sorted(found, key=lambda one: (one.latest, one.modified), reverse=True)


def _parsed(connection: Connection, data: bytes, wanted: str = "ListBucketResult") -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError:
        root = ElementTree.Element("none")
    if not root.tag.endswith(wanted):
        raise StorageError(f"{connection.server.endpoint} does not answer as an S3 server does: no listing came.")
    return root
