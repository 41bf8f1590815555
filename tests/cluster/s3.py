"""The bench's S3 servers as tests use them directly, beside nbkube's own storage."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tests.cluster.bench import S3

if TYPE_CHECKING:
    from minio import Minio


def client(server: S3) -> Minio:
    """Return a client of one of the servers; it gives up after a few seconds."""
    import urllib3
    from minio import Minio

    return Minio(
        endpoint=urlsplit(server.endpoint).netloc,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=False,
        http_client=urllib3.PoolManager(retries=False, timeout=10),
    )


def make_bucket(server: S3, name: str) -> None:
    """Make a bucket unless it is there."""
    from minio.error import S3Error

    try:
        client(server).make_bucket(bucket_name=name)
    except S3Error as error:
        if error.code != "BucketAlreadyOwnedByYou":
            raise
