"""What a notebook varies in by itself is told apart from what its pipeline does differently."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.state.snapshot import FileView, snapshot
from nbkube.verify.files import compare_files, same_kind
from nbkube.verify.varying import Finding, Varying


def finding(path: str, kind: str = "value") -> Finding:
    return Finding(path.partition("[")[0].partition(".")[0], path, kind, "1", "2")


@pytest.mark.parametrize(
    ("own", "found", "excused"),
    [
        ([finding("now")], finding("now"), True),
        ([finding("now")], finding("then"), False),
        ([finding("now")], finding("nowhere"), False),
        ([finding("now")], finding("now", "type"), False),
        ([finding("now")], finding("now", "identity"), False),
        ([finding("run['id']")], finding("run['id']"), True),
        ([finding("run['id']")], finding("run['name']"), False),
        ([finding("run['id']")], finding("run", "type"), False),
        ([finding("run")], finding("run['id'].hex"), True),
        ([finding("run", "length")], finding("run[0]", "identity"), True),
        ([finding("run", "type")], finding("run.x"), True),
        ([], finding("x", "missing"), False),
        ([finding("frame.index")], finding("frame['model']"), True),
        ([finding("frame.index")], finding("frame['model']", "type"), False),
        ([finding("frame['time']")], finding("frame['model']"), False),
        ([finding("run['frame'].index")], finding("run['name']"), False),
    ],
)
def test_only_what_varies_is_excused(own: list[Finding], found: Finding, excused: bool) -> None:
    assert Varying(own).excuses(found) is excused


def project(folder: Path) -> Path:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "a.csv").write_text("1,2\n")
    (folder / "run.sh").write_text("true\n")
    (folder / "link").symlink_to("run.sh")
    (folder / "empty").mkdir()
    return folder


def view(folder: Path) -> FileView:
    return snapshot(folder)


def test_equal_folders_have_no_differences(tmp_path: Path) -> None:
    assert compare_files(view(project(tmp_path / "one")), view(project(tmp_path / "two"))) == {}


def test_every_kind_of_file_difference_is_found(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    (two / "data" / "a.csv").write_text("1,3\n")
    (two / "run.sh").chmod(0o755)
    (two / "link").unlink()
    (two / "link").symlink_to("data")
    (two / "empty").rmdir()
    (two / "new").touch()
    found = compare_files(view(one), view(two))
    assert set(found) == {"data/a.csv", "run.sh", "link", "empty", "new"}
    assert found["empty"][1] == found["new"][0] == "no such file"
    assert found["link"] == ("a link to run.sh", "a link to data")


def test_a_file_that_varies_must_still_be_of_its_kind(tmp_path: Path) -> None:
    one, two = project(tmp_path / "one"), project(tmp_path / "two")
    os.unlink(two / "run.sh")
    (two / "run.sh").mkdir()
    assert same_kind(view(one), view(two), "data/a.csv")
    assert not same_kind(view(one), view(two), "run.sh")
    assert not same_kind(view(one), view(two), "nowhere")
