"""`S3Store`: blobs and records in a bucket, with the layout of the folder store."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import chain
from pathlib import Path

from nbkube.errors import DamagedObjectError, NotFoundError
from nbkube.storage import disk
from nbkube.storage.cache import BlobCache, cache_folder, cache_limit
from nbkube.storage.model import Buffer
from nbkube.storage.names import check_digest, check_name, check_prefix, is_name
from nbkube.storage.s3 import records
from nbkube.storage.s3.access import parse_url
from nbkube.storage.s3.connection import Answer, Bytes, Connection
from nbkube.storage.s3.growing import SEPARATOR, Growing, growing_at
from nbkube.storage.s3.listing import list_keys
from nbkube.storage.s3.transfer import SINGLE, Digests, Download, digests_of, upload
from nbkube.storage.s3.uses import Uses

SHA256 = "x-amz-meta-nbkube-sha256"
_SMALL = 64 << 10
_IN_MEMORY = 8 << 20
_MAX_COPY = 5 << 30


class S3Store:
    """An `ObjectStore` at `s3://bucket/prefix` of the server that the AWS variables name (those of `environment`).

    Blobs carry their digest in their metadata, so that one HEAD tells a whole blob from an object that something else
    has written in its place; bytes are verified wherever they are read. `local_path` fetches into a folder that all
    processes of the user share (`cache.py`).

    Raises:
        LocationError: the URL or the settings are wrong. Nothing is asked of the server before the first use.
    """

    def __init__(self, url: str, environment: Mapping[str, str] | None = None) -> None:
        place = parse_url(url)
        self._prefix = place.prefix
        self._connection = Connection(place.bucket, environment)
        self.url = str(place).rstrip("/")

    def __repr__(self) -> str:
        return f"S3Store({self.url!r} at {self._connection.server.endpoint})"

    @property
    def _growing(self) -> Growing:
        return growing_at(self._connection, self._prefix)

    @property
    def _uses(self) -> Uses:
        return Uses(self._connection, self._prefix)

    @cached_property
    def _cache(self) -> BlobCache:
        return BlobCache(cache_folder(), cache_limit())

    # blobs

    def put(self, data: Iterable[Buffer] | Buffer) -> str:
        """Store bytes durably; return their digest. Known content costs one HEAD.

        A stream that is larger than 8 MiB goes through the local cache folder, since its key is known at its end.
        """
        if isinstance(data, bytes | bytearray | memoryview):
            return self._put_bytes(memoryview(data).cast("B"))
        begin = bytearray()
        chunks = iter(data)
        for chunk in chunks:
            begin += memoryview(chunk).cast("B")
            if len(begin) > _IN_MEMORY:
                break
        else:
            return self._put_bytes(memoryview(begin))
        return self._put_by_cache(chain([begin], chunks))

    def put_file(self, path: Path) -> str:
        """Store a file's content durably without holding it in memory; return its digest."""
        with disk.explained(path):
            try:
                handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise NotFoundError(f"{path}: there is no such file.") from None
            try:
                digests = digests_of(handle)
                self._put_open_file(handle, digests)
                return digests.whole
            finally:
                os.close(handle)

    def _put_bytes(self, view: memoryview) -> str:
        if view.nbytes > SINGLE:
            return self._put_by_cache([view])
        digest = hashlib.sha256(view).hexdigest()
        if view.nbytes > _SMALL and self._is_whole(digest, view.nbytes):
            return digest
        body = Bytes(view, digest)
        headers = {SHA256: digest, **records.ABSENT}
        while self._connection.request("PUT", self._blob(digest), _MADE, headers=headers, body=body).status != 200:
            if self._is_whole(digest, view.nbytes):
                break
        return digest

    def _put_by_cache(self, chunks: Iterable[Buffer]) -> str:
        """Store bytes by way of a file of the cache, which nobody changes and whose digest is known at its end."""
        digest, path = self._cache.add(chunks)
        with disk.explained(path), open(path, "rb", buffering=0) as file:
            self._put_open_file(file.fileno(), Digests(digest, (), os.fstat(file.fileno()).st_size))
        return digest

    def _put_open_file(self, handle: int, digests: Digests) -> None:
        key, headers = self._blob(digests.whole), {SHA256: digests.whole}
        if self._is_whole(digests.whole, digests.size):
            return
        while not upload(self._connection, key, handle, digests, headers, records.ABSENT):
            if self._is_whole(digests.whole, digests.size):
                return

    def has(self, digest: str) -> bool:
        """Tell whether a blob is there."""
        return records.head(self._connection, self._blob(check_digest(digest))) is not None

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes, verified; large ones come in several requests at a time."""
        download = self._download(digest)
        hashing, pieces = hashlib.sha256(), []
        for piece in download:  # hashed while the next ones are under way
            hashing.update(piece)
            pieces.append(piece)
        if hashing.hexdigest() != digest:
            self._set_aside(digest, download.etag)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def local_path(self, digest: str) -> Path:
        """Return a verified read-only local file with the blob's bytes, fetched if the cache folder has none."""
        path = self._cache.find(check_digest(digest))
        if path is not None:
            return path
        download = self._download(digest)
        found, path = self._cache.add(iter(download))
        if found != digest:
            self._cache.drop(found)
            self._set_aside(digest, download.etag)
        return path

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes."""
        answer = records.head(self._connection, self._blob(check_digest(digest)))
        if answer is None:
            raise self._absent(digest)
        return int(answer.headers["content-length"])

    def blobs(self) -> Iterator[str]:
        """Yield the digests of all blobs, sorted."""
        for key in self._keys(f"{self._prefix}objects/sha256/"):
            digest = key.rpartition("/")[2]
            if key == self._blob(digest) and len(digest) == 64:
                yield digest

    def discard(self, digest: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a blob not used for so many seconds; return the bytes freed (None: kept, or not there)."""
        return self._uses.discard(self._blob(check_digest(digest)), unused, dry_run=dry_run)

    def discard_record(self, name: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a record not used for so many seconds; return the bytes freed (None: kept, or not there)."""
        return self._uses.discard(self._record(name), unused, dry_run=dry_run)

    def discard_damaged(self, unused: float = 0.0, *, dry_run: bool = False) -> int:
        """Remove blobs set aside more than so many seconds ago; return the bytes freed."""
        found = self._keys(f"{self._prefix}quarantine/")
        return sum(self._uses.discard(key, unused, dry_run=dry_run) or 0 for key in found)

    def renew(self, name: str) -> bool:
        """Count a record as used now; False if it is not there."""
        return self._uses.renew(self._record(name))

    def scrub(self, digest: str) -> None:
        """Read a blob as a whole; raise `DamagedObjectError` if it is damaged."""
        download = self._download(digest)
        if _digest_of(download) != digest:
            self._set_aside(digest, download.etag)

    def _blob(self, digest: str) -> str:
        return f"{self._prefix}objects/sha256/{digest[:2]}/{digest}"

    def _download(self, digest: str) -> Download:
        try:
            return Download(self._connection, self._blob(check_digest(digest)))
        except NotFoundError as error:
            self._connection.require_bucket()
            raise self._absent(digest) from error

    def _absent(self, digest: str) -> NotFoundError:
        return NotFoundError(
            f"object {digest} is not in {self.url}. Run the notebook again: the step that makes it will run."
        )

    def _is_whole(self, digest: str, size: int) -> bool:
        """Tell whether a blob is there and undamaged; it then counts as used now.

        A damaged one is set aside, so that it can be written anew.
        """
        answer = records.head(self._connection, self._blob(digest))
        if answer is None:
            return False
        if answer.headers.get(SHA256) != digest or answer.headers.get("content-length") != str(size):
            try:  # written by something else: only its bytes tell
                self.scrub(digest)
            except (NotFoundError, DamagedObjectError):
                return False
        return self._uses.renew(self._blob(digest), answer)

    def _set_aside(self, digest: str, etag: str) -> None:
        """Move one version of a damaged blob away and say so."""
        key, target = self._blob(digest), f"{self._prefix}quarantine/{digest}.{time.time_ns()}"
        answer = records.head(self._connection, key)
        if answer is not None and answer.etag == etag:
            if int(answer.headers["content-length"]) <= _MAX_COPY:
                self._copy(key, target, answer)
            records.delete(self._connection, key, etag)
        raise DamagedObjectError(
            f"object {digest} in {self.url} was damaged: its bytes no longer match its digest. It has been set aside "
            f"as {target.removeprefix(self._prefix)}. Run the notebook again: only the step that made it will run."
        )

    def _copy(self, key: str, target: str, answer: Answer) -> None:
        from minio.commonconfig import CopySource

        bucket = self._connection.bucket
        source = CopySource(bucket, key, match_etag=answer.etag)
        self._connection.client_call(lambda client: client.copy_object(bucket, target, source))

    # records

    def records(self) -> Iterator[str]:
        """Yield the names of all records, in the order of their UTF-8 bytes."""
        self._growing.flush(self._prefix)
        for folder in sorted({one.key for one in list_keys(self._connection, self._prefix, folders=True)}):
            name = folder[len(self._prefix) :]
            if name.endswith("/") and is_name(name[:-1]):
                yield from self.list(name)
            elif is_name(name):
                yield name

    def create(self, name: str, data: bytes) -> bool:
        """Write a record that must not exist yet, durably; False if it exists (nothing is changed)."""
        key = self._record(name)
        self._growing.flush(key)
        return records.create(self._connection, key, data) is not None

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a record atomically (last writer wins); for advisory records only."""
        key = self._record(name)
        self._growing.forget(key)
        records.put(self._connection, key, data)
        # Where the bytes are those of a growing record's beginning, readers tell the two apart by its parts alone.
        self._growing.remove_parts(key)

    def append(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Add to the end of a record; what is not `durable` is sent within about a second, or at the process's end."""
        self._growing.append(self._record(name), data, durable=durable)

    def flush(self, name: str) -> None:
        """Send what appends to a record have held back."""
        self._growing.flush(self._record(name))

    def read(self, name: str, start: int = 0) -> bytes | None:
        """Return a record from a byte on, or None."""
        return self._growing.read(self._record(name), start)

    def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Compare-and-swap a record (None = absent); False if it was not `old`."""
        key = self._record(name)
        if old is None:
            return self.read(name) is None if new is None else self.create(name, new)
        self._growing.flush(key)
        found = records.get(self._connection, key)
        if found is None or found.kind == records.GONE:
            return False
        if (self.read(name) if found.kind else found.data) != old:
            return False
        if new is None:
            swapped = records.remove_if(self._connection, key, found.etag)
        else:
            swapped = records.put(self._connection, key, new, records.matching(found.etag)) is not None
        if swapped and found.kind:
            self._growing.forget(key)
            self._growing.remove_parts(key)
        return swapped

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names of records below a prefix that ends in '/', in the order of their UTF-8 bytes."""
        place = self._prefix + check_prefix(prefix)
        self._growing.flush(place)
        for key in self._keys(place):
            name = key[len(self._prefix) :]
            if is_name(name):
                yield name

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the sorted names of the folders of records directly below a prefix that ends in '/'."""
        place = self._prefix + check_prefix(prefix)
        self._growing.flush(place)
        for one in sorted(
            {one.key for one in list_keys(self._connection, place, folders=True) if one.folder}, key=str.encode
        ):
            name = one[len(place) : -1]
            if is_name(prefix + name):
                yield name

    def remove(self, name: str) -> None:
        """Remove a record; nothing happens where there is none."""
        key = self._record(name)
        self._growing.forget(key)
        records.delete(self._connection, key)
        self._growing.remove_parts(key)

    def _record(self, name: str) -> str:
        return self._prefix + check_name(name)

    def _keys(self, place: str) -> Iterator[str]:
        """Yield the keys below a place in order, page by page; parts and gravestones left out."""
        for one in list_keys(self._connection, place):
            if SEPARATOR in one.key or (one.size == len(records.GRAVESTONE) and self._is_gone(one.key)):
                continue
            yield one.key

    def _is_gone(self, key: str) -> bool:
        found = records.look(self._connection, key)
        return found is None or found.kind == records.GONE


_MADE = frozenset({200, 412})


def _digest_of(pieces: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
