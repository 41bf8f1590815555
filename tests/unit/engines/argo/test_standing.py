from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nbkube.engines.argo.judge import closing, judge
from nbkube.engines.argo.standing import Standing
from nbkube.engines.model import Submission
from nbkube.engines.results import Result
from nbkube.engines.schedule import Group, State
from nbkube.pipeline.model import StepOptions, Volume
from nbkube.runs import RunEvent, RunStore
from nbkube.runtime.program import Failure
from nbkube.state.model import FileDiff, FileReads, OutputRef
from nbkube.state.snapshot import FileView
from nbkube.storage import ObjectStore, open_store
from tests.unit.engines.argo.submissions import submission


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return open_store(tmp_path / "store")


def result(outputs: Mapping[str, str] | None = None, reads: Mapping[str, str] | None = None, **more: Any) -> Result:
    made = {name: OutputRef("blob", version, version) for name, version in (outputs or {}).items()}
    given = {"diff": FileDiff(), "touched": (), "files": FileReads(), **more}
    return Result(outputs=made, reads=dict(reads or {}), **given)


def keep(store: ObjectStore, given: Submission, first: int, last: int, found: Result, turn: int = 0) -> Result:
    return Standing(store, given).keep(Group(first, last), turn, found)


def judged(store: ObjectStore, given: Submission) -> tuple[str, bool, list[Mapping[str, Any]]]:
    events: list[Mapping[str, Any]] = []
    again, good = judge(store, given, FileView(Path("/nbkube/project"), {}), events.append)
    return again, good, events


def test_the_first_result_counts(store: ObjectStore) -> None:
    given = submission(())
    keep(store, given, 0, 0, result({"x": "one"}))
    assert keep(store, given, 0, 0, result({"x": "two"})).outputs["x"].version == "one"
    assert Standing(store, given).load().bindings(1)["x"].version == "one"


def test_later_passes_and_wider_groups_override(store: ObjectStore) -> None:
    given = submission((), (), ())
    for at in range(3):
        keep(store, given, at, at, result({f"x{at}": "narrow"}))
    keep(store, given, 0, 1, result({"x0": "wide", "x1": "wide"}))
    keep(store, given, 2, 2, result({"x2": "late"}), turn=1)
    plan = Standing(store, given).load()
    assert {name: ref.version for name, ref in plan.bindings(3).items()} == {"x0": "wide", "x1": "wide", "x2": "late"}
    assert plan.group_of(1).first == 0


def test_a_success_counts_more_than_a_failure_of_the_same_pass(store: ObjectStore) -> None:
    given = submission(())
    keep(store, given, 0, 0, result(failure=Failure("error", "no")))
    assert Standing(store, given).load().groups[0].state is State.FAILED
    keep(store, given, 0, 0, result({"x": "yes"}))
    assert Standing(store, given).load().groups[0].state is State.DONE


def test_results_that_hold_end_the_run(store: ObjectStore) -> None:
    given = submission((), ())
    keep(store, given, 0, 0, result({"x": "1"}))
    keep(store, given, 1, 1, result({"y": "1"}, {"x": "1"}, metrics={"y": 3}))
    again, good, events = judged(store, given)
    assert (again, good) == ("none", True)
    assert [(one["event"], one["phase"], one["metrics"]) for one in events] == [("run-ended", "Succeeded", {"y": 3})]


def test_a_result_made_from_an_older_value_is_repeated(store: ObjectStore) -> None:
    given = submission((), (), ())
    keep(store, given, 0, 0, result({"x": "new"}))
    keep(store, given, 1, 1, result({"y": "1"}, {"x": ""}))
    keep(store, given, 2, 2, result({"z": "1"}))
    assert judged(store, given) == ("1", True, [])


def test_a_failure_from_starting_too_early_is_mended_and_one_that_holds_is_not(store: ObjectStore) -> None:
    given = submission((), ())
    keep(store, given, 0, 0, result({"x": "new"}))
    failed = result(reads={"x": ""}, failure=Failure("error", "x is not defined"))
    keep(store, given, 1, 1, failed)
    assert judged(store, given) == ("1", True, [])
    holds = result(reads={"x": "new"}, failure=Failure("error", "no"))
    keep(store, given, 1, 1, holds)
    again, good, events = judged(store, given)
    assert (again, good, events[0]["phase"]) == ("none", False, "Failed")


def test_a_unit_without_a_result_is_not_judged(store: ObjectStore) -> None:
    given = submission((), ())
    keep(store, given, 0, 0, result({"x": "1"}))
    assert judged(store, given) == ("none", False, [])


def test_files_that_only_the_step_can_see_are_judged_where_they_are(store: ObjectStore) -> None:
    seen = FileReads(outside={"/data/table.csv": "d" * 64})
    volume = StepOptions(volume=(Volume("/data", claim="shared"),))
    alone = submission((), (), options={1: volume})
    keep(store, alone, 0, 0, result())
    keep(store, alone, 1, 1, result(files=seen))
    assert judged(store, alone)[:2] == ("none", True)
    both = msgspec.structs.replace(submission((), (), options={0: volume, 1: volume}), run=alone.run)
    assert judged(store, both)[:2] == ("1", True)


def test_who_was_stopped_has_not_failed_until_it_goes_on(store: ObjectStore) -> None:
    given = submission(())
    runs = RunStore(store)
    assert closing(store, given, "Failed")["reason"].startswith("step u0: its pod ended without a word")
    runs.append(given.run, RunEvent("asked", state="stop"))
    assert closing(store, given, "Failed")["phase"] == "Cancelled"
    runs.append(given.run, RunEvent("run-started"))
    assert closing(store, given, "Failed")["phase"] == "Failed"


def test_a_pod_that_is_made_anew_is_not_the_first(store: ObjectStore) -> None:
    standing = Standing(store, submission((), (0,)))
    assert standing.begin(1, 0)
    assert not standing.begin(1, 0)
    assert standing.begin(1, 1)
    assert standing.begin(0, 0)
    assert standing.entries() == []
