"""TFRecord files and tf.train.Example without TensorFlow: only as much as showing the first records takes.

Formats: a record is its length (uint64), a checksum, the payload, a checksum; an Example is a protocol buffer with a
map from names to lists of bytes, floats or int64 (tensorflow/core/example/feature.proto). Bytes that are no such thing
give no features, never an error.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator

_SHOWN = 8
_MOST_FEATURES = 200
_KINDS = {1: "bytes", 2: "float", 3: "int64"}
Feature = tuple[str, str, int, str]
"""Name, type, number of values, the first values as text."""


def records(data: bytes) -> Iterator[bytes]:
    """Yield the payloads of the records that lie in the data as a whole."""
    offset = 0
    while offset + 12 <= len(data):
        (size,) = struct.unpack_from("<Q", data, offset)
        end = offset + 12 + size
        if end + 4 > len(data):
            return
        yield data[offset + 12 : end]
        offset = end + 4


def features(payload: bytes) -> list[Feature]:
    """Return the features of a serialised Example by name; none where the payload is something else."""
    try:
        found = [
            _feature(entry)
            for number, value in _fields(payload)
            if number == 1 and isinstance(value, bytes)
            for inner, entry in itertools.islice(_fields(value), _MOST_FEATURES)
            if inner == 1 and isinstance(entry, bytes)
        ]
    except (ValueError, struct.error, UnicodeDecodeError):
        return []
    return sorted(found)


def _feature(entry: bytes) -> Feature:
    parts = dict(_fields(entry))
    name, value = parts.get(1, b""), parts.get(2, b"")
    if not isinstance(name, bytes) or not isinstance(value, bytes):
        raise ValueError("no feature")
    for number, body in _fields(value):
        if number in _KINDS and isinstance(body, bytes):
            values = list(_values(number, body))
            shown = ", ".join(map(_shown, values[:_SHOWN])) + (", …" if len(values) > _SHOWN else "")
            return name.decode(), _KINDS[number], len(values), shown
    return name.decode(), "empty", 0, ""


def _values(kind: int, body: bytes) -> Iterator[bytes | float | int]:
    for number, value in _fields(body):
        if number != 1:
            continue
        if kind == 1:
            yield value if isinstance(value, bytes) else b""
        elif kind == 2 and isinstance(value, bytes):  # packed, or a single one of four bytes
            yield from (one for (one,) in struct.iter_unpack("<f", value[: len(value) // 4 * 4]))
        elif kind == 3 and isinstance(value, bytes):
            offset = 0
            while offset < len(value):
                one, offset = _varint(value, offset)
                yield one - (1 << 64) if one >> 63 else one
        elif isinstance(value, int):
            yield value - (1 << 64) if value >> 63 else value


def _shown(value: bytes | float | int) -> str:
    if not isinstance(value, bytes):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    head = value[:80]
    more = "…" if len(value) > len(head) else ""
    text = head.decode("utf-8", "replace")
    return f"{text!r}{more}" if "\ufffd" not in text.rstrip("\ufffd") and text.isprintable() else f"{len(value)} bytes"


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Yield the fields of a protocol buffer: number and value; fixed-size ones as their bytes."""
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, offset = _varint(data, offset)
            yield number, value
            continue
        if wire == 2:
            size, offset = _varint(data, offset)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
        else:
            raise ValueError("no protocol buffer")
        if number == 0 or offset + size > len(data):
            raise ValueError("no protocol buffer")
        yield number, data[offset : offset + size]
        offset += size


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if offset >= len(data):
            break
        byte = data[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, offset
    raise ValueError("no protocol buffer")
