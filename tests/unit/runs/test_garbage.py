"""Garbage collection frees what nothing leads to, and nothing that somebody may be about to need."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from nbkube.runs import Run, RunEvent, RunStore, RunUnit
from nbkube.runs.garbage import collect, scrub
from nbkube.runtime import cache
from nbkube.runtime.program import SCHEMA, StepManifest
from nbkube.state.model import FileDiff, FileEntry, FileReads, OutputRef
from nbkube.storage import LocalStore

DAY = 86400.0
KEY = "a" * 64


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def keep(store: LocalStore, proof: str, *contents: bytes) -> str:
    """Store a result with some outputs and a file; return its record's name."""
    blobs = [store.put(one) for one in contents]
    manifest = StepManifest(
        schema=SCHEMA,
        key=KEY,
        units=("u",),
        attempt="a",
        outputs={f"v{at}": OutputRef("blob", "1", blob) for at, blob in enumerate(blobs[1:])},
        reads={},
        touched=(),
        files=FileReads(),
        diff=FileDiff(changed=(FileEntry("made.txt", digest=blobs[0]),)),
        distributions={},
    )
    name = f"steps/{KEY}/{proof * 64}.json"
    assert store.create(name, cache.encode_manifest(manifest))
    return name


def age(store: LocalStore, seconds: float = 30 * DAY) -> None:
    """Make everything look as if it had not been used for a while."""
    for path in store.path.rglob("*"):
        os.utime(path, (time.time() - seconds, time.time() - seconds))


def record(store: LocalStore, manifest: str) -> str:
    runs = RunStore(store)
    run = Run("20260101-000000-aaaaaa", 1.0, "nb.ipynb", units=(RunUnit("u"),))
    runs.create(run)
    runs.append(run.id, RunEvent("step-ended", step="u", manifest=manifest))
    return run.id


def test_what_no_run_leads_to_is_freed(store: LocalStore) -> None:
    kept, lost = keep(store, "1", b"kept file", b"kept value"), keep(store, "2", b"lost file", b"lost value")
    run = record(store, kept)
    age(store)
    told = collect(store, grace=DAY, dry_run=True)
    assert (told.results, told.objects) == (1, 2)
    assert store.read(lost) is not None
    assert collect(store, grace=DAY) == told
    assert list(store.list("steps/")) == [kept]
    assert sorted(map(store.get, store.blobs())) == [b"kept file", b"kept value"]
    RunStore(store).remove(run)
    assert collect(store, grace=DAY).results == 1
    assert [*store.blobs(), *store.records()] == []


def test_what_a_reference_leads_to_stays(store: LocalStore) -> None:
    leaf = store.put(b"a part of a model")
    tree = store.put(msgspec.json.encode({"files": [{"path": "model", "sha256": leaf}]}))
    store.create("refs/models/m", msgspec.json.encode({"tree": tree}))
    store.put(b"nobody's")
    age(store)
    assert collect(store, grace=DAY).objects == 1
    assert set(store.blobs()) == {leaf, tree}


def test_what_was_put_again_or_found_lately_stays(store: LocalStore) -> None:
    name = keep(store, "1", b"file", b"value")
    again = store.put(b"made before, and made again by a run that goes on")
    age(store)
    LocalStore(store.path).put(b"made before, and made again by a run that goes on")
    assert cache.find(store, KEY, {}, lambda _: None, lambda _: {}) is not None
    assert collect(store, grace=DAY).bytes == 0
    assert store.has(again)
    age(store)
    assert collect(store, grace=DAY).objects == 3
    assert store.read(name) is None


def test_a_record_that_was_removed_is_not_found(store: LocalStore) -> None:
    name = keep(store, "1", b"file")
    assert store.discard_record(name)
    assert not store.renew(name)
    assert cache.find(store, KEY, {}, lambda _: None, lambda _: {}) is None


def test_scrubbing_names_every_damage(store: LocalStore) -> None:
    name = keep(store, "1", b"file", b"value")
    run = record(store, name)
    assert list(scrub(store)) == []
    flip(store.path / name)
    flip(store.path / f"runs/{run}/run.json")
    (events,) = store.list(f"runs/{run}/events/")
    flip(store.path / events)
    blob = next(store.blobs())
    flip(store.path / "objects" / "sha256" / blob[:2] / blob)
    damage = "\n".join(scrub(store))
    for one in (name, f"runs/{run}/run.json", events, blob):
        assert one in damage
    assert not store.has(blob)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
