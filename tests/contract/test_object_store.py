"""What every ObjectStore must do. Nothing here knows which implementation it runs on."""

from __future__ import annotations

import hashlib
import multiprocessing
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbkube.errors import DamagedObjectError, NotFoundError, StorageError
from nbkube.runs import Live, Recorder, Run, RunStore, RunUnit, new_run_id
from nbkube.runs.watch import watch
from nbkube.storage import ObjectStore, open_store
from tests.contract.conftest import Place

ABSENT = "0" * 64


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# blobs


@pytest.mark.parametrize("data", [b"", b"x", b"ab" * 50_000, bytes(3 << 20)], ids=["empty", "one", "100k", "3M"])
def test_a_blob_comes_back_as_it_went_in(place: Place, data: bytes) -> None:
    digest = place.open().put(data)
    assert digest == digest_of(data)
    store = place.open()
    assert store.has(digest)
    assert store.size(digest) == len(data)
    assert store.get(digest) == data
    assert store.local_path(digest).read_bytes() == data


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_can_be_put(store: ObjectStore, kind: type) -> None:
    assert store.put(kind(b"some bytes")) == digest_of(b"some bytes")


def test_a_buffer_of_wide_items_is_stored_as_its_bytes(store: ObjectStore) -> None:
    wide = memoryview(bytes(range(64))).cast("I")
    assert store.get(store.put(wide)) == bytes(range(64))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chunks=st.lists(st.binary(max_size=2000), max_size=8))
def test_chunks_are_concatenated(store: ObjectStore, chunks: list[bytes]) -> None:
    digest = store.put(iter(chunks))
    assert digest == digest_of(b"".join(chunks))
    assert store.get(digest) == b"".join(chunks)


def test_a_producer_may_reuse_its_buffer(store: ObjectStore) -> None:
    def produce() -> Iterator[memoryview]:
        buffer = bytearray(2 << 20)
        for number in range(6):
            buffer[:] = bytes([number]) * len(buffer)
            yield memoryview(buffer)

    expected = b"".join(bytes([number]) * (2 << 20) for number in range(6))
    assert store.put(produce()) == digest_of(expected)
    assert store.get(digest_of(expected)) == expected


def test_a_producer_that_fails_leaves_nothing(store: ObjectStore) -> None:
    def produce() -> Iterator[bytes]:
        yield b"first half"
        raise LookupError("producer broke")

    with pytest.raises(LookupError, match="producer broke"):
        store.put(produce())
    assert not store.has(digest_of(b"first half"))


def test_a_large_stream_needs_little_memory(store: ObjectStore) -> None:
    piece = bytes(1 << 20)
    tracemalloc.start()
    try:
        digest = store.put(piece for _ in range(96))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert store.size(digest) == 96 << 20
    assert peak < 24 << 20


