"""Copies of files: a reflink where the file system can share blocks, else a copy made by the kernel."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable
from typing import TypeVar

from nbkube.state.digests import identity_of, open_unnoticed
from nbkube.storage.disk import write_all

_FICLONE = 0x40049409
_SMALL = 256 << 10
_CLONE_WORTH = 4096
_PATIENCE = 8
_THREADS = 4
_WORTH_THREADS = 16
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
_no_clone: set[tuple[int, int]] = set()


class FileChangingError(OSError):
    """The source was written to while it was being copied."""


def read_at_rest(source: str) -> tuple[os.stat_result, bytes, bool]:
    """Return a regular file's state and content, and whether they belong together for sure.

    A file that never rests, such as a log, is taken as any reader would find it.
    """
    handle = _open_regular(source)
    try:
        for patience in range(_PATIENCE):
            before = os.fstat(handle)
            data = b""
            while piece := os.pread(handle, before.st_size + 1 - len(data), len(data)):
                data += piece
            rested = len(data) == before.st_size and identity_of(os.fstat(handle)) == identity_of(before)
            if rested:
                break
            time.sleep(0.001 * patience)
        return before, data, rested
    finally:
        os.close(handle)


def write_file(target: str, data: bytes, mode: int, mtime: int) -> os.stat_result:
    """Make a file with an access time of 0; return its state."""
    writing = _create(target)
    try:
        write_all(writing, data)
        return _finish(writing, mode, (0, mtime))
    finally:
        os.close(writing)


def copy_file(
    source: str, target: str, mode: int, mtime: int | None, *, atime: int | None = 0
) -> tuple[os.stat_result, os.stat_result]:
    """Copy a regular file; return the states of source and copy.

    Args:
        source: the file; links are not followed.
        target: a path that does not exist.
        mode: permission bits of the copy.
        mtime: modification time of the copy in ns; None stands for the source's.
        atime: access time of the copy in ns; None leaves both times as they come.
    """
    reading = _open_regular(source)
    try:
        before = os.fstat(reading)
        writing = _create(target)
        try:
            if before.st_size:
                _copy_content(reading, writing, before)
            times = None if atime is None else (atime, before.st_mtime_ns if mtime is None else mtime)
            after = _finish(writing, mode, times)
        finally:
            os.close(writing)
        if identity_of(os.fstat(reading)) != identity_of(before):
            os.unlink(target)
            raise FileChangingError(errno.EBUSY, "it is being written to", source)
        return before, after
    finally:
        os.close(reading)


def _open_regular(source: str) -> int:
    handle = open_unnoticed(source)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError(errno.EINVAL, "not a regular file", source)
    return handle


def _create(target: str) -> int:
    return os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _finish(handle: int, mode: int, times: tuple[int, int] | None) -> os.stat_result:
    if mode != 0o600:
        os.fchmod(handle, mode)
    if times is not None:
        os.utime(handle, ns=times)
    return os.fstat(handle)


def _copy_content(reading: int, writing: int, status: os.stat_result) -> None:
    if status.st_size >= _CLONE_WORTH and _clone(reading, writing, status):
        return
    if status.st_size > _SMALL and hasattr(os, "copy_file_range"):
        try:
            while os.copy_file_range(reading, writing, 1 << 30):
                pass
            return
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
                raise
    while data := os.read(reading, _SMALL):
        write_all(writing, data)
        if len(data) == status.st_size:
            return


def _clone(reading: int, writing: int, status: os.stat_result) -> bool:
    pair = (status.st_dev, os.fstat(writing).st_dev)
    if pair in _no_clone:
        return False
    try:
        fcntl.ioctl(writing, _FICLONE, reading)
    except OSError:
        _no_clone.add(pair)  # the answer is the same for every file of these two disks
        return False
    return True


def in_threads(work: Callable[[_Item], _Result], items: list[_Item]) -> list[_Result]:
    """Return the results of work that mostly waits for the disk, in any order; the first error is raised."""
    if len(items) < _WORTH_THREADS:
        return [work(item) for item in items]
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as pool:
        parts = [items[start::_THREADS] for start in range(_THREADS)]
        done = list(pool.map(lambda part: [work(item) for item in part], parts))
    return [result for part in done for result in part]
