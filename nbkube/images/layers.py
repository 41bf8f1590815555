"""Layers as files: a tar in which equal content gives equal bytes, packed with a fixed compressor.

Entries are sorted, times are zero, the owner is root, folders are 0755 and files 0644 or 0755. The compressor is part
of a layer's key: another one, or another level, gives other bytes for the same tar. Small layers are packed as well as
wheels are; for large ones that would take longer than sending the difference.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol

from nbkube.images.model import Blob

_CHUNK = 1 << 20
_SMALL = 16 << 20
"""Bytes of content up to which a layer is packed well rather than fast."""

_WELL = 6


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressor(size: int) -> _Compressor:
    if size <= _SMALL:
        return zlib.compressobj(_WELL, zlib.DEFLATED, 31)
    try:
        from isal import isal_zlib
    except ImportError:  # no wheel of it for this machine
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    made: _Compressor = isal_zlib.compressobj(2, isal_zlib.DEFLATED, 31)
    return made


def compressor() -> str:
    """Return what compresses layers here, as it stands in their keys and in images: names, versions, levels."""
    well = f"zlib {zlib.ZLIB_RUNTIME_VERSION} {_WELL}"
    try:
        import isal
    except ImportError:
        return f"{well} 1"
    return f"{well}, isal {isal.__version__} 2"


class _Sink:
    """Takes a tar, writes it compressed, and knows both digests at the end."""

    def __init__(self, file: BinaryIO, content: int) -> None:
        self._file = file
        self._inner, self._outer = hashlib.sha256(), hashlib.sha256()
        self._pack = _compressor(content)
        self._size = 0

    def write(self, data: bytes) -> None:
        self._inner.update(data)
        self._emit(self._pack.compress(data))

    def _emit(self, data: bytes) -> None:
        self._outer.update(data)
        self._size += len(data)
        self._file.write(data)

    def close(self) -> Blob:
        self._emit(self._pack.flush())
        return Blob(f"sha256:{self._outer.hexdigest()}", f"sha256:{self._inner.hexdigest()}", self._size)


def write_layer(files: Mapping[str, bytes | Path], folder: Path, executable: Iterable[str] = ()) -> tuple[Blob, Path]:
    """Write a layer to a new file in `folder`; return it and the file.

    Args:
        files: path in the image, without a leading slash -> content, or the file that holds it.
        folder: where the new file is made.
        executable: paths of files that get the mode 0755.
    """
    programs = set(executable)
    content = sum(len(one) if isinstance(one, bytes) else one.stat().st_size for one in files.values())
    handle, name = tempfile.mkstemp(suffix=".unfinished", dir=folder)
    with os.fdopen(handle, "wb") as file:
        sink = _Sink(file, content)
        made: set[str] = set()
        for path in sorted(files):
            for parent in _parents(path):
                if parent not in made:
                    made.add(parent)
                    sink.write(_header(parent, 0, 0o755, tarfile.DIRTYPE))
            _add(sink, path, files[path], 0o755 if path in programs else 0o644)
        sink.write(bytes(2 * tarfile.BLOCKSIZE))
        return sink.close(), Path(name)


def _parents(path: str) -> Iterable[str]:
    parts = path.split("/")
    return ("/".join(parts[:count]) for count in range(1, len(parts)))


def _header(path: str, size: int, mode: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(path)
    info.size, info.mode, info.type = size, mode, kind
    return info.tobuf(tarfile.PAX_FORMAT)


def _add(sink: _Sink, path: str, content: bytes | Path, mode: int) -> None:
    if isinstance(content, bytes):
        sink.write(_header(path, len(content), mode) + content)
        size = len(content)
    else:
        with content.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            sink.write(_header(path, size, mode))
            while data := source.read(_CHUNK):
                sink.write(data)
    sink.write(bytes(-size % tarfile.BLOCKSIZE))


def unfinished(folder: Path) -> None:
    """Remove what builds that were killed have left in a folder."""
    for path in folder.glob("*.unfinished"):
        path.unlink(missing_ok=True)
    for path in folder.glob("tree-*"):
        shutil.rmtree(path, ignore_errors=True)
