"""Freeing what nobody needs: results and blobs that no run, reference or other record leads to.

Everything that lies in the store but results (`steps/`) and blobs is a root: runs, references, what is remembered.
Whatever looks like a digest in a root, or in a result that a root names, marks that blob; marking too much does no
harm. What runs that go on are about to need has been used lately: putting a blob that is there, or finding a result,
counts as use, and nothing used within the grace period is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from nbkube.errors import DamagedObjectError
from nbkube.storage.model import CollectableStore
from nbkube.storage.seal import checked, unsealed

SHORTEST_GRACE = 7200.0
"""The shortest grace period, in seconds, while runs go on: twice as long as a use counts as new."""

_DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_RESULT = re.compile(rb"steps/[0-9a-f]{64}/[0-9a-f]{64}\.json")
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


def collect(store: CollectableStore, *, grace: float, dry_run: bool = False) -> Collected:
    """Remove results and blobs that nothing leads to and that have not been used for `grace` seconds."""
    # Listed before the roots are read: what is made meanwhile is no candidate.
    blobs = list(store.blobs())
    results = list(store.list("steps/"))
    marked, named = _roots(store)
    sizes: list[int] = []
    for name in results:
        size = None if name in named else store.discard_record(name, grace, dry_run=dry_run)
        if size is None:
            marked |= _digests(store.read(name) or b"")
        else:
            sizes.append(size)
    count = len(sizes)
    for digest in blobs:
        size = None if digest in marked else store.discard(digest, grace, dry_run=dry_run)
        sizes += [] if size is None else [size]
    objects = len(sizes) - count
    freed = sum(sizes) + store.discard_damaged(grace, dry_run=dry_run)
    freed += sum(store.discard_record(name, grace, dry_run=dry_run) or 0 for name in store.list("damaged/"))
    return Collected(count, objects, freed, len(results) - count, len(blobs) - objects)


def scrub(store: CollectableStore) -> Iterator[str]:
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


def _roots(store: CollectableStore) -> tuple[set[str], set[str]]:
    """Return the digests and the results that records lead to."""
    marked: set[str] = set()
    named: set[str] = set()
    for name in store.records():
        if name.startswith(("steps/", "damaged/")) or "/live/" in name:
            continue
        data = store.read(name) or b""
        found = _digests(data)
        marked |= found
        named |= {one.decode() for one in _RESULT.findall(data)}
        if name.startswith("refs/") or (name.endswith("/run.json") and b'"submission"' in data):
            # A run on a cluster names what its pods were given, and that the project's files.
            marked |= _reached(store, found)
    return marked, named


def _reached(store: CollectableStore, first: set[str]) -> set[str]:
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
