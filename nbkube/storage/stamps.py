"""Remembers which blobs of a folder have been verified, so that a read need not hash again.

A stamp is (inode, size, mtime_ns, ctime_ns) of a blob whose bytes matched its digest and were durable at that
moment. Stamps live in one append-only file of fixed records, each with a checksum. The file is a convenience: where it
is lost or damaged, blobs are simply verified again.
"""

from __future__ import annotations

import contextlib
import os
import struct
import threading
import zlib
from pathlib import Path

Stamp = tuple[int, int, int, int]

_RECORD = struct.Struct("<32sQQqqI4x")
_BODY = struct.Struct("<32sQQqq")
_COMPACT = 4096  # stale records tolerated before the file is written anew


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the stamp of a file's present state."""
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


class Stamps:
    """The stamps of one store, shared between processes by the file at `path`; safe to use from many threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[bytes, Stamp] = {}
        self._sizes: set[int] = set()
        self._inode = 0
        self._offset = 0
        self._records = 0
        self._lock = threading.Lock()

    def matches(self, digest: str, stamp: Stamp) -> bool:
        """Tell whether a blob in this state has been verified before."""
        key = bytes.fromhex(digest)
        with self._lock:
            if self._known.get(key) != stamp:
                self._refresh()
            return self._known.get(key) == stamp

    def has_size(self, size: int) -> bool:
        """Tell whether some known blob has this size (a hint: worth hashing before writing)."""
        with self._lock:
            self._refresh()
            return size in self._sizes

    def add(self, digest: str, stamp: Stamp) -> None:
        """Remember a blob as verified and durable."""
        key = bytes.fromhex(digest)
        body = _BODY.pack(key, *stamp)
        record = _RECORD.pack(key, *stamp, zlib.crc32(body))
        with self._lock:
            self._known[key] = stamp
            self._sizes.add(stamp[1])
            with contextlib.suppress(OSError):
                self._append(record)

    def add_changed(self, digest: str, stamp: Stamp) -> None:
        """Remember a verified blob whose times this process has set; nothing is written where nothing has changed."""
        if not self.matches(digest, stamp):
            self.add(digest, stamp)

    def _append(self, record: bytes) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            torn = os.fstat(handle).st_size % _RECORD.size
            if torn:  # a write cut short by a crash: fill up, so that records stay aligned
                os.write(handle, bytes(_RECORD.size - torn))
            os.write(handle, record)
        finally:
            os.close(handle)

    def _refresh(self) -> None:
        """Take in what other processes have appended."""
        try:
            with open(self._path, "rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                if status.st_ino != self._inode or status.st_size < self._offset:
                    self._known.clear()
                    self._sizes.clear()
                    self._inode, self._offset, self._records = status.st_ino, 0, 0
                if status.st_size - self._offset < _RECORD.size:
                    return
                file.seek(self._offset)
                data = file.read(status.st_size - self._offset)
        except OSError:
            return
        whole = len(data) - len(data) % _RECORD.size
        self._offset += whole
        self._take(data[:whole])
        if self._records - len(self._known) > max(_COMPACT, len(self._known)):
            self._rewrite()

    def _take(self, data: bytes) -> None:
        for key, inode, size, mtime, ctime, check in _RECORD.iter_unpack(data):
            self._records += 1
            if zlib.crc32(_BODY.pack(key, inode, size, mtime, ctime)) == check:
                self._known[key] = (inode, size, mtime, ctime)
                self._sizes.add(size)

    def _rewrite(self) -> None:
        """Write the file anew without stale records. A stamp added by another process meanwhile may be lost."""
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}.{threading.get_ident()}")
        data = bytearray()
        for key, stamp in self._known.items():
            body = _BODY.pack(key, *stamp)
            data += _RECORD.pack(key, *stamp, zlib.crc32(body))
        with contextlib.suppress(OSError):
            temporary.write_bytes(data)
            status = temporary.stat()
            temporary.rename(self._path)
            self._inode, self._offset, self._records = status.st_ino, len(data), len(self._known)
