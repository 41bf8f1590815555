"""Files wherever they are: in a folder of this machine or in a bucket, read, written, listed and copied alike.

This is what `nbkube storage` and `nbkube.storage()` show. A location is a path, a `file://` or `s3://BUCKET/KEY` URL,
or a name below the base; one that ends in '/' means a folder. Names in buckets were chosen by others: one that could
lead out of the folder it is copied into is refused.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import IO, BinaryIO, cast
from urllib.parse import unquote, urlsplit

import msgspec

from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage import disk
from nbkube.storage.bucket_files import Bucket, bucket_at, list_buckets, timestamp
from nbkube.storage.model import Buffer
from nbkube.storage.preview import ObjectPreview, preview
from nbkube.storage.s3.connection import Connection
from nbkube.storage.s3.listing import iso_timestamp

Progress = Callable[[int], None]
"""Called with the number of bytes that have just been copied; from any thread."""

BASE = "NBKUBE_STORAGE"
_PIECE = 1 << 20


def _silent(_: int) -> None:
    return None


class FileInfo(msgspec.Struct, frozen=True):
    """A file, or a folder (`size` None): `location` can be given to every method, `modified` is seconds since 1970."""

    location: str
    size: int | None = None
    modified: float | None = None


class FilePage(msgspec.Struct, frozen=True):
    """Some of the files and folders at a location, and the token of the next page ("" at the end)."""

    files: tuple[FileInfo, ...]
    next: str = ""


class FileStat(msgspec.Struct, frozen=True):
    """All that is known of a file without reading it; `version` is "" where the bucket keeps none."""

    location: str
    size: int
    modified: float | None
    etag: str = ""
    type: str = ""
    version: str = ""


class FileVersion(msgspec.Struct, frozen=True):
    """A version of a file in a bucket; `deleted`: the mark that a removal has left."""

    id: str
    size: int
    modified: float | None
    latest: bool
    deleted: bool


class Storage:
    """Files in buckets and folders.

    Args:
        base: where names that are no URL and no absolute path begin; by default `NBKUBE_STORAGE`. Without either they
            are paths on this machine.
        environment: the AWS variables that lead to server and credentials; by default the process's own.
        patience: seconds for which a request to a server that does not answer is repeated; None for the usual.

    Raises (all methods):
        LocationError: the location is wrong, or the settings lead to no server.
        NotFoundError: there is nothing at the location.
        StorageError: the server cannot be reached or refuses.
    """

    def __init__(
        self, base: str | None = None, environment: Mapping[str, str] | None = None, patience: float | None = None
    ) -> None:
        self.base = os.environ.get(BASE, "") if base is None else base
        self._environment = environment
        self._patience = patience
        self._connections: dict[str, Connection] = {}

    def _connection(self, bucket: str) -> Connection:
        if bucket not in self._connections:
            self._connections[bucket] = Connection(bucket, self._environment, self._patience)
        return self._connections[bucket]

    def __repr__(self) -> str:
        return f"Storage({self.base!r})"

    def ls(self, location: str | os.PathLike[str] = "", *, recursive: bool = False) -> list[FileInfo]:
        """Return the files and folders at a location, sorted; with `recursive` all files below it.

        `s3://` alone lists the buckets.
        """
        return list(self.walk(location, recursive=recursive))

    def walk(self, location: str | os.PathLike[str] = "", *, recursive: bool = True) -> Iterator[FileInfo]:
        """Yield what `ls` returns, one by one."""
        place = self._resolve(location)
        if isinstance(place, Path):
            yield from _walk_folder(place, recursive)
        elif not place.bucket:
            yield from (FileInfo(f"s3://{name}/", None, made) for name, made in list_buckets(self._connection("")))
        else:
            yield from _walk_bucket(place, recursive)

    def page(
        self, location: str | os.PathLike[str], *, prefix: str = "", token: str = "", limit: int = 1000
    ) -> FilePage:
        """Return a page of what is in a folder, at most 1,000 entries; only names that begin with `prefix`."""
        place = self._resolve(location)
        if isinstance(place, Path):
            found = [one for one in _walk_folder(place, False) if _name(one).startswith(prefix) and _name(one) > token]
            return FilePage(tuple(found[:limit]), _name(found[limit - 1]) if len(found) > limit else "")
        if not place.bucket:
            return FilePage(tuple(one for one in self.walk(location) if _name(one).startswith(prefix)))
        entries, following = place.page(prefix, token, limit)
        return FilePage(
            tuple(FileInfo(f"s3://{place.bucket}/{key}", size, made) for key, size, made in entries), following
        )

    def stat(self, location: str | os.PathLike[str]) -> FileStat:
        """Return what is known of a file without reading it."""
        place = self._resolve(location)
        if isinstance(place, Path):
            with _found(place):
                status = place.stat()
            return FileStat(str(place), status.st_size, status.st_mtime)
        found = place.stat()
        return FileStat(
            str(place),
            int(found.get("content-length", 0)),
            timestamp(found.get("last-modified", "")),
            found.get("etag", "").strip('"'),
            found.get("content-type", ""),
            found.get("x-amz-version-id", ""),
        )

    def preview(self, location: str | os.PathLike[str]) -> ObjectPreview:
        """Return the beginning of a file for looking at; at most 4 MiB of it are read."""
        place = self._resolve(location)
        size = self.stat(location).size
        if isinstance(place, Bucket):
            return preview(place.key, size, place.head)
        with _found(place), place.open("rb") as file:
            return preview(place.name, size, file.read)

    def mkdir(self, location: str | os.PathLike[str]) -> bool:
        """Make an empty folder; False where there is one. Buckets know folders only by a file or a mark in them."""
        place = self._resolve(location)
        return place.make_folder() if isinstance(place, Bucket) and place.key else self.mb(os.fspath(location))

    def move(
        self,
        source: str | os.PathLike[str],
        target: str | os.PathLike[str],
        *,
        replace: bool = False,
        keep: bool = False,
    ) -> int:
        """Give a file (or with a trailing '/' on both a folder) another name in the same or another bucket.

        In a bucket this is a copy, after which the source is removed; `keep` leaves it. Return how many objects.

        Raises:
            LocationError: there is something at the target, and `replace` was not said.
        """
        start, end = self._resolve(source), self._resolve(target)
        if isinstance(start, Path) or isinstance(end, Path):
            raise LocationError(f"{os.fspath(source)}: only what lies in buckets is moved; use `cp`.")
        if _is_folder(source) != _is_folder(target):
            raise LocationError(f"{target}: end both locations with '/' to mean folders, or neither.")
        if start.bucket == end.bucket and start.key == end.key:
            raise LocationError(f"{start}: source and target are the same.")
        if not replace and end.exists():
            raise LocationError(f"{end} is there already. Choose another name, or say that it may be replaced.")
        if _is_folder(source):
            count = end.copy_folder_from(start)
            if not count:
                raise NotFoundError(f"{start}: there is no such folder.")
        else:
            end.copy_from(start, _silent)
            count = 1
        if not keep:
            start.remove_all() if _is_folder(source) else start.remove()
        return count

    def versions(self, location: str | os.PathLike[str]) -> list[FileVersion]:
        """Return the versions that a bucket keeps of a file, the newest first."""
        return [
            FileVersion(one.id, one.size, iso_timestamp(one.modified), one.latest, one.deleted)
            for one in self._in_bucket(location).versions()
        ]

    def restore(self, location: str | os.PathLike[str], version: str) -> None:
        """Make an older version of a file the newest one; the others are kept."""
        self._in_bucket(location).restore(version)

    def bucket(self, location: str | os.PathLike[str]) -> Bucket:
        """Return a place in a bucket, for uploads made piece by piece."""
        return self._in_bucket(location)

    def _in_bucket(self, location: str | os.PathLike[str]) -> Bucket:
        place = self._resolve(location)
        if isinstance(place, Path):
            raise LocationError(f"{place} lies in no bucket. Give s3://BUCKET/KEY.")
        return place

    def pieces(self, location: str | os.PathLike[str]) -> Iterator[bytes]:
        """Yield a file's content piece by piece, in bounded memory."""
        return _pieces(self._resolve(location))

    def open(self, location: str | os.PathLike[str], mode: str = "rb") -> IO[bytes] | IO[str]:
        """Open a file for reading: "rb" or "r". Ranges are fetched ahead in parallel, at most about 32 MiB of them."""
        if mode not in ("rb", "r", "rt"):
            raise LocationError(f"mode {mode!r}: files are opened for reading; write() and put() make new ones.")
        place = self._resolve(location)
        if isinstance(place, Path):
            with _found(place):
                file: BinaryIO = place.open("rb")
        else:
            file = cast(BinaryIO, io.BufferedReader(place.reader(), _PIECE))
        return file if mode == "rb" else io.TextIOWrapper(file, encoding="utf-8")

    def read(self, location: str | os.PathLike[str]) -> bytes:
        """Return a file's content."""
        place = self._resolve(location)
        if isinstance(place, Path):
            with _found(place):
                return place.read_bytes()
        return b"".join(place.pieces())

    def write(self, location: str | os.PathLike[str], data: Buffer | str) -> None:
        """Write or replace a file, as a whole or not at all."""
        content = data.encode() if isinstance(data, str) else data
        place = self._resolve(location)
        if isinstance(place, Path):
            with _landing(place) as file:
                file.write(content)
        else:
            place.write(content)

    def get(
        self, location: str | os.PathLike[str], target: str | os.PathLike[str] = ".", progress: Progress = _silent
    ) -> int:
        """Copy a file (or, with a trailing '/', all files below a folder) to this machine; return the bytes copied."""
        return self.copy(location, target, progress)

    def put(
        self, source: str | os.PathLike[str], location: str | os.PathLike[str], progress: Progress = _silent
    ) -> int:
        """Copy a file of this machine (or, with a trailing '/', all files below a folder); return the bytes copied."""
        return self.copy(os.path.abspath(source) + ("/" if _is_folder(source) else ""), location, progress)

    def copy(self, source: str | os.PathLike[str], target: str | os.PathLike[str], progress: Progress = _silent) -> int:
        """Copy a file, or with a trailing '/' on the source all files below it into the target folder.

        A target that ends in '/' or is a folder takes the file's own name. Return the bytes copied.
        """
        start, end = self._resolve(source), self._resolve(target)
        if _is_folder(source):
            return self._copy_all(source, start, end, progress)
        name = start.name if isinstance(start, Path) else start.key.rpartition("/")[2]
        if (
            _is_folder(target)
            or (isinstance(end, Path) and end.is_dir())
            or (not isinstance(end, Path) and not end.key)
        ):
            end = _below(end, name)
        return _copy(start, end, progress)

    def _copy_all(
        self, source: str | os.PathLike[str], start: Path | Bucket, end: Path | Bucket, tell: Progress
    ) -> int:
        size, count = 0, 0
        for one in self.walk(source):
            place = self._resolve(one.location)
            if isinstance(start, Path):
                name = cast(Path, place).relative_to(start).as_posix()
            else:
                name = cast(Bucket, place).key[len(start.folder) :]
            size += _copy(place, _below(end, name), tell)
            count += 1
        if not count:
            raise NotFoundError(f"{os.fspath(source)}: there are no files below it.")
        return size

    def rm(self, location: str | os.PathLike[str]) -> int:
        """Remove a file, or with a trailing '/' all files below a folder; return how many are gone.

        `s3://BUCKET` without a '/' is the bucket itself, which must be empty.
        """
        place = self._resolve(location)
        if isinstance(place, Path):
            return _remove_local(place, _is_folder(location))
        if not _is_folder(location):
            return place.remove() if place.key else place.remove_bucket()
        return place.remove_all()

    def mb(self, location: str) -> bool:
        """Make a bucket (or a local folder); False where it is there already."""
        place = self._resolve(location)
        if isinstance(place, Path):
            there = place.is_dir()
            with disk.explained(place):
                place.mkdir(parents=True, exist_ok=True)
            return not there
        if place.key:
            raise LocationError(f"{location}: folders in buckets need not be made; give s3://{place.bucket}.")
        return place.make_bucket()

    def _resolve(self, location: str | os.PathLike[str]) -> Path | Bucket:
        text = os.fspath(location)
        if "\x00" in text:
            raise LocationError(f"{text[:80]!r} is no location: it holds a NUL character.")
        scheme, separator, rest = text.partition("://")
        if separator and scheme == "s3":
            return bucket_at(rest, self._connection)
        if separator and scheme == "file":
            return Path(unquote(urlsplit(text).path))
        if separator and "/" not in scheme:
            raise LocationError(f"{text[:200]}: {scheme}:// is not supported. Give a path or s3://BUCKET/KEY.")
        if not self.base or os.path.isabs(text):
            return Path(os.path.abspath(os.path.expanduser(text or ".")))
        base = Storage("", self._environment, self._patience)._resolve(self.base)
        return _below(base, text) if text else base


