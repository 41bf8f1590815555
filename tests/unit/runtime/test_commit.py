"""Committing results, and the distributions that a step's modules belong to."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from nbkube.runtime.commit import commit
from nbkube.runtime.distributions import distributions, installed_versions
from nbkube.runtime.program import SCHEMA, StepManifest
from nbkube.state.model import FileDiff, FileReads
from nbkube.storage import LocalStore


def manifest(attempt: str) -> StepManifest:
    return StepManifest(
        schema=SCHEMA, key="k", units=("u",), attempt=attempt, outputs={}, reads={"a": "v"}, touched=(),
        files=FileReads(), diff=FileDiff(), distributions={},
    )  # fmt: skip


def test_the_first_commit_wins(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    assert commit(store, "k", "p", manifest("one")).attempt == "one"
    assert commit(store, "k", "p", manifest("two")).attempt == "one"
    assert commit(store, "k", "other", manifest("two")).attempt == "two"
    assert list(store.list("steps/k/")) == ["steps/k/other.json", "steps/k/p.json"]
    data = store.read("steps/k/p.json")
    assert data is not None
    assert msgspec.json.decode(data, type=StepManifest) == manifest("one")


def test_all_losers_of_a_race_get_the_winner(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    got: list[str] = []
    start = threading.Barrier(8)

    def race(name: str) -> None:
        start.wait()
        got.append(commit(store, "k", "p", manifest(name)).attempt)

    threads = [threading.Thread(target=race, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(got) == 8
    assert len(set(got)) == 1


def install(folder: Path, name: str, version: str, record: str, origin: str = "") -> None:
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_text(record)
    if origin:
        (info / "direct_url.json").write_text(origin)
    # Folder times of some disks are coarse.
    os.utime(folder, ns=(time.time_ns(), time.time_ns()))


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "libraries"
    folder.mkdir()
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    return folder


def test_modules_belong_to_distributions(libraries: Path) -> None:
    install(libraries, "My.Tool_Kit", "1.5", "toolkit/__init__.py,,\ntoolkit/a.py,,\nsingle.py,,\n../../bin/x,,\n")
    assert distributions(["toolkit", "unknown", "json"]) == {"my-tool-kit": "1.5"}
    assert distributions(["single", "numpy"])["numpy"]
    assert installed_versions(["my-tool-kit", "nothing-such"]) == {"my-tool-kit": "1.5", "nothing-such": ""}


def test_a_change_of_version_is_noticed_at_once(libraries: Path) -> None:
    install(libraries, "tool", "1.0", "tool.py,,\n")
    assert distributions(["tool"]) == {"tool": "1.0"}
    (libraries / "tool-1.0.dist-info").rename(libraries / "tool-1.1.dist-info")
    assert installed_versions(["tool"]) == {"tool": "1.1"}


def test_installs_from_a_folder_count_by_content(libraries: Path) -> None:
    origin = '{"url": "file:///somewhere", "dir_info": {}}'
    install(libraries, "local", "1.0", "local/__init__.py,sha256=aaa,10\n", origin)
    before = distributions(["local"])["local"]
    assert before.startswith("1.0+")
    (libraries / "local-1.0.dist-info" / "RECORD").write_text("local/__init__.py,sha256=bbb,10\n")
    os.utime(libraries, ns=(time.time_ns(), time.time_ns()))
    assert distributions(["local"])["local"] not in ("", before)


def test_editable_installs_count_by_the_files_that_were_loaded(libraries: Path) -> None:
    install(
        libraries, "mine", "0.1", "__editable__.mine.pth,,\n", '{"url": "file:///x", "dir_info": {"editable": true}}'
    )
    (libraries / "mine-0.1.dist-info" / "top_level.txt").write_text("mine\n")
    os.utime(libraries, ns=(time.time_ns(), time.time_ns()))
    assert distributions(["mine"]) == {"mine": "0.1"}
