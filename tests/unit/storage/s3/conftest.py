"""A bucket of its own for each test, on each of the servers."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.storage.files import Storage
from tests import s3_servers
from tests.s3_servers import S3Server


@pytest.fixture(scope="session", autouse=True)
def _servers() -> Iterator[None]:
    yield
    s3_servers.close_all()


@pytest.fixture(autouse=True)
def environment(tmp_path: Path) -> Iterator[None]:
    """Keep the AWS variables within the test, with a home that holds no files of AWS."""
    before = dict(os.environ)
    s3_servers.set_environment({"HOME": str(tmp_path), "NBKUBE_CACHE": str(tmp_path / "cache")})
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(params=s3_servers.KINDS)
def server(request: pytest.FixtureRequest) -> S3Server:
    found = s3_servers.running(request.param)
    s3_servers.set_environment(found.environment())
    return found


@pytest.fixture
def bucket(server: S3Server) -> str:
    """Return the URL of a new bucket."""
    url = f"s3://test-{os.urandom(6).hex()}"
    Storage("").mb(url)
    return url
