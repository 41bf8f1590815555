"""The store in a folder of this machine: the embedded default.

objects/sha256/ab/<digest>   blobs, mode 0444, written once
<name>                       records (`steps/...`, `runs/...`, `refs/...`)
tmp/                         files being written; left-overs of dead processes go after an hour
quarantine/                  blobs whose bytes no longer match their digest
stamps                       which blobs have been verified (may be deleted at any time)
lock                         taken by whoever changes an existing record
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from nbkube.errors import DamagedObjectError, NotFoundError
from nbkube.storage import disk
from nbkube.storage.model import Buffer
from nbkube.storage.names import check_digest, check_name, check_prefix, is_name
from nbkube.storage.stamps import Stamps, stamp_of
from nbkube.storage.writing import WritableFolder, fill

_SMALL_FILE = 1 << 20
_RENEW_SECONDS = 3600.0
"""What has been used so lately is not marked as used again."""


class LocalStore:
    """An `ObjectStore` in a folder. The folder is made at the first write, so that looking leaves no trace."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(os.path.abspath(path))
        self.url = self.path.as_uri()
        self._objects = self.path / "objects" / "sha256"
        self._stamps = Stamps(self.path / "stamps")
        self._place = WritableFolder(self.path)

    def __repr__(self) -> str:
        return f"LocalStore({str(self.path)!r})"

    # blobs

    def put(self, data: Iterable[Buffer] | Buffer) -> str:
        """Store bytes durably; return their digest. Known content costs no write."""
        if isinstance(data, bytes | bytearray | memoryview):
            view = memoryview(data).cast("B")
            if view.nbytes > _SMALL_FILE and not self._stamps.has_size(view.nbytes):
                return self._put_stream((view,), view.nbytes)
            digest = hashlib.sha256(view).hexdigest()
            return digest if self._has_whole(digest) else self._put_stream((view,), view.nbytes)
        return self._put_stream(data, None)

    def put_file(self, path: Path) -> str:
        """Store a file's content durably without holding it in memory; return its digest."""
        with self._open_source(path) as handle:
            size = os.fstat(handle).st_size
            if size <= _SMALL_FILE or self._stamps.has_size(size):
                digest = disk.hash_open_file(handle)
                if self._has_whole(digest):
                    return digest
                os.lseek(handle, 0, os.SEEK_SET)
            return self._put_stream(disk.read_pieces(handle), size)

    @contextlib.contextmanager
    def _open_source(self, path: Path) -> Iterator[int]:
        with disk.explained(self.path):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFoundError(f"{path}: there is no such file.") from None
        try:
            yield handle
        finally:
            os.close(handle)

    def _put_stream(self, chunks: Iterable[Buffer], need: int | None) -> str:
        with disk.explained(self.path, need):
            self._place.prepare()
            with self._place.temporary_file() as (handle, temporary):
                digest, _ = disk.write_hashed(handle, chunks)
                if self._has_whole(digest):
                    return digest
                os.fchmod(handle, 0o444)
                os.fsync(handle)
                final = self._blob(digest)
                while not self._place.give_name(temporary, final):
                    if self._has_whole(digest):  # another writer of the same bytes was faster
                        return digest
                self._stamps.add(digest, stamp_of(os.fstat(handle)))
                return digest

    def has(self, digest: str) -> bool:
        """Tell whether a blob is there."""
        with disk.explained(self.path):
            return self._blob(check_digest(digest)).is_file()

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes, verified."""
        with self._open_blob(digest) as handle, disk.explained(self.path):
            status = os.fstat(handle)
            with open(handle, "rb", buffering=0, closefd=False) as file:
                data = file.read()
            if not self._stamps.matches(digest, stamp_of(status)):
                if hashlib.sha256(data).hexdigest() != digest:
                    self._set_aside(digest)
                self._settle(digest, handle, status)
            return data

    def local_path(self, digest: str) -> Path:
        """Return a verified read-only file with the blob's bytes; for mapping."""
        with self._open_blob(digest) as handle:
            if not self._verify(digest, handle):
                self._set_aside(digest)
        return self._blob(digest)

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes."""
        with self._open_blob(digest) as handle:
            return os.fstat(handle).st_size

    def blobs(self) -> Iterator[str]:
        """Yield the digests of all blobs, sorted."""
        for folder in _sorted_entries(self._objects):
            for name in _sorted_entries(self._objects / folder):
                if len(name) == 64 and name.startswith(folder):
                    yield name

    def discard(self, digest: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a blob not used for so many seconds; return the bytes freed (None: kept, or not there)."""
        return self._discard(self._blob(check_digest(digest)), unused, dry_run=dry_run)

    def discard_record(self, name: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a record not used for so many seconds; return the bytes freed (None: kept, or not there)."""
        return self._discard(self._record(name), unused, dry_run=dry_run)

    def discard_damaged(self, unused: float = 0.0, *, dry_run: bool = False) -> int:
        """Remove blobs set aside more than so many seconds ago; return the bytes freed."""
        place = self.path / "quarantine"
        return sum(self._discard(place / name, unused, dry_run=dry_run) or 0 for name in _sorted_entries(place))

    def _discard(self, path: Path, unused: float, *, dry_run: bool) -> int | None:
        """Judge and remove under the lock that a renewal takes, so that nothing just renewed is lost."""
        if not os.path.lexists(path):
            return None
        with self._place.changing(0):
            try:
                status = os.lstat(path)
                if time.time() - status.st_mtime < unused:
                    return None
                if not dry_run:
                    os.unlink(path)  # not synced: what a crash brings back goes the next time
                    with contextlib.suppress(OSError):
                        os.rmdir(path.parent)
            except FileNotFoundError:
                return None
            return status.st_size

    def renew(self, name: str) -> bool:
        """Count a record as used now; False if it is not there."""
        return self._renew(self._record(name)) is not None

    def _renew(self, path: Path) -> os.stat_result | None:
        """Set the time of a file that was not used for a while; return its state then, None if it is not there."""
        with disk.explained(self.path):
            try:
                status = os.stat(path)
                if time.time() - status.st_mtime < _RENEW_SECONDS:
                    return status
                with self._place.changing(0):
                    os.utime(path)
                    return os.stat(path)
            except FileNotFoundError:
                return None

    def _has_whole(self, digest: str) -> bool:
        """Tell whether a blob is there and undamaged; it then counts as used now."""
        if not self._is_whole(digest):
            return False
        status = self._renew(self._blob(digest))
        if status is not None:
            self._stamps.add_changed(digest, stamp_of(status))
        return status is not None

    def scrub(self, digest: str) -> None:
        """Read a blob as a whole, whatever its stamp says; raise `DamagedObjectError` if it is damaged."""
        with self._open_blob(digest) as handle:
            with disk.explained(self.path):
                whole = disk.hash_open_file(handle) == digest
            if not whole:
                self._set_aside(digest)

    def _blob(self, digest: str) -> Path:
        return self._objects / digest[:2] / digest

    @contextlib.contextmanager
    def _open_blob(self, digest: str) -> Iterator[int]:
        path = self._blob(check_digest(digest))
        with disk.explained(self.path):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                raise NotFoundError(
                    f"object {digest} is not in {self.path}. Run the notebook again: the step that makes it will run."
                ) from None
        try:
            yield handle
        finally:
            os.close(handle)

    def _verify(self, digest: str, handle: int) -> bool:
        with disk.explained(self.path):
            status = os.fstat(handle)
            if self._stamps.matches(digest, stamp_of(status)):
                return True
            os.lseek(handle, 0, os.SEEK_SET)
            if disk.hash_open_file(handle) != digest:
                return False
            self._settle(digest, handle, status)
            return True

    def _settle(self, digest: str, handle: int, status: os.stat_result) -> None:
        """Stamp a verified blob. Its writer may have died before syncing, so that is made up for first."""
        os.fsync(handle)
        disk.sync_folder(self._blob(digest).parent)
        self._stamps.add(digest, stamp_of(status))

    def _is_whole(self, digest: str) -> bool:
        """Tell whether a blob is there and undamaged; a damaged one is set aside, so that it can be written anew."""
        try:
            with self._open_blob(digest) as handle:
                if self._verify(digest, handle):
                    return True
        except NotFoundError:
            return False
        self._quarantine(digest)
        return False

    def _quarantine(self, digest: str) -> Path:
        place = self.path / "quarantine"
        target = place / f"{digest}.{time.time_ns()}"
        with disk.explained(self.path):
            disk.make_folder(place)
            with contextlib.suppress(FileNotFoundError):  # another process was faster
                os.rename(self._blob(digest), target)
        return target

    def _set_aside(self, digest: str) -> None:
        target = self._quarantine(digest)
        raise DamagedObjectError(
            f"object {digest} in {self.path} was damaged: its bytes no longer match its digest. It has been set aside "
            f"as {target.relative_to(self.path)}. Run the notebook again: only the step that made it will run."
        )

    # records

    def create(self, name: str, data: bytes) -> bool:
        """Write a record that must not exist yet, durably; False if it exists (nothing is changed)."""
        final = self._record(name)
        with disk.explained(self.path, len(data)):
            if final.is_dir():
                raise IsADirectoryError(errno.EISDIR, "holds records", str(final))
            if final.exists():
                return False
            self._place.prepare()
            with self._place.temporary_file() as (handle, temporary):
                fill(handle, data)
                return self._place.give_name(temporary, final)

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a record atomically (last writer wins); for advisory records only."""
        final = self._record(name)
        with self._place.changing(len(data)):
            self._place.replace(final, data)

    def append(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Add to the end of a record; it survives the end of the process, and a power cut if `durable`."""
        final = self._record(name)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        with disk.explained(self.path, len(data)):
            new = False
            try:
                handle = os.open(final, flags)
            except FileNotFoundError:
                self._place.prepare()
                disk.make_folder(final.parent)
                handle = os.open(final, flags | os.O_CREAT, 0o600)
                new = True
            try:
                disk.write_all(handle, data)
                if durable:
                    os.fsync(handle)
            finally:
                os.close(handle)
            if new:
                disk.sync_folder(final.parent)

    def flush(self, name: str) -> None:
        """Hold nothing back: in a folder others see at once what is appended."""
        self._record(name)

    def read(self, name: str, start: int = 0) -> bytes | None:
        """Return a record from a byte on, or None."""
        try:
            with open(self._record(name), "rb", buffering=0) as file:
                file.seek(start)
                return file.read()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise disk.explain(error, self.path) from error

    def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Compare-and-swap a record (None = absent); False if it was not `old`."""
        final = self._record(name)
        if old is None and new is not None:
            return self.create(name, new)
        if self.read(name) != old:
            return False
        with self._place.changing(len(new or b"")):
            if self.read(name) != old:
                return False
            if new is None:
                self._place.unlink(final)
            else:
                self._place.replace(final, new)
            return True

    def records(self) -> Iterator[str]:
        """Yield the names of all records, sorted."""
        for name in _sorted_entries(self.path):
            if is_name(name) and (self.path / name).is_dir():
                yield from self.list(f"{name}/")
            elif is_name(name):
                yield name

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names of records below a prefix that ends in '/', in the order of their UTF-8 bytes."""
        check_prefix(prefix)
        with disk.explained(self.path):
            yield from _walk(f"{self.path}/{prefix}", prefix)

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the sorted names of the folders of records directly below a prefix that ends in '/'."""
        check_prefix(prefix)
        place = self.path / prefix
        with disk.explained(self.path):
            for name in sorted(_sorted_entries(place), key=os.fsencode):
                if is_name(prefix + name) and (place / name).is_dir():
                    yield name

    def remove(self, name: str) -> None:
        """Remove a record; nothing happens where there is none."""
        final = self._record(name)
        if os.path.lexists(final):
            with self._place.changing(0):
                self._place.unlink(final)

    def _record(self, name: str) -> Path:
        return self.path / check_name(name)


def _sorted_entries(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _walk(folder: str, prefix: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name) for entry in entries]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in sorted(found, key=os.fsencode):
        if name.endswith("/"):
            yield from _walk(folder + name, prefix + name)
        elif is_name(prefix + name):
            yield prefix + name
