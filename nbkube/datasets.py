"""Data sets as a notebook's cells read them: from a folder on the laptop, from a bucket in a pod, by the same cell."""

from __future__ import annotations

import fnmatch
import glob
import os
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import IO, TYPE_CHECKING

from nbkube.errors import LocationError, NotFoundError, StorageError

if TYPE_CHECKING:
    import tensorflow as tf

    from nbkube.storage.files import FileInfo

Location = str | os.PathLike[str]

SUFFIXES = (".tfrecord", ".tfrecords", ".tfrec")
"""What a folder's record files are called; each may be followed by `.gz`."""

DATA = "NBKUBE_DATA"


class DataSet(os.PathLike[str]):
    """A file or folder of data: usable wherever a path is, whether it lies here or in a bucket.

    As a path it is a read-only local file (for a `location` that ends in '/', a folder), fetched when it is first
    asked for and kept in the cache folder of this machine. `open` streams without keeping anything. `tfrecords` takes
    it, too.
    """

    def __init__(self, location: str) -> None:
        self.location = location

    def __str__(self) -> str:
        return self.location

    def __repr__(self) -> str:
        return f"nbkube.data({self.location!r})"

    def __truediv__(self, name: str) -> DataSet:
        return DataSet(f"{self.location.rstrip('/')}/{_relative(name)}")

    def __fspath__(self) -> str:
        if not self.location.startswith("s3://"):
            return self.location
        from nbkube.storage.bucket_files import bucket_at
        from nbkube.storage.fetch import fetch

        return str(fetch(bucket_at(self.location.removeprefix("s3://"))))

    @property
    def path(self) -> Path:
        """The local file or folder."""
        return Path(self)

    def ls(self, *, recursive: bool = False) -> list[FileInfo]:
        """Return the files and folders in this folder."""
        from nbkube.storage.files import Storage

        return Storage("").ls(self.location, recursive=recursive)

    def open(self, mode: str = "rb") -> IO[bytes] | IO[str]:
        """Open the file for reading, "rb" or "r"; from a bucket it is streamed."""
        from nbkube.storage.files import Storage

        return Storage("").open(self.location, mode)


def data(name: str) -> DataSet:
    """Return the data of this name (a file, or with '/' at its end a folder) from where this environment keeps data.

    That is below `NBKUBE_DATA` (a folder or `s3://BUCKET/PREFIX`), else below `data` in `NBKUBE_STORAGE`, else below
    the folder `data` beside the notebook. A notebook that reads by `nbkube.data` runs unchanged on a laptop and in a
    pod.

    Raises:
        LocationError: the name leads out of that place.
    """
    storage = os.environ.get("NBKUBE_STORAGE")
    base = os.environ.get(DATA) or (f"{storage.rstrip('/')}/data" if storage else "data")
    return DataSet(f"{base.rstrip('/')}/{_relative(name)}")


def _relative(name: str) -> str:
    parts = name.removesuffix("/").split("/")
    if any(part in ("", ".", "..") or "\x00" in part for part in parts):
        raise LocationError(f"{name[:200]!r} names no data: give a relative path without empty segments, '.' or '..'.")
    return name


# record files


def tfrecords(location: Location | Sequence[Location], *, buffer: int | None = None) -> tf.data.Dataset:
    """Stream the TFRecord files of a location as a `tf.data.Dataset` of serialised records.

    `location` is a file, a folder (its record files), a glob pattern, or several of these; each may be in a bucket
    (`s3://BUCKET/…`). Records come in the order of the sorted file names, so that two runs see one order. A `buffer`
    of bytes (TensorFlow's own 256 KiB unless given) and a few records are held at a time, however large the files are;
    of files in a bucket also some ranges that are fetched ahead in parallel (about 50 MiB), and as much on the disk.
    Files that end in `.gz` are unpacked.
    """
    files = record_files(location)
    packed = {name.endswith(".gz") for name in files}
    if len(packed) > 1:
        raise StorageError(f"{_shown(location)}: some record files end in .gz and some do not; read them one by one.")
    import tensorflow as tf

    records: tf.data.Dataset | None = None
    for remote, group in groupby(files, lambda name: name.startswith("s3://")):
        if remote:
            from nbkube.streaming import remote_records

            part = remote_records(list(group), buffer)
        else:
            compression = "GZIP" if packed == {True} else ""
            part = tf.data.TFRecordDataset(list(group), compression_type=compression, buffer_size=buffer)
        records = part if records is None else records.concatenate(part)
    assert records is not None
    return records.prefetch(tf.data.AUTOTUNE)


def record_files(location: Location | Sequence[Location]) -> list[str]:
    """List the record files of a location, sorted within each of its parts; raise `NotFoundError` if there are none."""
    parts = [location] if isinstance(location, str | os.PathLike) else list(location)
    files = [name for part in parts for name in _files_of(_text(part))]
    if not files:
        raise NotFoundError(
            f"{_shown(location)}: no TFRecord files here. "
            f"Give a file, a glob pattern, or a folder with files named *{', *'.join(SUFFIXES)}."
        )
    return files


def _files_of(part: str) -> list[str]:
    if part.startswith("s3://"):
        return list(_files_in_bucket(part))
    if "://" in part:
        scheme = part.split("://", 1)[0]
        raise StorageError(f"{part}: {scheme}:// cannot be streamed; give a local file, folder or pattern, or s3://….")
    path = Path(part)
    if path.is_dir():
        names = (entry for entry in path.iterdir() if _is_record_file(entry.name))
        return sorted(str(entry) for entry in names if entry.is_file())
    if path.is_file():
        return [part]
    return sorted(name for name in glob.glob(part, recursive=True) if Path(name).is_file())


def _files_in_bucket(part: str) -> Iterator[str]:
    from nbkube.storage.files import Storage

    magic = re.search(r"[*?[]", part)
    try:
        if magic is None:
            found = Storage("").ls(part)
            yield from (one.location for one in found if one.location == part or _is_record_file(one.location))
            return
        folder = part[: part.rindex("/", 0, magic.start()) + 1]
        wanted = re.compile(fnmatch.translate(part).replace(".*", "[^/]*"))
        recursive = "/" in part[magic.start() :]
        found = Storage("").ls(folder, recursive=recursive)
        yield from (one.location for one in found if one.size is not None and wanted.match(one.location))
    except NotFoundError:
        return


def _is_record_file(name: str) -> bool:
    return name.removesuffix(".gz").endswith(SUFFIXES)


def _text(part: Location) -> str:
    return part.location if isinstance(part, DataSet) else os.fspath(part)


def _shown(location: Location | Sequence[Location]) -> str:
    if isinstance(location, str | os.PathLike):
        return _text(location)
    return ", ".join(_text(part) for part in location)
