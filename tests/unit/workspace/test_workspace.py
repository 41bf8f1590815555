"""A workspace tells what processes read and did, without their help."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbkube.errors import StateError
from nbkube.state.model import FileDiff, FileEntry, FileReads
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView, snapshot
from nbkube.state.workspace import Workspace, prepare
from nbkube.storage import LocalStore, ObjectStore


class Bench:
    """A project, a store beside it, and workspaces on demand."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        self.store: ObjectStore = LocalStore(folder / "store")
        self._folder = folder
        self._count = 0

    def write(self, path: str, content: str = "content") -> Path:
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
        return file

    def view(self) -> FileView:
        return snapshot(self.project)

    def workspace(self, view: FileView | None = None) -> Workspace:
        self._count += 1
        return prepare(view or self.view(), self._folder / f"work{self._count}", self.store)

    def run(self, code: str, view: FileView | None = None, **seen: list[str]) -> tuple[FileReads, FileDiff]:
        """Run Python code in its own process in a fresh workspace; return what was observed."""
        workspace = self.workspace(view)
        prelude = "import os, sys\nfrom pathlib import Path\n"
        # -I: the interpreter would list the working folder in search of modules
        subprocess.run([sys.executable, "-B", "-I", "-c", prelude + code], cwd=workspace.target, check=True, timeout=60)
        return workspace.observe(**seen)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def paths(diff: FileDiff) -> list[str]:
    return [entry.path for entry in diff.changed]


def test_nothing_done_is_nothing_seen(bench: Bench) -> None:
    bench.write("a/b.csv")
    (bench.project / "empty").mkdir()
    (bench.project / "link").symlink_to("a/b.csv")
    assert bench.run("pass") == (FileReads(), FileDiff())


def test_a_workspace_is_a_faithful_copy(bench: Bench) -> None:
    bench.write("a/b.csv", "data")
    tool = bench.write("bin/tool", "#!/bin/sh")
    tool.chmod(0o755)
    os.utime(tool, ns=(5, 1_600_000_000_000_000_007))
    (bench.project / "locked").mkdir(mode=0o500)
    (bench.project / "empty").mkdir()
    (bench.project / "link").symlink_to("a/b.csv")
    (bench.project / "absolute").symlink_to(bench.project / "a")
    target = bench.workspace().target
    assert (target / "a/b.csv").read_text() == "data"
    assert stat.S_IMODE((target / "bin/tool").stat().st_mode) == 0o755
    assert (target / "bin/tool").stat().st_mtime_ns == 1_600_000_000_000_000_007
    assert stat.S_IMODE((target / "locked").stat().st_mode) == 0o500
    assert os.listdir(target / "empty") == []
    assert os.readlink(target / "link") == "a/b.csv"
    assert os.readlink(target / "absolute") == "a"


def test_folders_made_in_a_volume_that_hands_down_its_group_have_the_modes_they_have_elsewhere(
    bench: Bench, tmp_path: Path
) -> None:
    bench.write("data/old.txt")
    tmp_path.chmod(0o2755)  # as Kubernetes does for the group of a pod
    _, diff = bench.run("os.umask(0o022); os.makedirs('made/below'); os.mkdir('data/new')")
    assert paths(diff) == ["data/new", "made", "made/below"]
    assert {oct(entry.mode) for entry in diff.changed} == {"0o755"}


