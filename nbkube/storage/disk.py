"""Durable writes on a local disk: the order of system calls that survives a crash, and errors in words.

Data is written to a temporary file and synced before it gets its name; the name is given without replacing anything
and the folder is synced after it. A crash at any point leaves a temporary file, never a half record.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue

from nbkube.errors import StorageError
from nbkube.storage.model import Buffer

PIECE = 4 << 20
"""Bytes hashed and written at a time."""

_LOCK_SECONDS = 60.0


def readable_size(count: float) -> str:
    """Return a byte count as people write it: `3.1 GiB`."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def explain(error: OSError, folder: Path, need: int | None = None) -> StorageError:
    """Return the error that tells a person what the operating system refused and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        wanted = "" if need is None else f" need {readable_size(need)},"
        reason = "quota used up" if error.errno == errno.EDQUOT else "disk full"
        message = f"{reason}:{wanted} have {_free(folder)} in {folder}. Free some space, then run the command again."
    elif error.errno in (errno.EACCES, errno.EPERM):
        message = f"no permission to use {error.filename or folder}. Make {folder} yours, or choose another store."
    elif error.errno == errno.EROFS:
        message = f"{folder} is on a read-only disk. Choose a store that can be written."
    elif error.errno == errno.EIO:
        message = f"the disk reports an error for {error.filename or folder}; nothing was stored. Check the disk."
    elif error.errno in (errno.ENOTDIR, errno.EISDIR):
        message = f"{error.filename or folder}: a record's name cannot also be the folder of other records."
    else:
        message = f"{error.filename or folder}: {error.strerror or error}."
    return StorageError(message)


def _free(folder: Path) -> str:
    for place in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            status = os.statvfs(place)
            return readable_size(status.f_bavail * status.f_frsize)
    return "no space"


@contextlib.contextmanager
def explained(folder: Path, need: int | None = None) -> Iterator[None]:
    """Turn every `OSError` of the block into a `StorageError` in words."""
    try:
        yield
    except OSError as error:
        raise explain(error, folder, need) from error


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, private to the user, durably; nothing happens where it exists."""
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(folder)) from None
        return
    except FileNotFoundError:
        make_folder(folder.parent)
        make_folder(folder)
        return
    sync_folder(folder.parent)


def write_all(handle: int, data: Buffer) -> None:
    """Write all bytes of a buffer to a descriptor."""
    view = memoryview(data).cast("B")
    while view:
        view = view[os.write(handle, view) :]


def give_name(temporary: Path, final: Path) -> bool:
    """Give a finished temporary file its name if the name is free, durably; False where it is taken."""
    try:
        os.link(temporary, final)
    except FileExistsError:
        return False
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        return _give_name_locked(temporary, final)
    with contextlib.suppress(OSError):
        os.unlink(temporary)
    sync_folder(final.parent)
    return True


def _give_name_locked(temporary: Path, final: Path) -> bool:
    """Do the same on a disk without hard links: writers of one folder take turns."""
    with locked(temporary.parent / ".names"):
        if final.exists():
            return False
        os.rename(temporary, final)
    sync_folder(final.parent)
    return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock; it is released by the system when the process dies."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(handle, path)
        yield
    finally:
        os.close(handle)


def _acquire(handle: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    pause = 0.0005
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise StorageError(
                    f"{path} has been locked by another process for {_LOCK_SECONDS:.0f} s. "
                    "End that process if it hangs, then run the command again."
                ) from None
            time.sleep(pause)
            pause = min(pause * 2, 0.02)


class ParallelHash:
    """sha256 of a stream, computed in a thread beside the writing where pieces are large.

    Use as a context manager; `update` returns at once, `settle` before the piece's memory is used again.
    """

    _WORTH = 1 << 20  # below this a thread costs more than it saves
    _BEHIND = 4  # pieces: what bounds the memory held

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._todo: SimpleQueue[Buffer | None] = SimpleQueue()
        self._done: SimpleQueue[None] = SimpleQueue()
        self._open = 0
        self._thread: threading.Thread | None = None

    def __enter__(self) -> ParallelHash:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._thread is not None:
            self._todo.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (piece := self._todo.get()) is not None:
            self._hash.update(piece)
            self._done.put(None)

    def update(self, piece: memoryview) -> None:
        """Add a piece of the stream."""
        if piece.nbytes < self._WORTH:
            self.settle()
            self._hash.update(piece)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="nbkube-hash", daemon=True)
            self._thread.start()
        while self._open >= self._BEHIND:
            self._settle_one()
        self._open += 1
        self._todo.put(piece)

    def settle(self) -> None:
        """Wait until all pieces given so far are hashed."""
        while self._open:
            self._settle_one()

    def _settle_one(self) -> None:
        self._done.get()
        self._open -= 1

    def hexdigest(self) -> str:
        """Return the digest of everything given so far."""
        self.settle()
        return self._hash.hexdigest()


def write_hashed(handle: int, chunks: Iterable[Buffer]) -> tuple[str, int]:
    """Write chunks to a descriptor, hashing beside; return digest and size."""
    size = 0
    with ParallelHash() as hashing:
        for chunk in chunks:
            whole = memoryview(chunk).cast("B")
            for start in range(0, whole.nbytes, PIECE):
                piece = whole[start : start + PIECE]
                hashing.update(piece)
                write_all(handle, piece)
            if not isinstance(chunk, bytes):
                hashing.settle()  # the caller may reuse the chunk's memory for the next one
            size += whole.nbytes
        return hashing.hexdigest(), size


def read_pieces(handle: int, size: int = PIECE) -> Iterator[memoryview]:
    """Yield a descriptor's content piece by piece; each piece is valid until the next is asked for."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while count := os.readv(handle, [buffer]):
        yield view[:count]


def hash_open_file(handle: int) -> str:
    """Return the sha256 of what is left to read of a descriptor."""
    digest = hashlib.sha256()
    for piece in read_pieces(handle, 1 << 20):
        digest.update(piece)
    return digest.hexdigest()
