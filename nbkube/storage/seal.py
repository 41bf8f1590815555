"""Records that show whether a byte of them has changed: a JSON object whose last member is the digest of the rest.

A sealed record is still a JSON object, and readers that do not know of seals skip the member. Blobs need none: their
name is their digest.
"""

from __future__ import annotations

import hashlib
import zlib

_SEAL = b'"seal":"'
_CHECK = b'"check":"'


def seal(data: bytes) -> bytes:
    """Return a JSON object with the sha256 of its bytes as last member."""
    return _with(data, _SEAL, hashlib.sha256(data).hexdigest())


def unsealed(data: bytes) -> bytes | None:
    """Return the object that was sealed; None if it has changed since, or was never sealed."""
    inner = _without(data, _SEAL, 64)
    return inner if inner is not None and seal(inner) == data else None


def check_line(data: bytes) -> bytes:
    """Return a JSON object as a line with a checksum (CRC-32) as last member, for records that grow."""
    return _with(data, _CHECK, f"{zlib.crc32(data):08x}") + b"\n"


def checked(line: bytes) -> bytes | None:
    """Return the object of a line without its end; None if the line has changed, or was torn."""
    inner = _without(line, _CHECK, 8)
    return inner if inner is not None and check_line(inner) == line + b"\n" else None


def _with(data: bytes, name: bytes, value: str) -> bytes:
    comma = b"" if data == b"{}" else b","
    return data[:-1] + comma + name + value.encode() + b'"}'


def _without(data: bytes, name: bytes, size: int) -> bytes | None:
    at = len(data) - len(name) - size - 2
    if at < 1 or data[at : at + len(name)] != name:
        return None
    return data[: at - 1] + b"}" if data[at - 1 : at] == b"," else data[:at] + b"}"
