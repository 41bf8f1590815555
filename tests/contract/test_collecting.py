"""Removing from a store what nobody has used for a while, while others use it. Ages are those of the real servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.runs.garbage import collect
from nbkube.storage import ObjectStore, folder
from nbkube.storage.s3 import records, uses
from tests import s3_servers
from tests.contract.conftest import BucketPlace, Place

UNUSED = 4.0
"""Seconds; servers tell the time of an object in whole ones."""

_TRIES = 5


@pytest.fixture(autouse=True)
def _short_periods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder, "_RENEW_SECONDS", 1.0)
    monkeypatch.setattr(uses, "FRESH_SECONDS", 1.0)


def wait_until(is_so: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.1)


def grow_old(store: ObjectStore, digest: str) -> None:
    wait_until(lambda: store.discard(digest, UNUSED, dry_run=True) is not None)


def in_time(act: Callable[[], Any]) -> Iterator[Any]:
    """Yield what comes of an act that tells nothing if it takes long; repeat it then."""
    for _ in range(_TRIES):
        started = time.monotonic()
        found = act()
        if time.monotonic() - started < UNUSED - 2:
            yield found
            return
    pytest.fail("this machine is too slow to tell")


def test_only_what_is_old_goes(place: Place) -> None:
    store = place.open()
    old, record = store.put(b"old"), "steps/a/old.json"
    store.create(record, b"{}")
    assert store.discard(old, 3600.0) is None
    assert store.discard_record(record, 3600.0) is None
    grow_old(store, old)
    wait_until(lambda: store.discard_record(record, UNUSED, dry_run=True) == 2)
    assert store.has(old)
    assert store.discard(old, UNUSED) == 3
    assert store.discard_record(record, UNUSED) == 2
    assert not store.has(old)
    assert store.read(record) is None
    assert not store.renew(record)
    assert store.discard(old, 0.0) is None
    assert list(store.records()) == []
    assert store.get(store.put(b"old")) == b"old"


def test_what_is_used_again_stays(place: Place) -> None:
    store = place.open()
    digest, record = store.put(b"used again"), "steps/a/used.json"
    store.create(record, b"{}")
    grow_old(store, digest)
    wait_until(lambda: store.discard_record(record, UNUSED, dry_run=True) is not None)

    def use_and_collect() -> tuple[int | None, int | None]:
        assert place.open().put(b"used again") == digest
        assert place.open().renew(record)
        return store.discard(digest, UNUSED), store.discard_record(record, UNUSED)

    assert list(in_time(use_and_collect)) == [(None, None)]
    assert store.get(digest) == b"used again"
    assert list(store.records()) == [record]
    grow_old(store, digest)  # a use does not last for ever
    assert store.discard(digest, UNUSED) is not None


def test_a_collection_keeps_what_records_lead_to(place: Place) -> None:
    store = place.open()
    model, lost = store.put(b"a model"), store.put(b"nobody's")
    assert store.swap("refs/models/m", None, f'{{"blob": "{model}"}}'.encode())
    store.append("runs/r/events/1.jsonl", b'{"event": "run-started"}\n', durable=True)
    grow_old(store, lost)
    grow_old(store, model)
    told = collect(store, grace=UNUSED, dry_run=True)
    assert (told.objects, told.bytes, told.kept_objects) == (1, 8, 1)
    assert collect(store, grace=UNUSED) == told
    assert list(store.blobs()) == [model]
    assert list(store.records()) == ["refs/models/m", "runs/r/events/1.jsonl"]


# -- in a bucket: the moments at which others may come in between ----------------------------------------------------


@pytest.fixture(params=s3_servers.KINDS)
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A place in a bucket; a folder has a lock, so there nothing comes in between."""
    return BucketPlace(tmp_path, request.param)


def before_delete(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have something done once, before the next object is deleted."""
    delete, done = records.delete, threading.Event()

    def interposed(connection: Any, key: str, etag: str = "") -> None:
        if "/objects/" in key and "/uses/" not in key and not done.is_set():
            done.set()
            act()
        delete(connection, key, etag)

    monkeypatch.setattr(records, "delete", interposed)


def test_who_comes_after_the_claim_makes_it_anew(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bucket.open()
    digest = store.put(b"contended")
    grow_old(store, digest)
    user = threading.Thread(target=lambda: bucket.open().put(b"contended"))
    before_delete(monkeypatch, user.start)
    assert store.discard(digest, UNUSED) == 9
    user.join()
    assert store.get(digest) == b"contended"


def test_who_comes_before_the_claim_keeps_it(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bucket.open()
    digest = store.put(b"contended")
    grow_old(store, digest)
    put, done = records.put, threading.Event()

    def interposed(connection: Any, key: str, data: bytes, condition: Any = None, *, kind: str = "") -> str | None:
        if kind and not done.is_set():
            done.set()
            bucket.open().put(b"contended")
        return put(connection, key, data, condition, kind=kind)

    monkeypatch.setattr(records, "put", interposed)
    assert store.discard(digest, UNUSED) is None
    assert done.is_set()
    assert store.get(digest) == b"contended"


def test_a_collector_that_was_held_up_removes_nothing(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bucket.open()
    digest = store.put(b"held up")
    grow_old(store, digest)
    monkeypatch.setattr(uses, "_REMOVE_SECONDS", 0.0)
    assert store.discard(digest, UNUSED) is None
    assert store.has(digest)


def test_a_claim_left_behind_blocks_nobody_for_ever(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bucket.open()
    digest = store.put(b"left behind")
    grow_old(store, digest)

    def die() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        before_delete(patched, die)
        with pytest.raises(KeyboardInterrupt):
            store.discard(digest, UNUSED)
    monkeypatch.setattr(uses, "_STALE_SECONDS", 1.0)
    assert bucket.open().put(b"left behind") == digest  # waits until the claim is stale, and takes it
    assert store.get(digest) == b"left behind"


def test_without_marks_something_just_found_would_go(bucket: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same user as above, but one that does not mark what it finds: the test sees the loss."""
    store = bucket.open()
    digest = store.put(b"contended")
    grow_old(store, digest)
    monkeypatch.setattr(uses.Uses, "renew", lambda *_: True)

    def use() -> None:
        bucket.open().put(b"contended")

    before_delete(monkeypatch, use)
    assert store.discard(digest, UNUSED) == 9
    assert not store.has(digest)
