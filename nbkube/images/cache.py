"""What images are made of, kept on this machine: layers by key, locks, what is known of bases and registries.

    <cache>/images/v1/notes/<kind>/<key>.json   small facts
    <cache>/images/v1/blobs/<digest>            compressed layers, the longest unused removed first

A fact stays when its blob goes: a registry that has the blob is not sent it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from typing import TypeVar

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import BuildError
from nbkube.pipeline.quantities import AmountError, quantity

SIZE = "NBKUBE_IMAGE_CACHE"
"""The variable that limits the cache, as `20Gi`."""

_DEFAULT_SIZE = 5 << 30
T = TypeVar("T")


class ImageCache:
    """The cache in a folder; many processes may use it at once.

    Args:
        folder: where it lies; None takes $XDG_CACHE_HOME/nbkube/images/v1, by default below ~/.cache.
        limit: bytes of blobs to keep; None takes NBKUBE_IMAGE_CACHE, else 5 GiB.

    Raises:
        BuildError: NBKUBE_IMAGE_CACHE is no size.
    """

    def __init__(self, folder: Path | None = None, limit: int | None = None) -> None:
        self.folder = folder or _default_folder()
        self._limit = _limit() if limit is None else limit

    @property
    def work(self) -> Path:
        """Return the folder in which files are made that become blobs."""
        folder = self.folder / "work"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def note(self, kind: str, key: str, type_: type[T]) -> T | None:
        """Return a fact that was noted, or None."""
        try:
            return from_json(self._note(kind, key).read_bytes(), type_)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def keep_note(self, kind: str, key: str, fact: object) -> None:
        """Note a fact for later; a disk that is full loses no more than time."""
        path = self._note(kind, key)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.encode(fact))
            os.replace(name, path)

    def blob(self, digest: str) -> Path | None:
        """Return the file of a blob, marked as used just now, or None."""
        path = self._blob(digest)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    def keep_blob(self, digest: str, file: Path) -> Path:
        """Take over a finished file; return where it lies now."""
        path = self._blob(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        file.chmod(0o644)
        os.replace(file, path)
        return path

    def shrink(self) -> int:
        """Remove the blobs that were unused the longest until the limit holds; return the bytes removed."""
        found = []
        for path in (self.folder / "blobs").glob("*"):
            with contextlib.suppress(OSError):
                status = path.stat()
                found.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in found)
        removed = 0
        for _, size, path in sorted(found):
            if total - removed <= self._limit:
                break
            path.unlink(missing_ok=True)
            removed += size
        return removed

    def _note(self, kind: str, key: str) -> Path:
        name = hashlib.sha256(key.encode()).hexdigest()
        return self.folder / "notes" / kind / f"{name}.json"

    def _blob(self, digest: str) -> Path:
        return self.folder / "blobs" / digest.removeprefix("sha256:")


def _default_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if os.path.isabs(base) else Path("~/.cache").expanduser()
    return root / "nbkube" / "images" / "v1"


def _limit() -> int:
    text = os.environ.get(SIZE, "")
    if not text:
        return _DEFAULT_SIZE
    try:
        return int(quantity(text))
    except AmountError:
        raise BuildError(f"{SIZE}={text!r} is no size. Fix: write e.g. {SIZE}=20Gi.") from None
