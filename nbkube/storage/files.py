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
from nbkube.storage.bucket_files import Bucket, bucket_at, list_buckets

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


class Storage:
    """Files in buckets and folders.

    Args:
        base: where names that are no URL and no absolute path begin; by default `NBKUBE_STORAGE`. Without either they
            are paths on this machine.
        environment: has the AWS variables, by default those of this process.

    Raises (all methods):
        LocationError: the location is wrong, or the settings lead to no server.
        NotFoundError: there is nothing at the location.
        StorageError: the server cannot be reached or refuses.
    """

    def __init__(self, base: str | None = None, environment: Mapping[str, str] | None = None) -> None:
        self.base = os.environ.get(BASE, "") if base is None else base
        self._environment = environment

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
            yield from (FileInfo(f"s3://{name}/", None, made) for name, made in list_buckets(self._environment))
        else:
            yield from _walk_bucket(place, recursive)

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

    def write(self, location: str | os.PathLike[str], data: bytes | str) -> None:
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
            return bucket_at(rest, self._environment)
        if separator and scheme == "file":
            return Path(unquote(urlsplit(text).path))
        if separator and "/" not in scheme:
            raise LocationError(f"{text[:200]}: {scheme}:// is not supported. Give a path or s3://BUCKET/KEY.")
        if not self.base or os.path.isabs(text):
            return Path(os.path.abspath(os.path.expanduser(text or ".")))
        base = Storage("", self._environment)._resolve(self.base)
        return _below(base, text) if text else base


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
