"""Files in a bucket, for people and for cells: keys are theirs, nothing of the store's layout is assumed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice
from typing import NoReturn

from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage.model import Buffer
from nbkube.storage.s3 import copying
from nbkube.storage.s3.access import check_bucket, key_fault
from nbkube.storage.s3.connection import PARALLEL, Bytes, Connection
from nbkube.storage.s3.listing import PAGE, Entry, Version, list_keys, list_page, list_versions
from nbkube.storage.s3.transfer import PART, Digests, Download, upload

Listed = tuple[str, int | None, float | None]


class Bucket:
    """A key in a bucket: "" for the bucket itself, ending in '/' for the files below a folder."""

    def __init__(self, bucket: str, key: str, connection: Connection | None = None) -> None:
        self.bucket = bucket
        self.key = key
        self._own = connection

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @cached_property
    def connection(self) -> Connection:
        """The way to the server, found when it is needed first."""
        return self._own or Connection(self.bucket)

    @property
    def folder(self) -> str:
        """The key as a prefix: "" or ending in '/'."""
        return self.key if not self.key or self.key.endswith("/") else self.key + "/"

    @property
    def object_key(self) -> str:
        """The key as that of an object; `LocationError` where it cannot be one."""
        return _checked(self.key)

    def below(self, name: str) -> Bucket:
        """Return the key with this name (a folder's if it ends in '/') in this folder."""
        _checked((self.folder + name).removesuffix("/"))
        return Bucket(self.bucket, self.folder + name, self.connection)

    def page(self, prefix: str, token: str, limit: int) -> tuple[Sequence[Listed], str]:
        """Return what is in the folder and begins with `prefix`, folders as one: a page, and the next one's token."""
        found, following = list_page(self.connection, self.folder + prefix, token, folders=True, limit=limit)
        entries: Sequence[Listed] = [
            (one.key, None if one.folder else one.size, one.time)
            for one in found
            if one.folder or one.key != self.folder  # no marker of the folder itself
        ]
        return sorted(entries, key=lambda one: one[0].encode("utf-8", "surrogatepass")), following

    def list(self, *, recursive: bool) -> Iterator[Listed]:
        """Yield key, size and time of the file itself or, for a folder, of what is in it; folders have no size."""
        if self.key and not self.key.endswith("/"):
            answer = self.connection.request("HEAD", self.key, frozenset({200, 404}))
            if answer.status == 200:
                yield self.key, int(answer.headers.get("content-length", 0)), timestamp(answer.headers["last-modified"])
                return
            self.connection.require_bucket()
        found = list_keys(self.connection, self.folder, folders=not recursive)
        entries = ((one.key, None if one.folder else one.size, one.time) for one in found)
        shown = (one for one in entries if one[1] is None or not one[0].endswith("/"))  # no markers of empty folders
        yield from shown if recursive else sorted(shown, key=lambda one: one[0].encode())

    def reader(self, part: int = PART) -> BucketReader:
        """Return a file to read from, with ranges fetched ahead."""
        return BucketReader(self.connection, _checked(self.key), part)

    def pieces(self) -> Iterator[bytes]:
        """Yield the file's content."""
        return iter(Download(self.connection, _checked(self.key)))

    def head(self, count: int, version: str = "") -> bytes:
        """Return the first bytes of the file, at most `count`."""
        query = {"versionId": version} if version else {}
        headers = {"Range": f"bytes=0-{count - 1}"}
        accept = frozenset({200, 206, 404, 416})
        answer = self.connection.request("GET", _checked(self.key), accept, query=query, headers=headers)
        if answer.status == 404:
            self._absent()
        return answer.data[:count] if answer.status in (200, 206) else b""

    def stat(self) -> dict[str, str]:
        """Return the file's headers in lower case: content-length, content-type, etag, last-modified, version …"""
        answer = self.connection.request("HEAD", _checked(self.key), frozenset({200, 404}))
        if answer.status == 404:
            self._absent()
        return dict(answer.headers)

    def exists(self) -> bool:
        """Tell whether there is such a file or, for a folder, anything below it."""
        if self.key.endswith("/"):
            return bool(list_page(self.connection, self.key, limit=1)[0])
        return self.connection.request("HEAD", _checked(self.key), frozenset({200, 404})).status == 200

    def _absent(self) -> NoReturn:
        self.connection.require_bucket()
        raise NotFoundError(f"{self}: there is no such object.")

    def versions(self) -> Sequence[Version]:
        """Return the versions that the bucket keeps of the file, the newest first."""
        return list_versions(self.connection, _checked(self.key))

    def restore(self, version: str) -> None:
        """Make an older version the newest one, as a copy."""
        key = _checked(self.key)
        answer = self.connection.request("HEAD", key, frozenset({200, 400, 404}), query={"versionId": version})
        if answer.status != 200 or not version:
            raise NotFoundError(f"{self}: there is no such version.")
        size = int(answer.headers.get("content-length", 0))
        copying.copy(self.connection, key, self.bucket, key, answer.etag, size, version)

    def make_folder(self) -> bool:
        """Make an empty folder: an object without content whose key ends in '/'. False where there is one."""
        key = _checked(self.folder.removesuffix("/")) + "/"
        if self.exists() if self.key.endswith("/") else Bucket(self.bucket, key, self.connection).exists():
            return False
        self.connection.request("PUT", key, frozenset({200}), body=Bytes(b""))
        return True

    def identity(self) -> tuple[str, int]:
        """Return ETag and size of the file."""
        answer = self.connection.request("HEAD", _checked(self.key), frozenset({200, 404}))
        if answer.status == 404:
            self.connection.require_bucket()
            raise NotFoundError(f"{self}: there is no such object.")
        return answer.etag, int(answer.headers.get("content-length", 0))

    def write(self, data: Buffer) -> None:
        """Write or replace the file."""
        self.connection.request("PUT", _checked(self.key), frozenset({200}), body=Bytes(data))

    def upload(self, handle: int, progress: Callable[[int], None]) -> int:
        """Write or replace the file with the content of an open file; return its size."""
        size = os.fstat(handle).st_size
        upload(self.connection, _checked(self.key), handle, Digests("", (), size), {}, {}, progress)
        return size

    def copy_from(self, source: Bucket, progress: Callable[[int], None]) -> int:
        """Write or replace the file with another one on the same server, which does the copying."""
        etag, size = source.identity()
        copying.copy(self.connection, _checked(self.key), source.bucket, source.key, etag, size)
        progress(size)
        return size

    def copy_folder_from(self, source: Bucket) -> int:
        """Copy all that is below another folder on the same server, empty folders too; return how many objects."""
        if (self.bucket, self.folder) == (source.bucket, source.folder) or (
            self.bucket == source.bucket and self.folder.startswith(source.folder)
        ):
            raise LocationError(f"{self} lies in {source}: a folder cannot be copied into itself.")

        def copy(entry: Entry) -> None:
            if entry.key.endswith("/") and not entry.size:  # some servers copy no marks of empty folders
                mark = self.folder + entry.key[len(source.folder) :]
                self.connection.request("PUT", mark, frozenset({200}), body=Bytes(b""))
                return
            key = self.folder + entry.key[len(source.folder) :]
            copying.copy(self.connection, key, source.bucket, entry.key, entry.etag, entry.size)

        count = 0
        with ThreadPoolExecutor(PARALLEL, thread_name_prefix="nbkube-s3") as pool:
            token = ""
            while True:
                entries, token = list_page(source.connection, source.folder, token)
                count += len(list(pool.map(copy, entries)))
                if not token:
                    return count

    def remove(self) -> int:
        """Remove the file."""
        self.identity()
        self.connection.request("DELETE", _checked(self.key), frozenset({200, 204}))
        return 1

    def remove_all(self) -> int:
        """Remove all files below the folder; return how many there were."""
        from minio.deleteobjects import DeleteObject

        count = 0
        while True:
            keys = [one.key for one in islice(list_keys(self.connection, self.folder), PAGE)]
            if not keys:
                return count
            todo = [DeleteObject(key) for key in keys]
            faults = self.connection.client_call(lambda client: list(client.remove_objects(self.bucket, todo)))  # noqa: B023
            if faults:
                raise StorageError(f"{self}: {faults[0].name} cannot be removed: {faults[0].code}.")
            count += len(keys)

    def make_bucket(self) -> bool:
        """Make the bucket; False where it is there already."""
        if self.connection.request("HEAD", "", frozenset({200, 404})).status == 200:
            return False
        self.connection.client_call(lambda client: client.make_bucket(self.bucket))
        return True

    def remove_bucket(self) -> int:
        """Remove the bucket, which must be empty."""
        self.connection.client_call(lambda client: client.remove_bucket(self.bucket))
        return 1


class BucketReader(io.RawIOBase):
    """Reads a file in a bucket from wherever it is asked to; going forward, ranges are fetched ahead in parallel."""

    def __init__(self, connection: Connection, key: str, part: int = PART) -> None:
        self._connection = connection
        self._key = key
        self._part = part
        self._position = 0
        self._piece = memoryview(b"")
        self._etag = ""
        self._begin(0)

    def _begin(self, position: int) -> None:
        download = Download(self._connection, self._key, position, parallel=PARALLEL, part=self._part)
        if self._etag and download.etag != self._etag:
            raise StorageError(
                f"s3://{self._connection.bucket}/{self._key} was replaced while it was read. Open it again."
            )
        self._etag, self.size = download.etag, download.size
        self._pieces = iter(download)
        self._piece, self._position, self._next = memoryview(b""), position, position

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that reading can go on elsewhere."""
        return True

    def readinto(self, buffer: memoryview | bytearray) -> int:  # type: ignore[override]
        """Fill a buffer as far as the piece at hand goes; 0 at the end."""
        if self._next != self._position:
            if self._position >= self.size:
                return 0
            self._begin(self._position)
        if not self._piece.nbytes:
            self._piece = memoryview(next(self._pieces, b""))
        count = min(len(buffer), self._piece.nbytes)
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        self._position += count
        self._next = self._position
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; nothing is asked of the server before the next read."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        """Return the place the next read begins at."""
        return self._position

    def close(self) -> None:
        """Let go of ranges that are being fetched."""
        self._pieces = iter(())
        self._piece = memoryview(b"")
        super().close()


def bucket_at(text: str, connect: Callable[[str], Connection] | None = None) -> Bucket:
    """Return the place that `BUCKET[/KEY]` names; without a bucket, all of them.

    `connect` gives the connection to a bucket; by default that which the environment names.
    """
    bucket, _, key = text.partition("/")
    if bucket or key:
        check_bucket(bucket)
    if key.rstrip("/"):
        _checked(key.rstrip("/") if key.endswith("/") else key)
    return Bucket(bucket, key, connect(bucket) if connect else None)


def list_buckets(connection: Connection) -> list[tuple[str, float | None]]:
    """Return name and time of making of all buckets that the credentials can see."""
    found = connection.client_call(lambda client: client.list_buckets())
    return sorted((one.name, one.creation_date.timestamp() if one.creation_date else None) for one in found)


def _checked(key: str) -> str:
    fault = "it is empty" if not key else key_fault(key)
    if fault:
        raise LocationError(f"{key[:200]!r} cannot be the key of an object: {fault}.")
    return key


def timestamp(text: str) -> float | None:
    """Return an HTTP date in seconds since 1970; None where the text is none."""
    import email.utils

    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError):
        return None