def _name(one: FileInfo) -> str:
    return one.location.removesuffix("/").rpartition("/")[2]


def _is_folder(location: str | os.PathLike[str]) -> bool:
    return os.fspath(location).endswith("/")


def _below(place: Path | Bucket, name: str) -> Path | Bucket:
    """Return the place with this name in a folder; the name may not lead out of it."""
    if isinstance(place, Bucket):
        return place.below(name)
    parts = name.strip("/").split("/")
    if any(part in ("", ".", "..") or "\x00" in part for part in parts) or any(
        len(os.fsencode(p)) > 255 for p in parts
    ):
        raise LocationError(f"{name[:200]!r} cannot be the name of a file below {place}. It is left alone.")
    return place.joinpath(*parts)


def _walk_folder(place: Path, recursive: bool) -> Iterator[FileInfo]:
    with _found(place):
        if not place.is_dir():
            yield _info(place)
            return
        found = [entry for entry in os.scandir(place) if entry.is_dir(follow_symlinks=False) or entry.is_file()]
    for entry in sorted(found, key=lambda one: os.fsencode(one.name + "/" * one.is_dir(follow_symlinks=False))):
        path = place / entry.name
        if not entry.is_dir(follow_symlinks=False):
            yield _info(path)
        elif recursive:
            yield from _walk_folder(path, recursive=True)
        else:
            yield FileInfo(f"{path}/", None, entry.stat(follow_symlinks=False).st_mtime)


