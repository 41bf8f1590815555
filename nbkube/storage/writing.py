"""Writing in the folder of a store: temporary files, names given without replacing, the lock of all changes."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from nbkube.storage import disk

_LEFT_OVER_SECONDS = 3600.0
_FOREIGN_SECONDS = 7 * 86400.0
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder holds results that nbkube can compute again; backup programs may leave it out.\n"
)


class WritableFolder:
    """The folder of a store; it is made at the first write. Safe for threads and processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temporary = path / "tmp"
        self._ready = False
        self._ready_lock = threading.Lock()

    @contextlib.contextmanager
    def changing(self, need: int) -> Iterator[None]:
        """Hold the lock of all changes to existing records."""
        with disk.explained(self._path, need):
            self.prepare()
            with disk.locked(self._path / "lock"):
                yield

    def replace(self, final: Path, data: bytes) -> None:
        """Write or replace a file as a whole, durably."""
        with self.temporary_file() as (handle, temporary):
            fill(handle, data)
            while True:
                disk.make_folder(final.parent)
                with contextlib.suppress(FileNotFoundError):  # the folder went away with its last record
                    os.rename(temporary, final)
                    break
            disk.sync_folder(final.parent)

    def unlink(self, final: Path) -> None:
        """Remove a file, and the folders above that are empty then, durably."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(final)
        folder = final.parent
        with contextlib.suppress(OSError):  # a folder that still holds records stays
            while folder != self._path:
                os.rmdir(folder)
                folder = folder.parent
        disk.sync_folder(folder if folder.is_dir() else self._path)

    def give_name(self, temporary: Path, final: Path) -> bool:
        """Give a finished temporary file its name, durably; False where the name is taken."""
        while True:
            disk.make_folder(final.parent)
            with contextlib.suppress(FileNotFoundError):  # the folder went away with its last record
                return disk.give_name(temporary, final)

    @contextlib.contextmanager
    def temporary_file(self) -> Iterator[tuple[int, Path]]:
        """Make a file that is gone at the end unless it got a name; its descriptor and path."""
        path = self._temporary / f"{os.getpid()}-{os.urandom(12).hex()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            handle = os.open(path, flags, 0o600)
        except FileNotFoundError:  # somebody removed the store while this process was using it
            disk.make_folder(self._temporary)
            handle = os.open(path, flags, 0o600)
        try:
            yield handle, path
        finally:
            with contextlib.suppress(OSError):
                os.close(handle)
            with contextlib.suppress(OSError):
                os.unlink(path)

    def prepare(self) -> None:
        """Make the folder's fixed parts and remove what dead writers left, once per object."""
        if self._ready:
            return
        with self._ready_lock:
            disk.make_folder(self._temporary)
            for name, text in (("CACHEDIR.TAG", _TAG), (".gitignore", "*\n")):
                path = self._path / name
                if not path.exists():
                    with self.temporary_file() as (handle, temporary):
                        fill(handle, text.encode())
                        disk.give_name(temporary, path)
            self._remove_left_overs()
            self._ready = True

    def _remove_left_overs(self) -> None:
        now = time.time()
        for entry in os.scandir(self._temporary):
            owner = entry.name.partition("-")[0]
            with contextlib.suppress(OSError):
                age = now - entry.stat(follow_symlinks=False).st_mtime
                alive = owner.isdigit() and os.path.exists(f"/proc/{owner}")
                if age > (_FOREIGN_SECONDS if alive else _LEFT_OVER_SECONDS) and entry.is_file(follow_symlinks=False):
                    os.unlink(entry.path)


def fill(handle: int, data: bytes) -> None:
    """Write a file's content durably."""
    disk.write_all(handle, data)
    os.fsync(handle)
