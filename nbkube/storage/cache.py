"""A folder of this machine that holds blobs of far stores, for all processes of the user; the least used go first.

It is a `LocalStore`, so a blob is verified when it arrives and whenever its file has been touched. What is used is
noted by the time of an empty file beside it, since the times of the blob itself are part of its stamp.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from nbkube.errors import DamagedObjectError, LocationError, NotFoundError
from nbkube.storage.folder import LocalStore
from nbkube.storage.model import Buffer

_DEFAULT_BYTES = 20 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_FRESH_SECONDS = 600.0
_TIDY_SHARE = 20


def cache_folder() -> Path:
    """Return `NBKUBE_CACHE`, or `nbkube` in the user's cache folder."""
    if chosen := os.environ.get("NBKUBE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "nbkube"


def cache_limit() -> int:
    """Return `NBKUBE_CACHE_SIZE` in bytes (a number, or one with Ki, Mi, Gi, Ti); 20 GiB unless set."""
    text = os.environ.get("NBKUBE_CACHE_SIZE", "").strip()
    if not text:
        return _DEFAULT_BYTES
    number, unit = text.removesuffix("i"), ""
    if number[-1:] in _UNITS:
        number, unit = number[:-1], number[-1:]
    try:
        return int(float(number) * _UNITS[unit])
    except ValueError:
        raise LocationError(f"NBKUBE_CACHE_SIZE={text[:40]!r} is no size. Write a number of bytes, or 20Gi.") from None


class BlobCache:
    """Verified blobs in a local folder, up to a number of bytes (blobs used within ten minutes are never removed)."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self._store = LocalStore(folder / "blobs")
        self._used = folder / "used"
        self._limit = limit
        self._added = limit  # the first addition looks at what is there

    def find(self, digest: str) -> Path | None:
        """Return the file of a blob, or None where it is not here (any more)."""
        try:
            path = self._store.local_path(digest)
        except (NotFoundError, DamagedObjectError):  # a damaged copy has been set aside: it is fetched again
            return None
        self._note(digest)
        return path

    def add(self, chunks: Iterable[Buffer]) -> tuple[str, Path]:
        """Keep a blob; return its digest and file."""
        digest = self._store.put(chunks)
        self._note(digest)
        path = self._store.local_path(digest)
        self._added += path.stat().st_size
        if self._added * _TIDY_SHARE >= self._limit:
            self._added = 0
            self._tidy(digest)
        return digest, path

    def drop(self, digest: str) -> None:
        """Remove a blob that turned out to be another one than was asked for."""
        self._store.discard(digest)

    def _note(self, digest: str) -> None:
        mark = self._used / digest
        with contextlib.suppress(OSError):
            try:
                os.utime(mark)
            except FileNotFoundError:
                self._used.mkdir(mode=0o700, parents=True, exist_ok=True)
                mark.touch(mode=0o600)

    def _tidy(self, newest: str) -> None:
        """Remove the blobs that were used longest ago until the rest keeps within the limit."""
        found: list[tuple[float, int, str]] = []
        for digest in self._store.blobs():
            with contextlib.suppress(OSError, NotFoundError):
                size = self._store.size(digest)
                try:
                    used = (self._used / digest).stat().st_mtime
                except FileNotFoundError:
                    used = 0.0
                found.append((used, size, digest))
        left = sum(size for _, size, _ in found)
        fresh = time.time() - _FRESH_SECONDS
        for used, size, digest in sorted(found):
            if left <= self._limit or used > fresh:
                break
            if digest != newest:
                self._store.discard(digest)
                (self._used / digest).unlink(missing_ok=True)
                left -= size
