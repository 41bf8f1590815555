"""The stores that the contract suite runs on. A new implementation adds one entry to `PLACES`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from nbkube.storage import ObjectStore, open_store


class Place(Protocol):
    """Where a store is. `open` opens it anew, as another process would; `damage` replaces a blob's bytes behind its
    back."""

    def open(self) -> ObjectStore: ...

    def damage(self, digest: str, data: bytes) -> None: ...


class FolderPlace:
    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path / "store"

    def open(self) -> ObjectStore:
        return open_store(self.path)

    def damage(self, digest: str, data: bytes) -> None:
        path = self.path / "objects" / "sha256" / digest[:2] / digest
        status = path.stat()
        path.chmod(0o600)
        path.write_bytes(data)
        path.chmod(0o444)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # only ctime tells


PLACES: dict[str, Callable[[Path], Place]] = {"folder": FolderPlace}


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.open()