def test_nothing_in_a_workspace_reaches_the_project(bench: Bench, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("outside")
    file = bench.write("data.csv", "project")
    (bench.project / "linked.csv").symlink_to(outside)
    target = bench.workspace().target
    for name in ("data.csv", "linked.csv"):
        with (target / name).open("r+") as changed:
            changed.write("XXX")
    assert file.read_text() == "project"
    assert outside.read_text() == "outside"
    assert file.stat().st_nlink == 1


def test_copying_leaves_the_project_untouched(bench: Bench) -> None:
    file = bench.write("data.csv")
    os.utime(file, ns=(7, 7))
    bench.run("open('data.csv').read()")
    assert file.stat().st_atime_ns == 7
    assert sorted(os.listdir(bench.project)) == ["data.csv"]


# reads


def test_a_read_is_seen_with_its_digest(bench: Bench) -> None:
    bench.write("data/x.csv", "x")
    bench.write("data/y.csv", "y")
    reads, diff = bench.run("open('data/x.csv').read()")
    assert reads == FileReads(read={"data/x.csv": bench.view().digest("data/x.csv")})
    assert diff == FileDiff()


@pytest.mark.parametrize(
    "code",
    [
        "import mmap; mmap.mmap(os.open('x', os.O_RDONLY), 0, prot=mmap.PROT_READ)[0]",
        "import subprocess; subprocess.run(['cat', 'x'], stdout=subprocess.DEVNULL)",
        "import shutil; shutil.copyfile('x', 'other')",
        "os.sendfile(os.open('/dev/null', os.O_WRONLY), os.open('x', os.O_RDONLY), 0, 10)",
        "os.pread(os.open('x', os.O_RDONLY), 1, 3)",
        "import ctypes; c = ctypes.CDLL(None); c.read(c.open(b'x', 0), ctypes.create_string_buffer(9), 9)",
        "p = os.fork()\nif p == 0:\n    open('x').read(); os._exit(0)\nos.waitpid(p, 0)",
        "os.chdir('sub'); open('../x').read()",
    ],
)
def test_every_way_of_reading_is_seen(bench: Bench, code: str) -> None:
    bench.write("x")
    bench.write("sub/other")
    reads, _ = bench.run(code)
    assert list(reads.read) == ["x"]


def test_running_a_project_file_is_reading_it(bench: Bench) -> None:
    bench.write("tool", "#!/bin/sh\nexit 0\n").chmod(0o755)
    reads, _ = bench.run("import subprocess; subprocess.run(['./tool'], check=True)")
    assert list(reads.read) == ["tool"]


def test_importing_a_module_is_reading_it(bench: Bench) -> None:
    bench.write("lib/helper.py", "x = 1")
    reads, diff = bench.run("sys.path.append('lib'); import helper")
    assert list(reads.read) == ["lib/helper.py"]
    assert list(reads.listed) == ["lib"]
    assert diff == FileDiff()


def test_listing_is_seen(bench: Bench) -> None:
    bench.write("a/1.csv")
    bench.write("b/2.csv")
    reads, _ = bench.run("os.listdir('a')")
    assert list(reads.listed) == ["a"]
    reads, _ = bench.run("os.listdir('.')")
    assert list(reads.listed) == ["."]


def test_looking_at_a_file_is_no_reading(bench: Bench) -> None:
    bench.write("a/x.csv")
    assert bench.run("os.stat('a/x.csv'); os.access('a/x.csv', os.R_OK); Path('a').is_dir()")[0] == FileReads()


def test_a_folder_that_was_looked_up_must_be_there(bench: Bench) -> None:
    bench.write("out/old.csv")
    reads, _ = bench.workspace().observe(opened=[f"{bench.project}/out", str(bench.project)])
    assert list(reads.read) == ["out"]
    bench.write("out/new.csv")
    assert matches(reads, bench.view()) is None
    for path in (bench.project / "out").iterdir():
        path.unlink()
    (bench.project / "out").rmdir()
    assert matches(reads, bench.view()) == "out is no longer there"
    bench.write("out")
    assert matches(reads, bench.view()) == "out has changed"


def test_following_a_link_is_reading_it(bench: Bench) -> None:
    bench.write("v1/x.csv")
    (bench.project / "current").symlink_to("v1")
    reads, _ = bench.run("open('current/x.csv').read()")
    assert sorted(reads.read) == ["current", "v1/x.csv"]


def test_a_file_written_first_is_no_input(bench: Bench) -> None:
    bench.write("out.csv", "old")
    reads, diff = bench.run("Path('out.csv').write_text('new'); Path('out.csv').read_text()", written=["out.csv"])
    assert reads.read.keys() == {"out.csv"}  # a relative path says nothing
    workspace = bench.workspace()
    (workspace.target / "out.csv").write_text("new")
    reads, diff = workspace.observe(written=[str(workspace.target / "out.csv")], opened=[f"{bench.project}/out.csv"])
    assert reads == FileReads()
    assert paths(diff) == ["out.csv"]


def test_appending_depends_on_what_was_there(bench: Bench) -> None:
    bench.write("log", "one\n")
    reads, diff = bench.run("open('log', 'a').write('two\\n')")
    assert list(reads.read) == ["log"]
    assert bench.store.get(diff.changed[0].digest) == b"one\ntwo\n"
    (bench.project / "log").unlink()
    reads, _ = bench.run("open('log', 'a').write('two\\n')")
    assert reads.missed == ("log",)


def test_a_changed_and_removed_file_was_needed(bench: Bench) -> None:
    bench.write("a")
    bench.write("b")
    reads, diff = bench.run("os.remove('a'); os.replace('b', 'c')")
    assert sorted(reads.read) == ["a", "b"]
    assert diff.removed == ("a", "b")
    assert paths(diff) == ["c"]


def test_missed_paths_are_translated(bench: Bench) -> None:
    bench.write("data/x.csv")
    (bench.project / "link").symlink_to("data")
    workspace = bench.workspace()
    seen = [
        f"{workspace.target}/ckpt",
        f"{bench.project}/data/../data/none.csv",
        f"{bench.project}/link/none2.csv",
        f"{bench.project}/data/x.csv",
        f"{bench.project}/.git/HEAD",
        f"{bench.project}/gone/below/deep",
        f"{bench.project}/gone",
    ]
    reads, _ = workspace.observe(missed=seen)
    assert reads.missed == ("ckpt", "data/none.csv", "data/none2.csv", "gone")


def test_files_outside_are_noted_by_content(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "data.csv"
    other.parent.mkdir()
    other.write_text("1")
    os.utime(other, (1, 1))
    workspace = bench.workspace()
    seen = [str(other), "/etc/hostname", "/proc/self/stat", os.__file__, pytest.__file__, str(tmp_path / "gone")]
    reads, _ = workspace.observe(opened=seen, missed=[str(other.parent / "absent.csv")])
    assert reads.outside.keys() == {str(other), str(other.parent / "absent.csv")}
    assert matches(reads, bench.view()) is None
    other.write_text("2")
    assert matches(reads, bench.view()) == f"{other} has changed"
    other.unlink()
    assert matches(reads, bench.view()) == f"{other} is no longer there"


def test_a_scratch_file_of_the_step_itself_is_no_input(bench: Bench) -> None:
    workspace = bench.workspace()
    scratch = Path("/tmp") / f"nbkube-test-{os.getpid()}-{time.time_ns()}"
    scratch.write_text("made by the step")
    try:
        assert workspace.observe(opened=[str(scratch)])[0] == FileReads()
    finally:
        scratch.unlink()


def test_a_link_to_a_folder_outside_leads_outside(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "big"
    other.mkdir()
    (other / "x.csv").write_text("x")
    os.utime(other / "x.csv", (1, 1))
    (bench.project / "data").symlink_to(other)
    workspace = bench.workspace()
    assert (workspace.target / "data" / "x.csv").read_text() == "x"
    reads, diff = workspace.observe(opened=[f"{bench.project}/data/x.csv"])
    assert list(reads.outside) == [str(other / "x.csv")]
    assert diff == FileDiff()


# diffs


def test_every_kind_of_change_is_in_the_diff(bench: Bench) -> None:
    for name in ("keep", "change", "same", "mode", "remove", "folder/inner", "becomes_folder"):
        bench.write(name, "old")
    (bench.project / "emptied").mkdir()
    (bench.project / "link").symlink_to("keep")
    _, diff = bench.run(
        "Path('change').write_text('new')\n"
        "Path('same').write_text('old')\n"
        "os.chmod('mode', 0o600)\n"
        "os.remove('remove')\n"
        "import shutil; shutil.rmtree('folder')\n"
        "os.rmdir('emptied')\n"
        "os.remove('becomes_folder'); os.mkdir('becomes_folder')\n"
        "os.makedirs('new/empty'); Path('new/file').write_text('fresh')\n"
        "os.remove('link'); os.symlink('change', 'link'); os.symlink(os.path.abspath('new'), 'absolute')\n"
        "os.mkfifo('pipe'); os.mkdir('__pycache__'); Path('__pycache__/x.pyc').write_text('')\n"
    )
    assert diff.removed == ("emptied", "folder", "folder/inner", "remove")
    found = {entry.path: entry for entry in diff.changed}
    assert sorted(found) == [
        "absolute", "becomes_folder", "change", "link", "mode", "new", "new/empty", "new/file",
    ]  # fmt: skip
    assert bench.store.get(found["change"].digest) == b"new"
    assert found["mode"].mode == 0o600
    assert found["new/empty"].kind == "folder"
    assert found["link"] == FileEntry("link", "link", 0o777, target="change")
    assert found["absolute"].target == "new"
    assert found["new/file"].size == 5


def test_the_next_unit_sees_the_diff(bench: Bench) -> None:
    for name in ("a", "folder/b", "c"):
        bench.write(name)
    view = bench.view()
    _, first = bench.run("import shutil; shutil.rmtree('folder'); Path('a').write_text('1'); os.mkdir('empty')", view)
    view = view.with_diff(first)
    reads, second = bench.run(
        "assert sorted(os.listdir('.')) == ['a', 'c', 'empty'], os.listdir('.')\n"
        "assert Path('a').read_text() == '1'\n"
        "Path('a').write_text('2'); os.rmdir('empty'); os.makedirs('folder/new')",
        view,
    )
    assert reads.read == {"a": first.changed[0].digest}
    view = view.with_diff(second)
    assert sorted(view.nodes) == ["a", "c", "folder", "folder/new"]
    assert view.names("folder") == ["new"]


def test_a_folder_replaced_by_a_file_takes_its_content_along(bench: Bench) -> None:
    bench.write("d/x/y")
    view = bench.view()
    _, diff = bench.run("import shutil; shutil.rmtree('d'); Path('d').write_text('file')", view)
    assert sorted(view.with_diff(diff).nodes) == ["d"]
    assert bench.run("assert Path('d').read_text() == 'file'", view.with_diff(diff))[1] == FileDiff()


def test_removing_a_folder_spares_what_another_unit_added(bench: Bench) -> None:
    bench.write("d/x")
    view = bench.view()
    added = FileDiff(changed=(FileEntry("d/new", digest=bench.store.put(b"1"), size=1),))
    removed = FileDiff(removed=("d", "d/x"))
    assert sorted(view.with_diff(added).with_diff(removed).nodes) == ["d", "d/new"]


def test_unreadable_things_are_handed_on_all_the_same(bench: Bench) -> None:
    view = bench.view()
    _, diff = bench.run(
        "os.mkdir('d'); Path('d/secret').write_text('x'); os.chmod('d/secret', 0); os.chmod('d', 0)", view
    )
    assert [(one.path, one.mode) for one in diff.changed] == [("d", 0), ("d/secret", 0)]
    workspace = bench.workspace(view.with_diff(diff))
    assert stat.S_IMODE((workspace.target / "d").stat().st_mode) == 0
    workspace.remove()
    assert not workspace.target.exists()


def test_a_name_that_is_not_utf8_is_an_error_in_words(bench: Bench) -> None:
    workspace = bench.workspace()
    Path(os.fsdecode(os.fsencode(workspace.target) + b"/\xff.csv")).write_text("x")
    with pytest.raises(StateError, match="not UTF-8"):
        workspace.observe()


# proofs


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda project: (project / "data.csv").write_text("other"), "data.csv has changed"),
        (lambda project: (project / "data.csv").unlink(), "data.csv is no longer there"),
        (lambda project: (project / "more/2").write_text(""), "the folder more holds other files now"),
        (lambda project: (project / "more/1").unlink(), "the folder more holds other files now"),
        (lambda project: (project / "ckpt").mkdir(), "ckpt exists now"),
        (lambda project: (project / "new.txt").write_text(""), None),
        (lambda project: (project / "unread.csv").write_text("other"), None),
        (lambda project: os.utime(project / "data.csv", (9, 9)), None),
    ],
)
def test_a_proof_holds_until_something_it_names_changes(
    bench: Bench, change: Callable[[Path], object], sentence: str | None
) -> None:
    for name in ("data.csv", "unread.csv", "more/1"):
        bench.write(name)
    reads, _ = bench.run("open('data.csv').read(); os.listdir('more')", missed=[f"{bench.project}/ckpt"])
    assert matches(reads, bench.view()) is None
    change(bench.project)
    assert matches(reads, bench.view()) == sentence


def test_same_size_same_times_other_content_is_noticed(bench: Bench) -> None:
    file = bench.write("data.csv", "aaaa")
    cache = bench.project.parent
    old = snapshot(bench.project, cache).digest("data.csv")
    status = file.stat()
    for letters in ("bbbb", "cccc", "dddd"):
        file.write_text(letters)
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
        new = snapshot(bench.project, cache).digest("data.csv")
        assert new != old
        old = new
