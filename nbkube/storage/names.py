"""Which names a store accepts. The rules are those that a folder and a bucket can both keep."""

from __future__ import annotations

import re

from nbkube.errors import LocationError

RESERVED = frozenset({"objects", "tmp", "quarantine", "stamps", "lock", "digests", "work", "uses"})
"""First segments that belong to the store itself."""

_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_FIRST = re.compile(r"[a-z][a-z0-9_-]{0,63}\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")
_NOWHERE = frozenset({"", ".", ".."})
_MAX_SEGMENT = 255
_MAX_NAME = 900  # a bucket's limit is 1,024 bytes and a prefix comes before


def _fault(name: str) -> str:
    try:
        raw = name.encode()
    except UnicodeEncodeError:
        return "it holds characters that have no UTF-8 form"
    if len(raw) > _MAX_NAME:
        return f"it is longer than {_MAX_NAME} bytes"
    if _CONTROL.search(name):
        return "it holds a control character or a backslash"
    segments = name.split("/")
    if not _NOWHERE.isdisjoint(segments):
        return "a segment is empty, '.' or '..'"
    if len(raw) > _MAX_SEGMENT and any(len(segment.encode()) > _MAX_SEGMENT for segment in segments):
        return f"a segment is longer than {_MAX_SEGMENT} bytes"
    if not _FIRST.match(segments[0]):
        return "its first segment must be a short lower-case word"
    if segments[0] in RESERVED:
        return f"'{segments[0]}' belongs to the store"
    return ""


def is_name(name: str) -> bool:
    """Tell whether a text may name a record."""
    return not _fault(name)


def check_name(name: str) -> str:
    """Return a record's name, or raise `LocationError` with the rule it breaks."""
    fault = _fault(name)
    if fault:
        raise LocationError(f"{name[:80]!r} cannot name a record: {fault}.")
    return name


def check_prefix(prefix: str) -> str:
    """Return a listing prefix (a name followed by '/'), or raise `LocationError`."""
    if not prefix.endswith("/"):
        raise LocationError(f"{prefix[:80]!r} is no folder of records: it must end in '/'.")
    check_name(prefix[:-1])
    return prefix


def check_digest(digest: str) -> str:
    """Return a digest, or raise `LocationError` where the text is none."""
    if not _DIGEST.match(digest):
        raise LocationError(f"{digest[:80]!r} is no digest: 64 lower-case hex digits are expected.")
    return digest
