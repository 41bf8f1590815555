"""Exported files land in the folder that was named, and nothing of the user's is touched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nbkube.errors import StateError
from nbkube.state.export import export
from nbkube.state.model import FileDiff, FileEntry
from nbkube.storage import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def entry(store: LocalStore, path: str, data: bytes = b"data", mode: int = 0o644) -> FileEntry:
    return FileEntry(path, mode=mode, digest=store.put(data), size=len(data))


def test_files_folders_and_links_are_written(store: LocalStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    diff = FileDiff(
        changed=(
            entry(store, "m/model.pkl", b"model"),
            entry(store, "tool", mode=0o755),
            entry(store, "locked", mode=0o000),
            FileEntry("empty", "folder"),
            FileEntry("m/latest", "link", target="model.pkl"),
            FileEntry("m/out", "link", target="../../secret"),
            FileEntry("abs", "link", target="/etc/passwd"),
        ),
        removed=("gone",),
    )
    written = export(diff, out, store)
    assert sorted(str(path.relative_to(out)) for path in written) == ["locked", "m/latest", "m/model.pkl", "tool"]
    assert (out / "m" / "latest").read_bytes() == b"model"
    assert os.access(out / "tool", os.X_OK)
    assert (out / "empty").is_dir()
    assert not os.path.lexists(out / "abs")
    assert not os.path.lexists(out / "m" / "out")
    assert abs((out / "tool").stat().st_mtime - time.time()) < 100
    (out / "m" / "model.pkl").write_bytes(b"the user may edit it")
    assert store.get(diff.changed[0].digest) == b"model"


def test_what_exists_is_not_replaced(store: LocalStore, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "b").write_text("mine")
    with pytest.raises(StateError, match="b exists already; nothing has been written"):
        export(FileDiff(changed=(entry(store, "a"), entry(store, "b"))), out, store)
    assert sorted(os.listdir(out)) == ["b"]
    assert (out / "b").read_text() == "mine"


@pytest.mark.parametrize("path", ["../x", "/x", "a/../../x", ".", ""])
def test_nothing_is_written_elsewhere(store: LocalStore, tmp_path: Path, path: str) -> None:
    with pytest.raises(StateError, match="no path of a workspace"):
        export(FileDiff(changed=(entry(store, path),)), tmp_path / "out", store)
    assert sorted(os.listdir(tmp_path)) == ["store"]


def test_no_way_out_through_links(store: LocalStore, tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    (out / "way").symlink_to(victim)
    with pytest.raises(StateError, match="way exists already"):
        export(FileDiff(changed=(entry(store, "way/x"),)), out, store)
    chain = (FileEntry("d", "link", target="."), FileEntry("d/up", "link", target=".."), entry(store, "d/up/x"))
    export(FileDiff(changed=chain), tmp_path / "other", store)
    assert os.listdir(victim) == []
    assert (tmp_path / "other" / "d" / "up" / "x").read_bytes() == b"data"
