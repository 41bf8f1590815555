"""The store as its users see it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

Buffer = bytes | bytearray | memoryview


@runtime_checkable
class ObjectStore(Protocol):
    """Content-addressed blobs plus small named records, the same layout in a folder and in a bucket.

    `objects/sha256/ab/<digest>` write-once blobs; all other names are records. Digests are lower-case hex sha256.
    Raises `StorageError` when the store cannot be reached or is full, `DamagedObjectError` when bytes read do not
    match their digest (the object is set aside first), `LocationError` (also a `StorageError`) for a name that no
    store takes, `NotFoundError` for what is not there.
    """

    url: str

    def put(self, data: Iterable[Buffer] | Buffer) -> str:
        """Store bytes durably (chunks are concatenated); return their digest. Known content costs no write."""

    def put_file(self, path: Path) -> str:
        """Store a file's content durably without holding it in memory; return its digest."""

    def has(self, digest: str) -> bool:
        """Tell whether a blob is there."""

    def get(self, digest: str) -> bytes:
        """Return a blob's bytes, verified."""

    def local_path(self, digest: str) -> Path:
        """Return a verified read-only local file with the blob's bytes, fetched if need be; for mapping."""

    def size(self, digest: str) -> int:
        """Return a blob's size in bytes."""

    def create(self, name: str, data: bytes) -> bool:
        """Write a record that must not exist yet, durably; False if it exists (nothing is changed)."""

    def write(self, name: str, data: bytes) -> None:
        """Write or replace a record atomically (last writer wins); for advisory records only."""

    def append(self, name: str, data: bytes, *, durable: bool = False) -> None:
        """Add to the end of a record that one writer at a time makes piece by piece.

        Readers see a beginning of it. What is not `durable` survives the end of the process, not a power cut; a crash
        may leave a part of the last piece. In a bucket it is held back for about a second, or until 64 KiB have
        gathered, a durable piece comes, it is flushed or the process ends; a process that is killed loses what it
        held back.
        """

    def flush(self, name: str) -> None:
        """Show to others now what has been appended to a record; that alone does not make it durable."""

    def read(self, name: str, start: int = 0) -> bytes | None:
        """Return a record from a byte on, or None."""

    def swap(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Compare-and-swap a record (None = absent); False if it was not `old`."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the names of records below a prefix that ends in '/', in sorted order."""

    def folders(self, prefix: str) -> Iterator[str]:
        """Yield the sorted names of the folders of records directly below a prefix that ends in '/'."""

    def remove(self, name: str) -> None:
        """Remove a record; nothing happens where there is none."""

    # What nobody needs goes. Whatever is put, or renewed, counts as used at that moment. The methods that remove take
    # the time in seconds for which a thing must not have been used, judge and remove in one step, and return the bytes
    # freed (None: it was kept, or is not there). With `dry_run` they only tell.

    def blobs(self) -> Iterator[str]:
        """Yield the digests of all blobs."""

    def records(self) -> Iterator[str]:
        """Yield the names of all records."""

    def renew(self, name: str) -> bool:
        """Count a record as used now; False if it is not there (any more)."""

    def discard(self, digest: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a blob."""

    def discard_record(self, name: str, unused: float = 0.0, *, dry_run: bool = False) -> int | None:
        """Remove a record."""

    def discard_damaged(self, unused: float = 0.0, *, dry_run: bool = False) -> int:
        """Remove the blobs that were set aside because they were damaged."""

    def scrub(self, digest: str) -> None:
        """Read a blob as a whole; raise `DamagedObjectError` if it is damaged (it is set aside first)."""
