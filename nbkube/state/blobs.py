"""The bytes of one stored blob: a head, pickle streams, places of code, and one segment of big buffers.

    MAGIC, length of the head (8 bytes, little endian), head (msgpack), body, padding, buffers

The body holds the streams and the places. A stream is a pickle 5 that loads by itself; big buffers lie outside it at
64-byte offsets so that they can be mapped. *Places* (file names, line numbers and source of code) are kept out of the
stream, so that moving a cell does not make a new version of what it computed.
"""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from nbkube.decoding import from_msgpack
from nbkube.errors import StateError
from nbkube.storage.model import Buffer

MAGIC = b"nbkstat1"
ALIGNMENT = 64
OUT_OF_BAND = 1 << 16
"""Buffers of at least this many bytes are stored beside the pickle and mapped on load."""


class Target(msgspec.Struct, frozen=True, array_like=True):
    """An object of another blob: its stream there, its place in that stream's memo, and the stream's version."""

    blob: str
    stream: int
    memo: int
    version: str


class Span(msgspec.Struct, frozen=True, array_like=True):
    """Where bytes lie, counted from the start of the body or of the segment."""

    start: int
    size: int
    readonly: bool = False


class StreamHead(msgspec.Struct, frozen=True, omit_defaults=True):
    """One stream: the `keys` of its values in order, and what is needed to load it.

    `definitions` counts the leading keys that are pseudo-names of definitions. `version` is empty where the blob's
    digest says it all. `plain`: made of built-in containers only, so that pickling it after a load gives these bytes.
    `marked`: paths below the workspace root were replaced by a mark. `ordered`: sets are put in order at the end.
    """

    keys: tuple[str, ...]
    pickle: Span
    places: Span = Span(0, 0)
    buffers: tuple[Span, ...] = ()
    refs: tuple[Target, ...] = ()
    late: tuple[str, ...] = ()
    definitions: int = 0
    version: str = ""
    plain: bool = False
    marked: bool = False
    ordered: bool = False


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """The head of a blob."""

    streams: tuple[StreamHead, ...]
    segment: int = 0


class Stream:
    """A stream on its way into a blob."""

    def __init__(self, keys: Sequence[str], data: bytes) -> None:
        self.keys = tuple(keys)
        self.data = data
        self.places = b""
        self.buffers: list[memoryview] = []
        self.refs: tuple[Target, ...] = ()
        self.late: tuple[str, ...] = ()
        self.definitions = 0
        self.plain = False
        self.marked = False
        self.ordered = False

    @property
    def size(self) -> int:
        """Bytes it will take, about."""
        return len(self.data) + len(self.places) + sum(one.nbytes for one in self.buffers)

    def version(self) -> str:
        """Digest of all that counts: the values and what they share with other blobs, not the places of code."""
        digest = hashlib.sha256()
        digest.update(msgspec.json.encode([self.keys, [(one.version, one.memo) for one in self.refs]]))
        digest.update(self.data)
        for buffer in self.buffers:
            digest.update(buffer.nbytes.to_bytes(8, "little"))
            digest.update(buffer)
        return digest.hexdigest()

    @property
    def self_contained(self) -> bool:
        """True where the blob's own digest can serve as version (nothing in it is left out of the version)."""
        return not self.places and not self.refs


def _aligned(offset: int) -> int:
    return (offset + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT


def encode(streams: Sequence[Stream], versions: Sequence[str]) -> list[Buffer]:
    """Return the chunks of a blob that holds the streams; big buffers are passed through uncopied."""
    body: list[Buffer] = []
    heads: list[StreamHead] = []
    big: list[Buffer] = []
    position = offset = 0
    for stream, version in zip(streams, versions, strict=True):
        pickle = Span(position, len(stream.data))
        places = Span(pickle.start + pickle.size, len(stream.places))
        position = places.start + places.size
        body += [stream.data, stream.places]
        spans = []
        for buffer in stream.buffers:
            start = _aligned(offset)
            big += [bytes(start - offset), buffer]
            spans.append(Span(start, buffer.nbytes, buffer.readonly))
            offset = start + buffer.nbytes
        heads.append(
            StreamHead(
                keys=stream.keys,
                pickle=pickle,
                places=places,
                buffers=tuple(spans),
                refs=stream.refs,
                late=stream.late,
                definitions=stream.definitions,
                version=version,
                plain=stream.plain,
                marked=stream.marked,
                ordered=stream.ordered,
            )
        )
    head = msgspec.msgpack.encode(Head(tuple(heads), offset))
    start = len(MAGIC) + 8 + len(head) + position
    padding = bytes(_aligned(start) - start) if big else b""
    chunks: list[Buffer] = [MAGIC + len(head).to_bytes(8, "little") + head, *body, padding, *big]
    return [chunk for chunk in chunks if len(chunk)]


class OpenBlob:
    """A blob opened for loading: small parts are read, the buffers mapped copy-on-write."""

    def __init__(self, digest: str, path: Path) -> None:
        self.digest = digest
        with path.open("rb") as file:
            start = file.read(len(MAGIC) + 8)
            if start[: len(MAGIC)] != MAGIC:
                raise StateError(f"Object {digest[:12]} is no stored state of this version of nbkube.")
            size = int.from_bytes(start[len(MAGIC) :], "little")
            self.head = from_msgpack(file.read(size), Head)
            self._body = len(start) + size
            self.map: mmap.mmap | None = None
            body = sum(one.pickle.size + one.places.size for one in self.head.streams)
            if self.head.segment:
                self.map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            self._bytes = file.read(body)
            self._segment = _aligned(self._body + body)
        self.numbers = {key: number for number, one in enumerate(self.head.streams) for key in one.keys}
        self.path = path

    def data(self, index: int) -> bytes:
        """Return a stream's pickle."""
        span = self.head.streams[index].pickle
        return self._bytes[span.start : span.start + span.size]

    def places(self, index: int) -> bytes:
        """Return a stream's places of code."""
        span = self.head.streams[index].places
        return self._bytes[span.start : span.start + span.size]

    def version(self, index: int) -> str:
        """Return a stream's version."""
        return self.head.streams[index].version or self.digest

    def buffers(self, index: int) -> Iterator[memoryview]:
        """Yield a stream's big buffers, as writable or read-only as they were."""
        for span in self.head.streams[index].buffers:
            assert self.map is not None
            start = self._segment + span.start
            view = memoryview(self.map)[start : start + span.size]
            yield view.toreadonly() if span.readonly else view

    def offset(self, index: int, buffer: int) -> int:
        """Return where in the file a big buffer starts."""
        return self._segment + self.head.streams[index].buffers[buffer].start


def key_version(stream_version: str, key: str) -> str:
    """Return the version of one name of a stream."""
    return hashlib.sha256(f"{stream_version}\n{key}".encode()).hexdigest()[:40]