def test_a_large_file_needs_little_memory(store: ObjectStore, tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.seek((96 << 20) - 1)
        file.write(b"!")
    tracemalloc.start()
    try:
        digest = store.put_file(path)
        again = store.put_file(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert digest == again == digest_of(path.read_bytes())
    assert peak < 24 << 20


def test_a_file_that_is_not_there(store: ObjectStore, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="missing"):
        store.put_file(tmp_path / "missing")


def test_what_is_not_there_is_said_so(store: ObjectStore) -> None:
    assert not store.has(ABSENT)
    for ask in (store.get, store.size, store.local_path):
        with pytest.raises(NotFoundError, match=ABSENT):
            ask(ABSENT)


@pytest.mark.parametrize("digest", ["", "..", "A" * 64, "0" * 63, "0" * 65, "../" + "0" * 61, "0" * 64 + "\n"])
def test_what_is_no_digest_is_refused(store: ObjectStore, digest: str) -> None:
    for ask in (store.has, store.get, store.size, store.local_path):
        with pytest.raises(StorageError, match="digest"):
            ask(digest)


def test_many_writers_of_one_blob(place: Place) -> None:
    data = bytes(range(256)) * 5000
    with ThreadPoolExecutor(20) as pool:
        digests = set(pool.map(lambda _: place.open().put(data), range(20)))
    assert digests == {digest_of(data)}
    assert place.open().get(digest_of(data)) == data


# damage


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("way", ["get", "local_path"])
def test_every_damage_is_noticed_named_and_healed(place: Place, way: str) -> None:
    data = bytes(range(256)) * 8
    digest = place.open().put(data)
    damaged = [_flip(data, bit) for bit in range(0, len(data) * 8, 401)] + [data[:-1], data + b"x", b""]
    for bad in damaged:
        store = place.open()
        assert store.get(digest) == data
        place.damage(digest, bad)
        with pytest.raises(DamagedObjectError, match=digest):
            getattr(store, way)(digest)
        assert not store.has(digest)
        assert store.put(data) == digest


def test_put_heals_a_damaged_blob(place: Place) -> None:
    digest = place.open().put(b"good bytes")
    place.damage(digest, b"evil bytes")
    assert place.open().put(b"good bytes") == digest
    assert place.open().get(digest) == b"good bytes"


def test_an_untouched_copy_with_new_times_is_whole(place: Place) -> None:
    digest = place.open().put(b"good bytes")
    place.damage(digest, b"good bytes")
    assert place.open().get(digest) == b"good bytes"


# records


def test_a_record_is_created_once(place: Place) -> None:
    assert place.open().read("steps/k/p.json") is None
    assert place.open().create("steps/k/p.json", b"first")
    assert not place.open().create("steps/k/p.json", b"second")
    assert place.open().read("steps/k/p.json") == b"first"


def test_write_replaces(place: Place) -> None:
    place.open().write("runs/r/state", b"one")
    place.open().write("runs/r/state", b"two")
    assert place.open().read("runs/r/state") == b"two"


def test_remove(store: ObjectStore) -> None:
    store.create("refs/models/a", b"1")
    store.create("refs/models/b", b"2")
    store.remove("refs/models/a")
    store.remove("refs/models/a")
    store.remove("refs/never/was")
    assert store.read("refs/models/a") is None
    assert store.read("refs/models/b") == b"2"
    assert store.create("refs/models/a", b"3")


def test_swap(store: ObjectStore) -> None:
    assert not store.swap("refs/x", b"old", b"new")
    assert store.swap("refs/x", None, b"1")
    assert not store.swap("refs/x", None, b"2")
    assert not store.swap("refs/x", b"2", b"3")
    assert store.swap("refs/x", b"1", b"4")
    assert store.read("refs/x") == b"4"
    assert not store.swap("refs/x", b"1", None)
    assert store.swap("refs/x", b"4", None)
    assert store.read("refs/x") is None
    assert store.swap("refs/x", None, None)


def test_listing_is_sorted_by_whole_names(store: ObjectStore) -> None:
    names = ["steps/a/1", "steps/a-b", "steps/a/sub/0", "steps/B", "steps/z/é", "steps/z/\U0001f600", "steps/z/\uffee"]
    for name in names:
        store.create(name, b"")
    store.create("steps2/other", b"")
    store.put(b"a blob is no record")
    assert list(store.list("steps/")) == sorted(names, key=str.encode)
    assert list(store.list("steps/a/")) == ["steps/a/1", "steps/a/sub/0"]
    assert list(store.list("nothing/here/")) == []


BAD_NAMES = [
    "", "/", "/etc/passwd", "a//b", "a/", "../up", "a/../b", "a/./b", "a/..", ".", "..", "objects/sha256/ab/x", "tmp/x",
    "quarantine/x", "stamps", "lock", "A/x", ".hidden", "a/b\x00c", "a/b\nc", "a\\b", "a/" + "x" * 256,
    "a/" + "\u00e9" * 128, "a/" + "/".join(["x" * 200] * 5), "a/\udcff",
]  # fmt: skip


@pytest.mark.parametrize("name", BAD_NAMES, ids=range(len(BAD_NAMES)))
def test_bad_names_are_refused(store: ObjectStore, name: str) -> None:
    for act in (
        lambda: store.create(name, b"x"),
        lambda: store.write(name, b"x"),
        lambda: store.read(name),
        lambda: store.swap(name, None, b"x"),
        lambda: store.remove(name),
        lambda: list(store.list(name + "/")),
    ):
        with pytest.raises(StorageError):
            act()


@pytest.mark.parametrize("prefix", ["steps", "steps/a", "/", ""])
def test_a_listing_needs_a_folder(store: ObjectStore, prefix: str) -> None:
    with pytest.raises(StorageError, match="must end in '/'|name a record"):
        list(store.list(prefix))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    segment=st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\"), min_size=1, max_size=40),
    data=st.binary(max_size=300),
)
def test_any_decent_text_can_name_a_record(store: ObjectStore, segment: str, data: bytes) -> None:
    if segment in (".", ".."):
        return
    name = f"refs/{segment}"
    store.write(name, data)
    assert store.read(name) == data
    assert name in list(store.list("refs/"))


# many at once


def _create(url: str, barrier: threading.Barrier, number: int, winners: list[int]) -> None:
    store = open_store(url)
    barrier.wait(60)
    if store.create("steps/race/one", b"%d" % number * 1000):
        winners.append(number)


def test_one_of_many_threads_creates(place: Place) -> None:
    barrier = threading.Barrier(20)
    winners: list[int] = []
    url = place.open().url
    threads = [threading.Thread(target=_create, args=(url, barrier, number, winners)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(winners) == 1
    assert place.open().read("steps/race/one") == b"%d" % winners[0] * 1000


def _create_in_process(url: str, number: int, start: str) -> int:
    store = open_store(url)
    while not Path(start).exists():
        time.sleep(0.001)
    wins = 0
    for record in range(30):
        wins += store.create(f"steps/race/{record}", b"%d" % number * 5000)
    return wins


def test_processes_race_for_thirty_records(place: Place, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = tmp_path / "start"
    with context.Pool(4) as pool:
        asked = [pool.apply_async(_create_in_process, (place.open().url, number, str(start))) for number in range(4)]
        start.touch()
        wins = [one.get(60) for one in asked]
    assert sum(wins) == 30
    store = place.open()
    for record in range(30):
        assert store.read(f"steps/race/{record}") in [b"%d" % number * 5000 for number in range(4)]


def test_swap_counts_every_increment(place: Place) -> None:
    place.open().create("refs/count", b"0")

    def increase(_: int) -> None:
        store = place.open()
        done = 0
        while done < 10:
            old = store.read("refs/count")
            assert old is not None
            done += store.swap("refs/count", old, b"%d" % (int(old) + 1))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increase, range(8)))
    assert place.open().read("refs/count") == b"80"


def test_a_reader_never_sees_half_a_record(place: Place) -> None:
    versions = [bytes([number]) * 20_000 for number in range(4)]
    stop = threading.Event()
    place.open().write("runs/r/state", versions[0])

    def keep_writing() -> None:
        store = place.open()
        while not stop.is_set():
            for version in versions:
                store.write("runs/r/state", version)

    thread = threading.Thread(target=keep_writing)
    thread.start()
    try:
        reader = place.open()
        assert all(reader.read("runs/r/state") in versions for _ in range(300))
    finally:
        stop.set()
        thread.join(60)


# growing records


def test_a_record_grows_piece_by_piece(place: Place) -> None:
    for number in range(20):
        place.open().append("runs/r/log", b"%d\n" % number, durable=number % 3 == 0)
        assert place.open().read("runs/r/log") == b"".join(b"%d\n" % one for one in range(number + 1))
    assert place.open().read("runs/r/log", 20) == b"10\n11\n12\n13\n14\n15\n16\n17\n18\n19\n"
    assert place.open().read("runs/r/log", 10_000) == b""
    assert place.open().read("runs/r/none", 3) is None
    assert list(place.open().list("runs/")) == ["runs/r/log"]
    place.open().remove("runs/r/log")
    assert place.open().read("runs/r/log") is None


def elsewhere(act: Callable[[], Any]) -> Any:
    """Return what a function returns in another process, which knows nothing of what this one holds back."""
    ours, theirs = multiprocessing.get_context("fork").Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=lambda: theirs.send(act()))
    process.start()
    theirs.close()
    found = ours.recv()  # EOFError if the function has failed
    process.join()
    return found


def test_others_see_what_is_flushed(place: Place) -> None:
    store = place.open()
    store.append("runs/r/log", b"one\n", durable=True)
    store.append("runs/r/log", b"two\n")
    store.flush("runs/r/log")
    store.flush("runs/r/log")  # nothing is held back any more
    store.flush("runs/r/none")
    assert elsewhere(lambda: place.open().read("runs/r/log")) == b"one\ntwo\n"
    assert list(store.list("runs/")) == ["runs/r/log"]


def test_who_follows_a_run_sees_all_that_a_quick_step_shows(place: Place) -> None:
    run = Run(new_run_id(), time.time(), "nb.ipynb", units=(RunUnit("a"),))
    RunStore(place.open()).create(run)
    recorder = Recorder(place.open(), run)
    recorder({"event": "started", "step": "a"})
    recorder({"event": "log", "step": "a", "text": "quick\n", "stream": "stdout"})
    recorder({"event": "step-ended", "step": "a", "phase": "Succeeded"})
    recorder({"event": "run-ended", "phase": "Succeeded"})
    followed = elsewhere(lambda: list(watch(place.open(), run)))
    shown = [one.text if isinstance(one, Live) else one.event for one in followed]
    assert shown == ["started", "quick\n", "step-ended", "run-ended"]


@pytest.mark.parametrize("data", [b"", b"first", b"other"])
def test_a_record_that_grew_is_replaced_as_a_whole(place: Place, data: bytes) -> None:
    """Also by the very bytes that it began with, which only its further pieces tell apart."""
    for beginning in (data, b"first"):
        place.open().append("runs/r/log", beginning, durable=True)
        place.open().append("runs/r/log", b" and more", durable=True)
        place.open().write("runs/r/log", data)
        assert place.open().read("runs/r/log") == data
        place.open().remove("runs/r/log")


def test_folders_of_records(store: ObjectStore) -> None:
    for name in ("runs/b/1", "runs/a/x/2", "runs/a/y", "runs/c", "runsy/z/1"):
        store.create(name, b"")
    assert list(store.folders("runs/")) == ["a", "b"]
    assert list(store.folders("runs/a/")) == ["x"]
    assert list(store.folders("none/")) == []
    store.remove("runs/b/1")
    assert list(store.folders("runs/")) == ["a"]
