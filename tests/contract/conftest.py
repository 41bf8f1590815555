"""The stores that the contract suite runs on. A new implementation adds one entry to `PLACES`."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest

from nbkube.storage import ObjectStore, open_store
from tests import s3_servers


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


class BucketPlace:
    """A prefix of its own in a bucket of a real server."""

    def __init__(self, tmp_path: Path, kind: str) -> None:
        from minio import Minio

        server = s3_servers.running(kind)
        s3_servers.set_environment(server.environment())
        os.environ["NBKUBE_CACHE"] = str(tmp_path / "cache")
        self._prefix = os.urandom(8).hex()
        keys = s3_servers.KEYS
        self._client = Minio(
            server.endpoint.removeprefix("http://"),
            keys["AWS_ACCESS_KEY_ID"],
            keys["AWS_SECRET_ACCESS_KEY"],
            secure=False,
            region=keys["AWS_REGION"],
        )
        if not self._client.bucket_exists("contract"):
            self._client.make_bucket("contract")

    def open(self) -> ObjectStore:
        return open_store(f"s3://contract/{self._prefix}")

    def damage(self, digest: str, data: bytes) -> None:
        key = f"{self._prefix}/objects/sha256/{digest[:2]}/{digest}"
        self._client.put_object("contract", key, io.BytesIO(data), len(data))


PLACES: dict[str, Callable[[Path], Place]] = {
    "folder": FolderPlace,
    **{kind: partial(BucketPlace, kind=kind) for kind in s3_servers.KINDS},
}


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    s3_servers.close_all()


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    """Keep the variables that a place sets within the test."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(params=sorted(PLACES))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](tmp_path)


@pytest.fixture
def store(place: Place) -> ObjectStore:
    return place.open()
