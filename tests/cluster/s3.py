"""Buckets on the bench's S3 servers."""

from __future__ import annotations

from urllib.parse import urlsplit

from tests.cluster.bench import S3


def make_bucket(server: S3, name: str) -> None:
    """Make a bucket unless it is there."""
    from minio import Minio
    from minio.error import S3Error

    client = Minio(
        endpoint=urlsplit(server.endpoint).netloc,
        access_key=server.access_key,
        secret_key=server.secret_key,
        region=server.region,
        secure=False,
    )
    try:
        client.make_bucket(bucket_name=name)
    except S3Error as error:
        if error.code != "BucketAlreadyOwnedByYou":
            raise
