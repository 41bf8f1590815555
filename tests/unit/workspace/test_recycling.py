"""A workspace made from a used one cannot be told from a new one."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from nbkube.state.model import FileDiff, FileReads
from nbkube.state.snapshot import FileView, snapshot
from nbkube.state.workspace import prepare
from nbkube.storage import LocalStore

Tree = dict[str, tuple[object, ...]]


def tree(root: Path) -> Tree:
    """Return all that can be seen of a folder except inodes and the times of folders and links."""
    found: Tree = {}
    for place, folders, files in os.walk(root):
        for name in folders + files:
            path = Path(place) / name
            status = path.lstat()
            key = str(path.relative_to(root))
            if path.is_symlink():
                found[key] = ("link", os.readlink(path))
            elif path.is_dir():
                found[key] = ("folder", status.st_mode, status.st_atime_ns)
            else:
                found[key] = ("file", status.st_mode, status.st_atime_ns, status.st_mtime_ns, status.st_nlink)
    for key, (kind, *_) in found.items():
        if kind == "file":
            found[key] += ((root / key).read_bytes(),)
    return found


@pytest.fixture
def view(tmp_path: Path) -> FileView:
    project = tmp_path / "project"
    for name in ("a", "b", "d/c", "d/e/f", "g/h"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name * 10)
        os.utime(project / name, (1_000_000_000, 1_000_000_000))
    (project / "d" / "empty").mkdir()
    (project / "link").symlink_to("a")
    (project / "b").chmod(0o755)
    (project / "g").chmod(0o500)
    with (project / "large").open("wb") as file:
        file.truncate(5 << 20)
    return snapshot(project).freeze(tmp_path / "base")


ACTIONS: list[Callable[[Path], object]] = [
    lambda w: (w / "a").read_bytes(),
    lambda w: os.listdir(w / "d"),
    lambda w: (w / "a").write_text("changed"),
    lambda w: os.truncate(w / "large", 7),
    lambda w: os.utime(w / "a", (5, 5)),
    lambda w: (w / "b").chmod(0o600),
    lambda w: (w / "d").chmod(0o500),
    lambda w: shutil.rmtree(w / "d", ignore_errors=True),
    lambda w: os.rename(w / "a", w / "b"),
    lambda w: os.link(w / "b", w / "second"),
    lambda w: os.link(w / "b", w.parent / f"outside{w.name}"),
    lambda w: os.mkdir(w / "new"),
    lambda w: (w / "__pycache__").mkdir(),
    lambda w: (w / "link").unlink(),
    lambda w: (w / "g").rename(w / "g2"),
    lambda w: (w / "d" / "e" / "x").mkdir(),
    lambda w: (w / "d" / "e" / "link").symlink_to(w / "g"),
    lambda w: os.mkfifo(w / "pipe"),
    lambda w: os.replace(w / "a", w / "g" / "h"),
    lambda w: (w / "a").write_bytes((w / "a").read_bytes()),
]  # fmt: skip


@pytest.mark.parametrize("seed", range(25))
def test_a_recycled_workspace_is_as_good_as_new(view: FileView, tmp_path: Path, seed: int) -> None:
    store = LocalStore(tmp_path / "store")
    expected = tree(prepare(view, tmp_path / "fresh", store).target)
    rng = random.Random(seed)
    inode = 0
    for turn in range(4):
        work = prepare(view, tmp_path / f"work{turn}", store)
        if turn % 2:
            assert work.observe() == (FileReads(), FileDiff())
        else:
            assert tree(work.target) == expected  # looking at a workspace is reading it
        if turn:
            assert work.target.stat().st_ino == inode
        inode = work.target.stat().st_ino
        for action in rng.sample(ACTIONS, 5):
            try:
                action(work.target)
            except OSError:
                continue
        work.observe()
        work.remove()
        assert not work.target.exists()


def test_the_next_view_may_differ(view: FileView, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    work = prepare(view, tmp_path / "one", store)
    (work.target / "a").write_text("result")
    (work.target / "new").write_text("new")
    (work.target / "d" / "c").unlink()
    large = (work.target / "large").stat().st_ino
    _, diff = work.observe()
    work.remove()
    after = view.with_diff(diff)
    work = prepare(after, tmp_path / "two", store)
    assert (work.target / "a").read_text() == "result"
    assert (work.target / "new").read_text() == "new"
    assert not (work.target / "d" / "c").exists()
    assert (work.target / "large").stat().st_ino == large
    work.remove()
    assert (prepare(view, tmp_path / "three", store).target / "a").read_text() == "a" * 10


def test_parallel_steps_have_workspaces_of_their_own(view: FileView, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    first = [prepare(view, tmp_path / f"first{number}", store) for number in range(6)]
    for one in first:
        one.observe()
        one.remove()
    second = [prepare(view, tmp_path / f"second{number}", store) for number in range(6)]
    assert len({one.target.stat().st_ino for one in second}) == 6
    trees = [tree(one.target) for one in second]
    assert trees == [trees[0]] * 6
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("first")) == []


def test_a_workspace_removed_by_others_is_no_loss(view: FileView, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    work = prepare(view, tmp_path / "one", store)
    shutil.rmtree(work.target)
    work.remove()
    work = prepare(view, tmp_path / "two", store)
    work.observe()
    work.remove()
    shutil.rmtree(tmp_path / "base" / "used")
    assert (prepare(view, tmp_path / "three", store).target / "a").exists()
