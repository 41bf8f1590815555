"""Freeing what nobody needs: results and blobs that no run, reference or other record leads to.

Everything that lies in the store but results (`steps/`) and blobs is a root: runs, references, what is remembered.
Whatever looks like a digest in a root, or in a result that a root names, marks that blob; marking too much does no
harm. What runs that go on are about to need has been used lately: putting a blob that is there, or finding a result,
counts as use, and nothing used within the grace period is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec

from nbkube.errors import DamagedObjectError
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import checked, unsealed

SHORTEST_GRACE = 7200.0
"""The shortest grace period, in seconds, while runs go on: twice as long as a use counts as new."""

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_RESULT = re.compile(rb"steps/[0-9a-f]{64}/[0-9a-f]{64}\.json")
_AT_ONCE = 8
"""Requests to a store at the same time."""

_TREE = 16 << 20
"""Blobs that a reference leads to may be lists of other blobs up to this size in bytes."""


class Collected(msgspec.Struct, frozen=True):
    """What garbage collection has freed, or would free: results, blobs, bytes; and what it found damaged."""

    results: int = 0
    objects: int = 0
    bytes: int = 0
    kept_results: int = 0
    kept_objects: int = 0
    damaged: tuple[str, ...] = ()


def collect(store: ObjectStore, *, grace: float, dry_run: bool = False) -> Collected:
    """Remove results and blobs that nothing leads to and that have not been used for `grace` seconds."""
    # Listed before the roots are read: what is made meanwhile is no candidate.
    blobs = list(store.blobs())
    results = list(store.list("steps/"))

    def discard_result(name: str) -> int | None:
        return None if name in named else store.discard_record(name, grace, dry_run=dry_run)

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        marked, named = _roots(store, pool)
        gone = dict(zip(results, pool.map(discard_result, results), strict=True))
        for data in pool.map(store.read, [name for name, size in gone.items() if size is None]):
            marked |= _digests(data or b"")
        unmarked = [digest for digest in blobs if digest not in marked]
        sizes = [size for size in gone.values() if size is not None]
        count = len(sizes)
        freed = pool.map(lambda digest: store.discard(digest, grace, dry_run=dry_run), unmarked)
        sizes += [size for size in freed if size is not None]
        damaged = pool.map(lambda name: store.discard_record(name, grace, dry_run=dry_run), store.list("damaged/"))
        bytes_freed = sum(sizes) + sum(size or 0 for size in damaged) + store.discard_damaged(grace, dry_run=dry_run)
    objects = len(sizes) - count
    return Collected(count, objects, bytes_freed, len(results) - count, len(blobs) - objects)


def scrub(store: ObjectStore) -> Iterator[str]:
    """Read everything; yield a sentence for each blob and record whose bytes have changed (blobs are set aside)."""
    for digest in store.blobs():
        try:
            store.scrub(digest)
        except DamagedObjectError as error:
            yield str(error)
    for name in store.records():
        data = b"" if name.startswith("damaged/") else store.read(name) or b""
        if data and _is_sealed(name):
            if unsealed(data) is None:
                yield f"record {name} is damaged."
        elif name.startswith("runs/") and name.endswith(".jsonl"):
            lines = data[: data.rfind(b"\n") + 1].split(b"\n")
            lost = sum(1 for line in lines if line and checked(line) is None)
            if lost:
                yield f"record {name}: {lost} of {len(lines) - 1} lines are damaged."


def _is_sealed(name: str) -> bool:
    return name.startswith("steps/") or (name.startswith("runs/") and name.endswith(("/run.json", "/submission.json")))


def _roots(store: ObjectStore, pool: ThreadPoolExecutor) -> tuple[set[str], set[str]]:
    """Return the digests and the results that records lead to."""
    marked: set[str] = set()
    named: set[str] = set()
    skipped = ("steps/", "damaged/")
    names = [name for name in store.records() if not name.startswith(skipped) and "/live/" not in name]
    for name, record in zip(names, pool.map(store.read, names), strict=True):
        data = record or b""
        found = _digests(data)
        marked |= found
        named |= {one.decode() for one in _RESULT.findall(data)}
        if name.startswith("refs/") or (name.endswith("/run.json") and b'"submission"' in data):
            # A run on a cluster names what its pods were given, and that the project's files.
            marked |= _reached(store, found)
    return marked, named


def _reached(store: ObjectStore, first: set[str]) -> set[str]:
    """Return the blobs that lists of blobs lead to."""
    reached: set[str] = set()
    waiting = list(first)
    while waiting:
        digest = waiting.pop()
        if store.has(digest) and store.size(digest) <= _TREE:
            data = store.get(digest)
            if data[:1] in (b"{", b"["):
                new = _digests(data) - reached - first
                reached |= new
                waiting += new
    return reached


def _digests(data: bytes) -> set[str]:
    return {one.decode() for one in _DIGEST.findall(data)}
