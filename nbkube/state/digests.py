"""Digests of files, kept between runs by the files' identity so that unchanged data is hashed once.

An identity is (device, inode, size, mtime_ns, ctime_ns). A digest is kept only if the file had rested for a moment when
it was hashed: a later change within one tick of the file system's clock would leave the identity as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import time
import zlib
from pathlib import Path

Identity = tuple[int, int, int, int, int]

_BODY = struct.Struct("<32sQQQqq")
_CHECK = struct.Struct("<I4x")
_RECORD_SIZE = _BODY.size + _CHECK.size
_REST_NS = 50_000_000
_MOST_RECORDS = 400_000


def identity_of(status: os.stat_result) -> Identity:
    """Return the identity of a file's present state."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def has_rested(identity: Identity, read_at_ns: int) -> bool:
    """Tell whether a file read at this wall-clock time had rested, so that its identity stands for its content."""
    return identity[4] <= read_at_ns - _REST_NS


def open_unnoticed(path: str) -> int:
    """Open a file for reading without leaving a trace in its access time, where its owner asks."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        return os.open(path, flags | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return os.open(path, flags)


def hash_handle(handle: int) -> str:
    """Return the sha256 of what is left to read of a descriptor."""
    digest = hashlib.sha256()
    while piece := os.read(handle, 1 << 20):
        digest.update(piece)
    return digest.hexdigest()


class DigestCache:
    """Known digests, shared between runs by the file at `path` (None: this process only). Safe for threads.

    The file is a convenience: records damaged or lost cost a hash.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._known: dict[Identity, str] = {}
        self._lock = threading.Lock()
        self._loaded = path is None

    def get(self, identity: Identity) -> str | None:
        """Return the digest of a file with this identity, if known."""
        with self._lock:
            if not self._loaded:
                self._load()
            return self._known.get(identity)

    def add(self, identity: Identity, digest: str, hashed_at_ns: int) -> None:
        """Remember a digest; `hashed_at_ns` is the wall clock when hashing began."""
        if not has_rested(identity, hashed_at_ns):
            return
        with self._lock:
            self._known[identity] = digest
            if self._path is not None:
                with contextlib.suppress(OSError):
                    self._append(self._path, identity, digest)

    def _append(self, path: Path, identity: Identity, digest: str) -> None:
        body = _BODY.pack(bytes.fromhex(digest), *identity)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            torn = os.fstat(handle).st_size % _RECORD_SIZE
            os.write(handle, bytes(-torn % _RECORD_SIZE) + body + _CHECK.pack(zlib.crc32(body)))
        finally:
            os.close(handle)

    def _load(self) -> None:
        self._loaded = True
        assert self._path is not None
        try:
            data = self._path.read_bytes()
        except OSError:
            return
        count = len(data) // _RECORD_SIZE
        for at in range(0, count * _RECORD_SIZE, _RECORD_SIZE):
            body = data[at : at + _BODY.size]
            if _CHECK.unpack_from(data, at + _BODY.size)[0] == zlib.crc32(body):
                digest, *identity = _BODY.unpack(body)
                self._known[tuple(identity)] = digest.hex()
        if count > _MOST_RECORDS:  # mostly files long gone: start afresh
            with contextlib.suppress(OSError):
                self._path.unlink()

    def of_file(self, path: str) -> tuple[str, Identity] | None:
        """Return digest and identity of a regular file as it is now; None where there is none."""
        for _ in range(5):
            try:
                handle = open_unnoticed(path)
            except OSError:
                return None
            try:
                status = os.fstat(handle)
                if not _is_regular(status):
                    return None
                identity = identity_of(status)
                known = self.get(identity)
                if known is not None:
                    return known, identity
                began = time.time_ns()
                digest = hash_handle(handle)
                if identity_of(os.fstat(handle)) == identity:
                    self.add(identity, digest, began)
                    return digest, identity
            except OSError:
                return None
            finally:
                os.close(handle)
        return digest, identity  # a file that never rests: one of its states


def _is_regular(status: os.stat_result) -> bool:
    return status.st_mode & 0o170000 == 0o100000
