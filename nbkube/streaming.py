"""TFRecord files of a bucket as a `tf.data.Dataset`, within bounded memory however large a file is.

TensorFlow has no `s3://`. Ranges are fetched in parallel, cut where a record ends, and handed to TensorFlow's own
reader as short-lived local files, one at a time: it checks every record's CRC and does the work outside of Python.
"""

from __future__ import annotations

import os
import struct
import tempfile
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, BinaryIO

from nbkube.errors import StorageError

if TYPE_CHECKING:
    import tensorflow as tf

_RANGE = 4 << 20
_CHUNK = 16 << 20
_HEAD = struct.Struct("<Q4x")  # length and its CRC; the data and their CRC follow


def remote_records(locations: list[str], buffer: int | None) -> tf.data.Dataset:
    """Return the records of the files in their order; every iteration fetches them anew."""
    import tensorflow as tf

    def chunks() -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="nbkube-records-") as folder:
            path = os.path.join(folder, "records")
            for location in locations:
                yield from _chunks_of(location, path)

    paths = tf.data.Dataset.from_generator(chunks, output_signature=tf.TensorSpec([], tf.string))
    return paths.flat_map(lambda path: tf.data.TFRecordDataset(path, buffer_size=buffer))


def _chunks_of(location: str, path: str) -> Iterator[str]:
    """Write whole records of about 16 MiB to the file, again and again; it is read to its end between two of them."""
    framing = _Framing()
    file: BinaryIO | None = None
    try:
        for piece in _unpacked(location) if location.endswith(".gz") else _pieces(location):
            if file is None:
                file = _fresh(path)
            end = framing.feed(piece)
            if end < 0 or file.tell() + end < _CHUNK:
                file.write(piece)
                continue
            file.write(memoryview(piece)[:end])
            file.close()
            file = None
            yield path
            if end < len(piece):
                file = _fresh(path)
                file.write(memoryview(piece)[end:])
        if not framing.is_whole:
            raise StorageError(f"{location} ends within a record. Copy it into the bucket again.")
        if file is not None:
            file.close()
            yield path
    finally:
        if file is not None:
            file.close()


class _Framing:
    """Follows where records end in a stream of pieces, holding nothing of them but a part of a head."""

    def __init__(self) -> None:
        self._skip = 0
        self._head = b""

    @property
    def is_whole(self) -> bool:
        """Whether the stream so far ends where a record does."""
        return not self._skip and not self._head

    def feed(self, piece: bytes) -> int:
        """Take the next piece; return where its last record ends, -1 if none ends in it."""
        position, last, size = 0, -1, len(piece)
        while True:
            if self._skip > size - position:
                self._skip -= size - position
                return last
            if self._skip:
                position += self._skip
                self._skip, last = 0, position
            taken = min(_HEAD.size - len(self._head), size - position)
            self._head += piece[position : position + taken]
            position += taken
            if len(self._head) < _HEAD.size:
                return last
            self._skip = _HEAD.unpack(self._head)[0] + 4
            self._head = b""


def _fresh(path: str) -> BinaryIO:
    if os.path.exists(path):
        os.unlink(path)  # a reader that still has the old file open keeps it
    return open(path, "wb")


def _pieces(location: str) -> Iterator[bytes]:
    from nbkube.storage.bucket_files import bucket_at
    from nbkube.storage.s3.transfer import Download

    place = bucket_at(location.removeprefix("s3://"))
    return iter(Download(place.connection, place.key, part=_RANGE))


def _unpacked(location: str) -> Iterator[bytes]:
    """Unpack gzip, also of several members, at most a range at a time."""
    unpacker = zlib.decompressobj(wbits=31)
    for piece in _pieces(location):
        data = piece
        while data:
            try:
                yield unpacker.decompress(data, _RANGE)
            except zlib.error as error:
                raise StorageError(f"{location} is no gzip file: {error}.") from error
            data = unpacker.unconsumed_tail
            if unpacker.eof:
                data, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
