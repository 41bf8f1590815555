"""Telling whether loaded objects were changed in place: a pickle after the load against one at the end.

Both are made in one process, since some objects pickle differently after a round trip although they are equal. Mapped
buffers are not read: the pages written to are known.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.state.dump import Dumped, dump
from nbkube.state.memory import address_of, same_as_file

if TYPE_CHECKING:
    from nbkube.state.definitions import Definitions
    from nbkube.state.load import LoadedStream

LIMIT = 256 << 20
"""Streams with more in-band bytes than this are not pickled again; they count as changed once they were loaded."""


class Baseline(msgspec.Struct, frozen=True):
    """A stream as it was right after its load: digest of the pickle, and address, size, digest of its big buffers.

    `pins` are objects known by their addresses.
    """

    digest: bytes
    buffers: tuple[tuple[int, int, bytes], ...]
    pins: tuple[Any, ...] = ()


def _digest(data: bytes | memoryview) -> bytes:
    return hashlib.blake2b(data, digest_size=20).digest()


def _redump(stream: LoadedStream, definitions: Definitions, namespace: dict[str, Any]) -> Dumped:
    return dump(stream.values, definitions, namespace, refs=stream.refs, exact=True)


def _mapped(stream: LoadedStream) -> dict[int, int]:
    """Return address -> number for the big buffers of a stream."""
    return {address_of(view): number for number, view in enumerate(stream.buffers)}


def _baseline(stream: LoadedStream, dumped: Dumped) -> Baseline:
    mapped = _mapped(stream)
    buffers = []
    for view in dumped.stream.buffers:
        address = address_of(view)
        buffers.append((address, view.nbytes, b"" if address in mapped else _digest(view)))
    return Baseline(_digest(dumped.stream.data), tuple(buffers), tuple(dumped.dumper.pins))


def take_baseline(stream: LoadedStream, definitions: Definitions, namespace: dict[str, Any]) -> Baseline | None:
    """Return the state of freshly loaded objects; None where the stored bytes themselves can serve."""
    if stream.head.plain or stream.head.pickle.size > LIMIT:
        return None
    try:
        return _baseline(stream, _redump(stream, definitions, namespace))
    except Exception:  # noqa: BLE001 - user code may raise anything; such objects count as changed
        return Baseline(b"", ())


def is_changed(stream: LoadedStream, definitions: Definitions, namespace: dict[str, Any]) -> bool:
    """Tell whether objects of a loaded stream were changed in place since they were loaded."""
    if stream.head.pickle.size > LIMIT:
        return True
    try:
        dumped = _redump(stream, definitions, namespace)
    except Exception:  # noqa: BLE001 - whatever user code raises, the object can no longer be stored as it was
        return True
    mapped = _mapped(stream)
    before = stream.baseline
    if before is None:
        if dumped.stream.data != stream.blob.data(stream.address[1]):
            return True
        expected = [(address_of(view), view.nbytes, b"") for view in stream.buffers]
    else:
        if _digest(dumped.stream.data) != before.digest:
            return True
        expected = list(before.buffers)
    now = dumped.stream.buffers
    if [(address_of(view), view.nbytes) for view in now] != [one[:2] for one in expected]:
        return True
    for view, (address, _, digest) in zip(now, expected, strict=True):
        number = mapped.get(address)
        if number is None:
            if _digest(view) != digest:
                return True
        elif not same_as_file(view, stream.blob.path, stream.blob.offset(stream.address[1], number)):
            return True
    return False
