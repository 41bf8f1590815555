from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nbkube.errors import StateError, StorageError
from nbkube.state.model import FileEntry
from nbkube.state.snapshot import snapshot
from nbkube.state.tree import load_tree, store_tree
from nbkube.state.workspace import prepare
from nbkube.storage import open_store


def test_a_project_goes_through_the_store_and_comes_out_the_same(tmp_path: Path) -> None:
    project = tmp_path / "project"
    (project / "data" / "deep").mkdir(parents=True)
    (project / "data" / "rows.csv").write_text("1,2")
    (project / "run.sh").write_text("true")
    (project / "run.sh").chmod(0o755)
    (project / "link").symlink_to("data/rows.csv")
    (project / "data" / "empty").touch()
    store = open_store(tmp_path / "store")
    told: list[tuple[int, int]] = []
    view = snapshot(project)
    digest = store_tree(view, store, lambda done, total: told.append((done, total)))
    assert sorted(told) == [(1, 3), (2, 3), (3, 3)]
    loaded = load_tree(digest, store, tmp_path / "elsewhere")
    assert {path: loaded.digest(path) for path in loaded.nodes} == {path: view.digest(path) for path in view.nodes}
    assert store_tree(loaded, store) == digest
    prepare(loaded, tmp_path / "elsewhere", store)
    assert (tmp_path / "elsewhere" / "link").read_text() == "1,2"
    assert (tmp_path / "elsewhere" / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "elsewhere" / "data" / "deep").is_dir()


def test_the_same_files_are_the_same_tree_wherever_they_lie(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    digests = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("a")
        digests.add(store_tree(snapshot(tmp_path / name), store))
    assert len(digests) == 1


def test_a_file_that_changes_meanwhile_is_an_error(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "a.txt").write_text("a")
    view = snapshot(project)
    view.digest("a.txt")
    (project / "a.txt").write_text("changed")
    with pytest.raises(StateError, match=r"a\.txt was changed"):
        store_tree(view, open_store(tmp_path / "store"))


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", "a//b", "."])
def test_paths_that_lead_out_are_refused(tmp_path: Path, path: str) -> None:
    store = open_store(tmp_path / "store")
    digest = store.put(msgspec.json.encode([FileEntry(path, digest="0" * 64)]))
    with pytest.raises(StateError, match="no path of a workspace"):
        load_tree(digest, store, tmp_path / "project")


def test_what_is_no_list_of_files_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    with pytest.raises(StorageError, match="cannot be read"):
        load_tree(store.put(b"{"), store, tmp_path / "project")
