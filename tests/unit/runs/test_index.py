"""Lists of runs are found in an index that nothing depends on."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbkube.runs import Phase, Run, RunEvent, RunQuery, RunRow, RunStore, RunUnit
from nbkube.runs.index import RunIndex
from nbkube.storage.folder import LocalStore


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalStore:
    monkeypatch.setenv("NBKUBE_CACHE", str(tmp_path / "cache"))
    return LocalStore(tmp_path / "store")


@pytest.fixture
def read(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were read from the store, in order."""
    found: list[str] = []
    load = RunStore.load

    def counted(self: RunStore, run_id: str) -> object:
        found.append(run_id)
        return load(self, run_id)

    monkeypatch.setattr(RunStore, "load", counted)
    return found


def _name(number: int) -> str:
    return f"20260101-0000{number:02}-bbbbbb"


def _run(store: LocalStore, number: int, *, phase: Phase | None = Phase.SUCCEEDED, rate: float = 0.5) -> None:
    run = Run(
        id=_name(number),
        created=time.time(),
        notebook=f"n{number % 2}.ipynb",
        parameters={"rate": rate},
        units=(RunUnit("a"),),
        experiment="even" if number % 2 == 0 else "odd",
    )
    recorder = RunStore(store).create(run)
    recorder.start()
    recorder({"event": "started", "step": "a"})
    if phase is not None:
        recorder({"event": "run-ended", "phase": phase.value, "metrics": {"loss": None}})


def _ids(rows: list[RunRow]) -> list[int]:
    return [int(row.id[13:15]) for row in rows]


def test_every_filter_and_pages(store: LocalStore, read: list[str]) -> None:
    for number in range(8):
        _run(store, number, phase=Phase.FAILED if number == 3 else Phase.SUCCEEDED, rate=number / 10)
    runs = RunStore(store)
    for query, expected in (
        (RunQuery(), [7, 6, 5, 4, 3, 2, 1, 0]),
        (RunQuery(limit=3), [7, 6, 5]),
        (RunQuery(limit=3, before=_name(5)), [4, 3, 2]),
        (RunQuery(text="RATE=0.4"), [4]),
        (RunQuery(text="loss=none", limit=2, before=_name(4)), [3, 2]),
        (RunQuery(phase="Failed"), [3]),
        (RunQuery(experiment="even", limit=2), [6, 4]),
        (RunQuery(notebook="n1.ipynb", before=_name(5)), [3, 1]),
        (RunQuery(text="50%"), []),
        (RunQuery(text="'; DROP TABLE runs"), []),
    ):
        rows, total = runs.rows(query)
        assert (_ids(rows), total) == (expected, 8), query
    assert len(read) == 8, "each run is read once"


def test_what_changes_is_read_again(store: LocalStore, read: list[str]) -> None:
    for number in range(4):
        _run(store, number, phase=Phase.FAILED if number == 1 else None if number == 2 else Phase.SUCCEEDED)
    runs = RunStore(store)
    assert _ids(runs.rows(RunQuery(phase="Failed"))[0]) == [1]
    assert _ids(runs.rows(RunQuery(phase="Running"))[0]) == [2]
    read.clear()
    assert _ids(runs.rows(RunQuery(phase="Failed"))[0]) == [1]
    assert read == [_name(2)], "only what goes on is read again"

    # As another process would, with a record of its own:
    store.append(f"runs/{_name(1)}/events/other.jsonl", b"")
    os.utime(store.path / "runs" / _name(1) / "events")
    read.clear()
    runs.rows(RunQuery(phase="Failed"))
    assert _name(1) in read

    runs.annotate(_name(0), ["best"], "the note")
    assert _ids(runs.rows(RunQuery(text="best"))[0]) == [0]
    RunStore(store).annotate(_name(0), [], "")
    assert _ids(runs.rows(RunQuery(text="best"))[0]) == []
    runs.remove(_name(3))
    assert _ids(runs.rows(RunQuery(text="n1"))[0]) == [1]
    runs.append(_name(0), RunEvent("run-started"))
    assert _ids(runs.rows(RunQuery(phase="Succeeded"))[0]) == []


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\0" + bytes(4096)])
def test_a_damaged_index_is_made_anew(store: LocalStore, tmp_path: Path, damage: bytes) -> None:
    _run(store, 1)
    runs = RunStore(store)
    assert _ids(runs.rows(RunQuery(text="rate"))[0]) == [1]
    [file] = (tmp_path / "cache" / "runs").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    file.write_bytes(damage)
    assert _ids(runs.rows(RunQuery(text="rate"))[0]) == [1]


def test_where_nothing_can_be_kept_it_is_found_all_the_same(store: LocalStore, tmp_path: Path) -> None:
    _run(store, 1)
    (tmp_path / "taken").write_text("a file where the folder should be")
    index = RunIndex(store, tmp_path / "taken" / "runs")
    load: Callable[[str], RunRow | None] = RunStore(store)._row
    assert _ids(index.rows([_name(1)], RunQuery(text="rate"), load)) == [1]
    index.forget(_name(1))


def test_a_run_that_cannot_be_read_is_left_out(store: LocalStore) -> None:
    _run(store, 1)
    _run(store, 2)
    (store.path / "runs" / _name(1) / "run.json").write_bytes(b"torn")
    _run(store, 0)
    for query in (RunQuery(limit=2), RunQuery(limit=2, text="rate")):
        assert _ids(RunStore(store).rows(query)[0]) == [2, 0]
