"""What is in a snapshot, and what happens to it when people go on working."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import pytest

from nbkube.errors import StateError
from nbkube.state import digests
from nbkube.state.ignore import IgnoreRules
from nbkube.state.model import FileDiff, FileEntry
from nbkube.state.snapshot import find_root, snapshot
from nbkube.state.workspace import prepare
from nbkube.storage import LocalStore


def fill(project: Path, *names: str) -> None:
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)


def test_what_is_never_data_stays_out(tmp_path: Path) -> None:
    fill(tmp_path, "a.py", ".git/HEAD", ".nbkube/stamps", "sub/__pycache__/x.pyc", "sub/.ipynb_checkpoints/n.ipynb")
    fill(tmp_path, "env311/pyvenv.cfg", "env311/lib/x.py", "node_modules/x.js", ".hidden/data.csv", "data/.gitignore")
    assert sorted(snapshot(tmp_path).nodes) == [".hidden", ".hidden/data.csv", "a.py", "data", "data/.gitignore", "sub"]


def test_an_ignore_file_leaves_out_more(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv", "big/1.bin", "big/keep.bin", "runs/old/x", "deep/runs/y", "deep/z.tmp")
    (tmp_path / ".nbkubeignore").write_text("# comment\n\n*.tmp\n/runs/\nbig/*\n!big/keep.bin\n")
    assert sorted(snapshot(tmp_path).nodes) == [
        ".nbkubeignore", "a.csv", "big", "big/keep.bin", "deep", "deep/runs", "deep/runs/y",
    ]  # fmt: skip


def test_settings_in_the_home_folder_stay_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, "nb.ipynb", "data/.kept", ".cache/big", ".ssh/id", ".bashrc")
    monkeypatch.setenv("HOME", str(tmp_path))
    view = snapshot(tmp_path)
    assert sorted(view.nodes) == ["data", "data/.kept", "nb.ipynb"]
    assert sorted(view.left_out) == [".bashrc", ".cache", ".ssh"]
    os.utime(tmp_path / ".cache" / "big", (1, 1))
    work = prepare(
        view.freeze(tmp_path / ".nbkube" / "base"), tmp_path / ".nbkube" / "work", LocalStore(tmp_path / "s")
    )
    reads, _ = work.observe(opened=[str(tmp_path / ".cache" / "big")], missed=[str(tmp_path / "ckpt")])
    assert list(reads.outside) == [str(tmp_path / ".cache" / "big")]
    assert reads.missed == ("ckpt",)


def test_a_folder_of_everything_is_refused_with_a_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbkube.state.snapshot.MOST_PATHS", 10)
    fill(tmp_path, *(f"photos/{number}" for number in range(20)), "nb.ipynb")
    with pytest.raises(StateError, match=r"more than 10 files.*\.nbkubeignore; most files are in photos"):
        snapshot(tmp_path)


@pytest.mark.parametrize(
    ("pattern", "hits", "spares"),
    [
        ("x", ["x", "a/x", "a/b/x"], ["xy", "ax", "x1"]),
        ("/x", ["x"], ["a/x"]),
        ("a/x", ["a/x"], ["b/a/x", "a/b/x"]),
        ("**/x", ["x", "a/x"], ["ax"]),
        ("a/**", ["a/x", "a/b/x"], ["a", "b/a/x"]),
        ("a/**/x", ["a/x", "a/b/c/x"], ["x", "ab/x"]),
        ("*.csv", ["x.csv", "a/.csv"], ["x.csv2", "csv"]),
        ("a*/b", ["a/b", "ax/b"], ["a/x/b"]),
        ("?.txt", ["a.txt"], [".txt", "ab.txt"]),
        ("[a-c]1", ["a1", "x/c1"], ["d1", "-1"]),
        ("[!a-c]1", ["d1"], ["a1", "x/b1"]),
        ("[^a]1", ["b1"], ["a1"]),
        ("[]]x", ["]x"], ["x"]),
        ("[z-a]", [], ["z", "a", "-"]),
        (r"\#x", ["#x"], ["x"]),
        (r"\!x", ["!x"], ["x"]),
        (r"x\*", ["x*"], ["xy"]),
        ("x ", ["x"], ["x "]),
        ("x\\ ", ["x "], ["x"]),
        ("a.b", ["a.b"], ["axb"]),
        ("#x", [], ["#x", "x"]),
        ("/", [], ["x"]),
    ],
)
def test_patterns_mean_what_they_mean_to_git(pattern: str, hits: list[str], spares: list[str]) -> None:
    rules = IgnoreRules([pattern])
    assert [path for path in hits if not rules.leaves_out(path, folder=False)] == []
    assert [path for path in spares if rules.leaves_out(path, folder=False)] == []


def test_a_pattern_for_folders_spares_files() -> None:
    rules = IgnoreRules(["out/"])
    assert rules.leaves_out("a/out", folder=True)
    assert not rules.leaves_out("a/out", folder=False)


@pytest.mark.parametrize("mark", ["nbkube.toml", "pyproject.toml", ".git"])
def test_the_root_is_the_nearest_marked_folder(tmp_path: Path, mark: str) -> None:
    project = tmp_path / "outer" / "project"
    fill(tmp_path, "outer/project/notebooks/deep/nb.ipynb", "outer/nbkube.toml", f"outer/project/{mark}")
    assert find_root(project / "notebooks" / "deep" / "nb.ipynb") == project


def test_a_notebook_in_no_project_has_its_own_folder(tmp_path: Path) -> None:
    if any((parent / mark).exists() for parent in tmp_path.parents for mark in ("pyproject.toml", ".git")):
        pytest.fail("the temporary folder lies in a project")
    assert find_root(tmp_path / "a" / "nb.ipynb") == tmp_path / "a"


def test_links_are_kept_if_they_stay_inside(tmp_path: Path) -> None:
    project = tmp_path / "project"
    fill(project, "data/x.csv", "sub/y")
    fill(tmp_path, "other/z.csv", "project-2/w")
    for name, target in {
        "sub/in": "../data/x.csv",
        "sub/abs": f"{project}/data",
        "broken": "nowhere",
        "up": "../project-2/w",
        "file": f"{tmp_path}/other/z.csv",
        "folder": "../other",
        "roundabout": "../project/data",
        "loop": "loop",
    }.items():
        (project / name).symlink_to(target)
    nodes = snapshot(project).nodes
    assert {path: node.target for path, node in nodes.items() if node.kind == "link"} == {
        "sub/in": "../data/x.csv",
        "sub/abs": "../data",
        "broken": "nowhere",
        "folder": str(tmp_path / "other"),
        "roundabout": "../project/data",
        "loop": "loop",
    }
    assert nodes["up"].kind == nodes["file"].kind == "file"
    view = snapshot(project)
    assert view.digest("file") == hashlib.sha256(b"other/z.csv").hexdigest()
    assert view.exists("sub/abs/x.csv")
    assert not view.exists("loop")
    assert not view.exists("broken")


@pytest.mark.parametrize("fresh", [True, False])
def test_digests_are_computed_once_for_all_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: bool) -> None:
    project, cache = tmp_path / "project", tmp_path
    fill(project, "a", "b")
    for name in "ab":
        os.utime(project / name, (1, 1))
    monkeypatch.setattr(digests, "_REST_NS", -(10**15))  # every file counts as rested
    first = snapshot(project, cache) if fresh else snapshot(project, cache).freeze(tmp_path / "first")
    expected = [first.digest("a"), first.digest("b")]
    monkeypatch.setattr(hashlib, "sha256", lambda _=b"": pytest.fail("hashed again"))
    for again in (snapshot(project, cache), snapshot(project, cache).freeze(tmp_path / "frozen")):
        assert [again.digest("a"), again.digest("b")] == expected


@pytest.mark.parametrize("damage", [b"", b"x", b"\0" * 200])
def test_a_damaged_cache_of_digests_costs_only_time(tmp_path: Path, damage: bytes) -> None:
    cache = tmp_path / "digests"
    fill(tmp_path / "project", "a", "b")
    os.utime(tmp_path / "project" / "a", (1, 1))
    time.sleep(0.06)  # what has just been written is hashed every time
    snapshot(tmp_path / "project", tmp_path).digest("a")
    cache.write_bytes(cache.read_bytes()[:-3] + damage)
    view = snapshot(tmp_path / "project", tmp_path)
    assert view.digest("a") == hashlib.sha256(b"a").hexdigest()
    assert view.digest("b") == hashlib.sha256(b"b").hexdigest()


def test_a_file_changed_during_the_run_is_an_error_in_words(tmp_path: Path) -> None:
    project = tmp_path / "project"
    fill(project, "a")
    view = snapshot(project)
    (project / "a").write_text("edited")
    with pytest.raises(StateError, match="a was changed while the run was going on"):
        view.digest("a")
    with pytest.raises(StateError, match="a was changed while the run was going on"):
        prepare(view, tmp_path / "work", LocalStore(tmp_path / "store"))


def test_a_frozen_view_does_not_care_what_people_do(tmp_path: Path) -> None:
    project = tmp_path / "project"
    fill(project, "a", "b", "sub/c")
    (project / "a").chmod(0o755)
    before = snapshot(project)
    (project / "b").unlink()
    view = before.freeze(tmp_path / "frozen")
    (project / "a").write_text("edited")
    (project / "sub" / "c").unlink()
    assert sorted(view.nodes) == ["a", "sub", "sub/c"]
    assert view.digest("sub/c") == hashlib.sha256(b"sub/c").hexdigest()
    work = prepare(view, tmp_path / "work", LocalStore(tmp_path / "store")).target
    assert (work / "a").read_text() == "a"
    assert (work / "a").stat().st_mode & 0o777 == 0o755
    assert (work / "sub" / "c").read_text() == "sub/c"


def test_what_is_too_large_is_not_copied_by_freezing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbkube.state.snapshot._FROZEN_BYTES", 5000)
    project = tmp_path / "project"
    fill(project, "small")
    for name, size in {"large": 4999, "larger": 6000, "nb.ipynb": 7000}.items():
        (project / name).write_bytes(bytes(size))
    store = LocalStore(tmp_path / "store")
    view = snapshot(project).freeze(tmp_path / "frozen")
    assert (tmp_path / "frozen" / "files").stat().st_size == 7005
    (project / "nb.ipynb").write_text("saved")
    (project / "small").write_text("edited")
    work = prepare(view, tmp_path / "work", store)
    assert (work.target / "larger").read_bytes() == bytes(6000)
    assert (work.target / "nb.ipynb").read_bytes() == bytes(7000)
    os.utime(project / "large", (1, 1))
    with pytest.raises(StateError, match="large was changed while the run was going on"):
        prepare(view, tmp_path / "second", store)


def test_a_file_that_never_rests_is_taken_as_it_is(tmp_path: Path) -> None:
    project = tmp_path / "project"
    fill(project, "log", "data")
    stop = threading.Event()

    def keep_writing() -> None:
        with (project / "log").open("r+b", buffering=0) as file:
            while not stop.is_set():
                file.write(b"line\n" * 100)
                if file.tell() > 4 << 20:  # larger files are not frozen
                    file.seek(0)
                time.sleep(0.0001)  # else this thread takes all of the interpreter

    writer = threading.Thread(target=keep_writing)
    writer.start()
    try:
        views = [snapshot(project).freeze(tmp_path / f"frozen{number}") for number in range(5)]
    finally:
        stop.set()
        writer.join(30)
    for number, view in enumerate(views):
        work = prepare(view, tmp_path / f"work{number}", LocalStore(tmp_path / "store"))
        assert view.digest("log") == hashlib.sha256((work.target / "log").read_bytes()).hexdigest()
        assert (work.target / "data").read_text() == "data"


def test_what_the_user_may_not_read_is_left_out_and_said() -> None:
    folder = Path(tempfile.mkdtemp())  # the usual temporary folder of tests is closed to other users
    user = os.geteuid()
    try:
        fill(folder / "project", "secret", "data")
        (folder / "project" / "secret").chmod(0)
        (folder / "frozen").mkdir()
        for path in (folder, folder / "frozen"):
            path.chmod(0o777)
        if user == 0:  # root may read everything
            os.seteuid(65534)
        view = snapshot(folder / "project").freeze(folder / "frozen")
        assert sorted(view.nodes) == ["data"]
        assert [str(one) for one in view.diagnostics] == [
            "secret: cannot be read and is left out. Fix: make it readable, or name it in .nbkubeignore"
        ]
    finally:
        os.seteuid(user)
        shutil.rmtree(folder)


BAD_PATHS = ["", ".", "..", "/etc/passwd", "a/../../b", "a//b", "./a", "a/", "a/.", "a\0b"]


@pytest.mark.parametrize("path", BAD_PATHS)
def test_paths_of_records_cannot_lead_elsewhere(tmp_path: Path, path: str) -> None:
    view = snapshot(tmp_path)
    with pytest.raises(StateError, match="no path of a workspace"):
        view.with_diff(FileDiff(changed=(FileEntry(path),)))
    with pytest.raises(StateError, match="no path of a workspace"):
        view.with_diff(FileDiff(removed=(path,)))


def test_no_record_is_written_through_a_link(tmp_path: Path) -> None:
    project, victim = tmp_path / "project", tmp_path / "victim"
    project.mkdir()
    victim.mkdir()
    store = LocalStore(tmp_path / "store")
    evil = FileDiff(
        changed=(
            FileEntry("way", "link", target=str(victim)),
            FileEntry("way/owned", digest=store.put(b"evil"), size=4),
        )
    )
    prepare(snapshot(project).with_diff(evil), tmp_path / "work", store)
    assert os.listdir(victim) == []
    assert (tmp_path / "work" / "way" / "owned").read_bytes() == b"evil"
