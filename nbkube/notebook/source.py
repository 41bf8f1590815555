"""The bytes of a notebook file, read once and without ever waiting for another process."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator

import msgspec

from nbkube.errors import Diagnostic, NotebookError, Place

MAX_BYTES = 64 * 1024 * 1024
_ATTEMPTS = 5

_KINDS = (
    (stat.S_ISDIR, "is a folder", "name a notebook file in it, e.g. {path}/notebook.ipynb"),
    (stat.S_ISFIFO, "is a pipe (FIFO)", "save the notebook to a file first"),
    (stat.S_ISSOCK, "is a socket", "name a notebook file"),
    (stat.S_ISCHR, "is a device", "name a notebook file"),
    (stat.S_ISBLK, "is a device", "name a notebook file"),
)
_REASONS = {
    errno.ENOENT: ("no-file", "there is no such file", "check the path"),
    errno.ENOTDIR: ("no-file", "a part of the path is a file, not a folder", "check the path"),
    errno.ELOOP: ("link-loop", "is a symbolic link that leads back to itself", "remove the link or name the real file"),
    errno.EACCES: ("no-permission", "you may not read it", "run `chmod u+r` on the file, or ask its owner"),
    errno.EPERM: ("no-permission", "you may not read it", "run `chmod u+r` on the file, or ask its owner"),
    errno.ENAMETOOLONG: ("no-file", "the path is too long", "check the path"),
}


class FileBytes(msgspec.Struct, frozen=True):
    """The content of a file with its sha256."""

    data: bytes
    digest: str


def refuse(path: str, code: str, message: str, hint: str, line: int | None = None) -> NotebookError:
    """Return the error for a file that is no readable notebook."""
    return NotebookError(diagnostics=[Diagnostic("error", code, Place(path, line=line), message, hint)])


def read_bytes(path: str) -> FileBytes:
    """Return a regular file's bytes and digest; one consistent state, also while another program saves it.

    Raises:
        NotebookError: not there, not a regular file, not readable, or larger than 64 MiB.
    """
    for _ in range(_ATTEMPTS):
        with _opened(path) as descriptor:
            before = os.fstat(descriptor)
            data = _all_bytes(path, descriptor)
            after = os.fstat(descriptor)
        if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
            return FileBytes(data, hashlib.sha256(data).hexdigest())
    raise refuse(path, "changing-file", "changed while it was read", "wait until it is saved, then try again")


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    try:
        # Asked before opening: opening a FIFO or a device can already have effects on others.
        _require_regular(path, os.stat(path).st_mode)
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        reason = (f"cannot be read: {error.strerror}", "check the path and the disk")
        code, message, hint = _REASONS.get(error.errno or 0, ("unreadable", *reason))
        raise refuse(path, code, message, hint) from None
    except ValueError:  # a NUL or a lone surrogate in the path
        raise refuse(repr(path), "no-file", "is no possible file name", "check the path") from None
    try:
        _require_regular(path, os.fstat(descriptor).st_mode)
        yield descriptor
    finally:
        os.close(descriptor)


def _require_regular(path: str, mode: int) -> None:
    for is_kind, message, hint in _KINDS:
        if is_kind(mode):
            raise refuse(path, "not-a-file", message, hint.format(path=path.rstrip("/")))


def _all_bytes(path: str, descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > MAX_BYTES:
        raise _too_large(path, size)
    try:
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise refuse(path, "unreadable", f"cannot be read: {error.strerror}", "check the disk") from None
    if len(data) > MAX_BYTES:
        raise _too_large(path, len(data))
    return data


def _too_large(path: str, size: int) -> NotebookError:
    message = f"holds {size / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20} MiB"
    return refuse(path, "too-large", message, "clear the outputs (`jupyter nbconvert --clear-output --inplace FILE`)")
