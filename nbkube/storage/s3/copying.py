"""Copies that the server makes by itself, also of objects that are larger than one request copies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote
from xml.etree import ElementTree

from nbkube.errors import StorageError
from nbkube.storage.s3 import transfer
from nbkube.storage.s3.connection import PARALLEL, Connection

AT_ONCE = 5 << 30
"""Bytes that one request may copy: 5 GiB (Amazon S3 API Reference, CopyObject)."""
_PART = 512 << 20


def copy(connection: Connection, key: str, bucket: str, source: str, etag: str, size: int, version: str = "") -> None:
    """Make an object a copy of another one on the same server, as a whole or not at all.

    Args:
        connection: the bucket to copy to.
        key: the object to be made or replaced.
        bucket: the bucket to copy from.
        source: the object to copy.
        etag: what it is now: nothing is copied if it has been replaced meanwhile; "" copies whatever is there.
        size: its bytes.
        version: an older version of it; "" for the newest.
    """
    if size <= AT_ONCE:
        from minio.commonconfig import CopySource

        origin = CopySource(bucket, source, version_id=version or None, match_etag=etag or None)
        connection.client_call(lambda client: client.copy_object(connection.bucket, key, origin))
        return
    named = quote(f"{bucket}/{source}") + (f"?versionId={quote(version, safe='')}" if version else "")
    headers = {"x-amz-copy-source": named, **({"x-amz-copy-source-if-match": f'"{etag}"'} if etag else {})}
    begun = connection.request("POST", key, frozenset({200}), query={"uploads": ""})
    upload = ElementTree.fromstring(begun.data).findtext("{*}UploadId") or ""
    # At most 10,000 parts: objects of up to 5 TiB.
    step = max(_PART, -(-size // 10_000))

    def send(number: int) -> str:
        start = (number - 1) * step
        span = {"x-amz-copy-source-range": f"bytes={start}-{min(size, start + step) - 1}"}
        query = {"partNumber": str(number), "uploadId": upload}
        answer = connection.request("PUT", key, frozenset({200}), query=query, headers=headers | span)
        found = ElementTree.fromstring(answer.data).findtext("{*}ETag")  # none where it fails after it has begun
        if not found:
            raise StorageError(
                f"s3://{connection.bucket}/{key}: part {number} was not copied ({answer.code}). Try again."
            )
        return found.strip('"')

    try:
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="nbkube-s3") as pool:
            etags = dict(enumerate(pool.map(send, range(1, -(-size // step) + 1)), 1))
        done = transfer.complete(connection, key, upload, etags, {})
        if done.status != 200:
            raise StorageError(
                f"s3://{connection.bucket}/{key}: the copy was not completed ({done.code or done.status})."
            )
    except BaseException:
        connection.request("DELETE", key, frozenset({204, 404}), query={"uploadId": upload})
        raise
