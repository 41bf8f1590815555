"""What is particular to the store in a folder."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbkube.errors import DamagedObjectError, NotFoundError, StorageError
from nbkube.storage import LocalStore, disk, open_store
from nbkube.storage.stamps import Stamps, stamp_of


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def blob(store: LocalStore, digest: str) -> Path:
    return store.path / "objects" / "sha256" / digest[:2] / digest


def test_looking_leaves_no_trace(store: LocalStore) -> None:
    assert not store.has("0" * 64)
    assert store.read("refs/x") is None
    assert list(store.list("runs/")) == list(store.folders("runs/")) == list(store.blobs()) == []
    store.remove("refs/x")
    assert not store.swap("refs/x", b"1", b"2")
    with pytest.raises(NotFoundError):
        store.get("0" * 64)
    assert not store.path.exists()


def test_the_folder_is_private_and_marked_as_a_cache(store: LocalStore) -> None:
    old = os.umask(0)
    try:
        digest = store.put(b"data")
        store.create("refs/x", b"1")
    finally:
        os.umask(old)
    for folder in [store.path, *(path for path in store.path.rglob("*") if path.is_dir())]:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(blob(store, digest).stat().st_mode) == 0o444
    assert stat.S_IMODE((store.path / "refs" / "x").stat().st_mode) == 0o600
    assert (store.path / ".gitignore").read_text() == "*\n"
    assert (store.path / "CACHEDIR.TAG").read_text().startswith("Signature: 8a477f597d28d172789f06886806bc55\n")


def test_known_content_costs_no_write(store: LocalStore, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    digest = store.put(data)
    (tmp_path / "file").write_bytes(data)
    before = {path: path.stat().st_mtime_ns for path in store.path.rglob("*")}
    again = LocalStore(store.path)
    assert again.put(data) == again.put(bytearray(data)) == again.put_file(tmp_path / "file") == digest
    assert {path: path.stat().st_mtime_ns for path in store.path.rglob("*") if path.name != "tmp"} == {
        path: moment for path, moment in before.items() if path.name != "tmp"
    }


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_stores_are_opened_by_path_and_url(tmp_path: Path, form: str) -> None:
    place = tmp_path / "with space"
    LocalStore(place).create("refs/x", b"1")
    text = form.format(place if form == "{}" else str(place).replace(" ", "%20"))
    assert open_store(text).read("refs/x") == b"1"
    assert open_store(open_store(text).url).read("refs/x") == b"1"


def test_an_unknown_kind_of_store_is_an_error() -> None:
    with pytest.raises(StorageError, match="no store is known for 'ftp:'"):
        open_store("ftp://host/path")


def test_left_overs_of_the_dead_go_after_an_hour(store: LocalStore) -> None:
    store.put(b"first")
    tmp = store.path / "tmp"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for name, age in {f"{dead.pid}-old": 4000, f"{dead.pid}-new": 10, f"{os.getpid()}-mine": 4000, "odd": 4000}.items():
        (tmp / name).write_bytes(b"x")
        os.utime(tmp / name, (time.time() - age,) * 2)
    LocalStore(store.path).put(b"second")
    assert sorted(path.name for path in tmp.iterdir()) == sorted([f"{dead.pid}-new", f"{os.getpid()}-mine"])


def test_a_store_removed_under_our_feet_is_made_anew(store: LocalStore) -> None:
    store.put(b"one")
    shutil.rmtree(store.path)
    assert store.get(store.put(b"two")) == b"two"
    shutil.rmtree(store.path)
    assert store.create("refs/x", b"1")
    store.append("runs/r/log", b"1")


def test_damage_that_changes_no_time_is_found_by_scrubbing(store: LocalStore) -> None:
    digest = store.put(b"good")
    path = blob(store, digest)
    path.chmod(0o600)
    path.write_bytes(b"evil")
    Stamps(store.path / "stamps").add(digest, stamp_of(path.stat()))  # as if the disk itself had changed a bit
    store = LocalStore(store.path)
    assert store.get(digest) == b"evil"
    with pytest.raises(DamagedObjectError, match=digest):
        store.scrub(digest)
    assert not store.has(digest)
    (aside,) = (store.path / "quarantine").iterdir()
    assert aside.read_bytes() == b"evil"
    assert aside.name.startswith(digest)


def test_blobs_are_listed_and_discarded(store: LocalStore) -> None:
    digests = sorted(store.put(b"%d" % number) for number in range(30))
    (store.path / "objects" / "sha256" / "00").mkdir(exist_ok=True)
    (store.path / "objects" / "sha256" / "00" / "foreign").touch()
    assert list(store.blobs()) == digests
    assert store.discard(digests[0])
    assert store.discard(digests[0]) is None
    assert list(store.blobs()) == digests[1:]


@pytest.mark.parametrize("content", [b"", b"\0" * 333, bytes(range(180)) * 2, b"x"], ids=len)
def test_lost_or_damaged_stamps_cost_only_time(store: LocalStore, content: bytes) -> None:
    digests = [store.put(b"%d" % number) for number in range(5)]
    (store.path / "stamps").write_bytes(content)
    store = LocalStore(store.path)
    assert [store.get(digest) for digest in digests] == [b"%d" % number for number in range(5)]
    blob(store, digests[0]).chmod(0o600)
    blob(store, digests[0]).write_bytes(b"!")
    with pytest.raises(DamagedObjectError):
        LocalStore(store.path).get(digests[0])


def test_stamps_of_other_processes_are_seen_and_the_file_stays_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nbkube.storage.stamps._COMPACT", 20)
    mine, theirs = Stamps(tmp_path / "stamps"), Stamps(tmp_path / "stamps")
    digests = [hashlib.sha256(b"%d" % number).hexdigest() for number in range(4)]
    for turn in range(100):
        digest = digests[turn % 4]
        mine.add(digest, (turn, 1, 2, 3))
        assert theirs.matches(digest, (turn, 1, 2, 3))
        assert not theirs.matches(digest, (turn + 1, 1, 2, 3))
    assert mine.matches(digests[3], (99, 1, 2, 3))
    assert (tmp_path / "stamps").stat().st_size < 72 * 60
    assert Stamps(tmp_path / "stamps").matches(digests[0], (96, 1, 2, 3))


def test_a_lock_that_is_never_given_up_is_an_error_in_words(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("refs/x", b"1")
    monkeypatch.setattr(disk, "_LOCK_SECONDS", 0.05)
    with disk.locked(store.path / "lock"), pytest.raises(StorageError, match="locked by another process"):
        store.write("refs/x", b"2")
    store.write("refs/x", b"3")
    assert store.read("refs/x") == b"3"


def test_a_disk_without_hard_links_works_too(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    digest = store.put(b"data")
    assert store.get(digest) == b"data"
    assert store.create("refs/x", b"1")
    assert not store.create("refs/x", b"2")
    assert store.read("refs/x") == b"1"


def test_a_name_cannot_be_record_and_folder(store: LocalStore) -> None:
    store.create("refs/x", b"1")
    for act in (lambda: store.create("refs/x/y", b"2"), lambda: store.create("refs", b"2")):
        with pytest.raises(StorageError, match="cannot also be the folder of other records"):
            act()
    assert store.read("refs/x/y") is None
    assert store.read("refs") is None


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_are_written_as_people_do(count: int, text: str) -> None:
    assert disk.readable_size(count) == text