def _info(path: Path) -> FileInfo:
    status = path.stat()
    return FileInfo(str(path), status.st_size, status.st_mtime)


def _walk_bucket(place: Bucket, recursive: bool) -> Iterator[FileInfo]:
    seen = False
    for key, size, modified in place.list(recursive=recursive):
        seen = True
        yield FileInfo(f"s3://{place.bucket}/{key}", size, modified)
    if not seen and place.key:
        raise NotFoundError(
            f"{place}: there is nothing here. `nbkube storage ls s3://{place.bucket}/` shows what there is."
        )


def _copy(start: Path | Bucket, end: Path | Bucket, progress: Progress) -> int:
    if isinstance(end, Bucket):
        if isinstance(start, Path):
            with _found(start), start.open("rb", buffering=0) as file:
                return end.upload(file.fileno(), progress)
        return end.copy_from(start, progress)
    if isinstance(start, Path) and start == end:
        raise LocationError(f"{start}: source and target are the same file.")
    with contextlib.closing(_pieces(start)) as pieces:
        first = next(pieces, b"")  # before anything is written: the source may not be there
        size = len(first)
        with _landing(end) as file:
            file.write(first)
            progress(size)
            for piece in pieces:
                file.write(piece)
                progress(len(piece))
                size += len(piece)
    return size


def _pieces(place: Path | Bucket) -> Generator[bytes, None, None]:
    if isinstance(place, Bucket):
        yield from place.pieces()
        return
    with _found(place), place.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            yield piece


@contextlib.contextmanager
def _landing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its name only when all of it has been written."""
    temporary = path.with_name(f".{path.name[:100]}.{os.urandom(6).hex()}.part")
    with disk.explained(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as file:
                yield file
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def _remove_local(place: Path, folder: bool) -> int:
    with _found(place):
        if not folder:
            if place.is_dir() and not place.is_symlink():
                raise LocationError(f"{place} is a folder: end it with '/' to remove everything below it.")
            place.unlink()
            return 1
        count = sum(1 for _ in _walk_folder(place, recursive=True))
        shutil.rmtree(place)
        return count


@contextlib.contextmanager
def _found(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFoundError(f"{path}: there is no such file or folder.") from None
    except IsADirectoryError:
        raise LocationError(f"{path} is a folder: end it with '/' to mean the files below it.") from None
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}.") from error
