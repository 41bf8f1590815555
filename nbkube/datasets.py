"""Data sets as a notebook's cells read them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.errors import NotFoundError, StorageError

if TYPE_CHECKING:
    import tensorflow as tf

Location = str | os.PathLike[str]

SUFFIXES = (".tfrecord", ".tfrecords", ".tfrec")
"""What a folder's record files are called; each may be followed by `.gz`."""


def tfrecords(location: Location | Sequence[Location], *, buffer: int | None = None) -> tf.data.Dataset:
    """Stream the TFRecord files of a location as a `tf.data.Dataset` of serialised records.

    `location` is a file, a folder (its record files), a glob pattern, or several of these. Records come in the order
    of the sorted file names, so that two runs see one order. A `buffer` of bytes (TensorFlow's own 256 KiB unless
    given) and a few records are held at a time, however large the files are. Files that end in `.gz` are unpacked.
    """
    files = record_files(location)
    packed = {name.endswith(".gz") for name in files}
    if len(packed) > 1:
        raise StorageError(f"{_shown(location)}: some record files end in .gz and some do not; read them one by one.")
    import tensorflow as tf

    records = tf.data.TFRecordDataset(files, compression_type="GZIP" if packed.pop() else "", buffer_size=buffer)
    return records.prefetch(tf.data.AUTOTUNE)


def record_files(location: Location | Sequence[Location]) -> list[str]:
    """List the record files of a location, sorted within each of its parts; raise `NotFoundError` if there are none."""
    parts = [location] if isinstance(location, str | os.PathLike) else list(location)
    files = [name for part in parts for name in _files_of(os.fspath(part))]
    if not files:
        raise NotFoundError(
            f"{_shown(location)}: no TFRecord files here. "
            f"Give a file, a glob pattern, or a folder with files named *{', *'.join(SUFFIXES)}."
        )
    return files


def _files_of(part: str) -> list[str]:
    if "://" in part:
        scheme = part.split("://", 1)[0]
        raise StorageError(f"{part}: {scheme}:// cannot be streamed; give a local file, folder or pattern.")
    path = Path(part)
    if path.is_dir():
        names = (entry for entry in path.iterdir() if entry.name.removesuffix(".gz").endswith(SUFFIXES))
        return sorted(str(entry) for entry in names if entry.is_file())
    if path.is_file():
        return [part]
    return sorted(name for name in glob.glob(part, recursive=True) if Path(name).is_file())


def _shown(location: Location | Sequence[Location]) -> str:
    if isinstance(location, str | os.PathLike):
        return os.fspath(location)
    return ", ".join(os.fspath(part) for part in location)
