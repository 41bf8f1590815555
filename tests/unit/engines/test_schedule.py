from __future__ import annotations

import msgspec

from nbkube.dataflow.model import Dependency
from nbkube.engines.model import UnitPlan
from nbkube.engines.schedule import Outcome, Schedule, State
from nbkube.pipeline.model import StepOptions
from nbkube.runtime.program import Failure, StepProgram
from nbkube.state.model import FileDiff, FileReads, OutputRef


def plan(*after: tuple[int, ...], edges: tuple[Dependency, ...] = ()) -> Schedule[Outcome]:
    units = [
        UnitPlan(StepProgram(unit=f"u{index}", digest=str(index), cells=()), StepOptions(), one)
        for index, one in enumerate(after)
    ]
    return Schedule(units, edges)


def ref(version: str, kind: str = "blob") -> OutputRef:
    return OutputRef(kind=kind, version=version, blob=version)  # type: ignore[arg-type]


def outcome(outputs: dict[str, OutputRef], failure: Failure | None = None) -> Outcome:
    return Outcome(outputs, FileDiff(), {}, (), FileReads(), failure)


def finish(schedule: Schedule[Outcome], first: int, outputs: dict[str, OutputRef]) -> None:
    group = schedule.groups[first]
    group.state, group.outcome = State.DONE, outcome(outputs)


def firsts(schedule: Schedule[Outcome], *, reverse: bool = False) -> list[int]:
    return [group.first for group in schedule.ready(reverse=reverse)]


def test_units_wait_for_their_predecessors_only() -> None:
    schedule = plan((), (0,), (0,), (1, 2))
    assert firsts(schedule) == [0]
    finish(schedule, 0, {})
    assert firsts(schedule) == [1, 2]
    assert firsts(schedule, reverse=True) == [2, 1]
    finish(schedule, 2, {})
    assert firsts(schedule) == [1]
    finish(schedule, 1, {})
    assert firsts(schedule) == [3]


def test_bindings_are_those_of_notebook_order_not_of_completion() -> None:
    schedule = plan((), (), (), ())
    finish(schedule, 2, {"x": ref("third")})
    finish(schedule, 0, {"x": ref("first"), "y": ref("y")})
    assert {name: one.version for name, one in schedule.bindings(3).items()} == {"x": "third", "y": "y"}
    finish(schedule, 1, {"x": ref("second"), "y": ref("", "deleted")})
    assert {name: one.version for name, one in schedule.bindings(3).items()} == {"x": "third"}
    assert {name: one.version for name, one in schedule.bindings(2).items()} == {"x": "second"}
    assert schedule.bindings(0) == {}


def test_nothing_after_a_failed_unit_starts() -> None:
    schedule = plan((), (), ())
    schedule.groups[1].state = State.FAILED
    assert firsts(schedule) == [0]


def test_units_marked_for_it_run_after_a_failure_one_by_one_on_what_was_there_before_it() -> None:
    schedule = plan((), (0,), (), (2,), ())
    schedule.units = [
        msgspec.structs.replace(unit, options=StepOptions(after_failure=at > 2))
        for at, unit in enumerate(schedule.units)
    ]
    finish(schedule, 0, {"x": ref("first")})
    finish(schedule, 2, {"x": ref("ahead of the failure")})
    schedule.groups[1].state = State.FAILED
    assert firsts(schedule) == []
    schedule.broken = 1
    assert firsts(schedule) == [3]
    assert schedule.bindings(3)["x"].version == "first"
    schedule.groups[3].state = State.RUNNING
    assert firsts(schedule) == []
    finish(schedule, 3, {"told": ref("told")})
    assert firsts(schedule) == [4]
    assert set(schedule.bindings(4)) == {"x", "told"}
    schedule.groups[4].state = State.FAILED
    assert firsts(schedule) == []
    assert schedule.first_failure() == 1


def test_joined_units_wait_together_and_publish_at_the_last_place() -> None:
    schedule = plan((), (0,), (1,), (0,), (3,))
    finish(schedule, 0, {})
    swallowed = schedule.join(1, 2)
    assert [group.first for group in swallowed] == [2]
    assert schedule.group_of(2).first == 1
    finish(schedule, 1, {"z": ref("z")})
    assert "z" not in schedule.bindings(2)
    assert "z" in schedule.bindings(3)


def test_joining_takes_in_whole_groups() -> None:
    schedule = plan((), (), (), ())
    schedule.join(1, 2)
    schedule.join(0, 1)
    assert (schedule.groups[0].first, schedule.groups[0].last) == (0, 2)
    assert sorted(schedule.groups) == [0, 3]


def test_readers_of_a_name_beyond_a_group() -> None:
    edges = (Dependency(0, 1, "stream"), Dependency(1, 3, "stream"), Dependency(0, 2, "x"))
    schedule = plan((), (0,), (0,), (1,), edges=edges)
    assert schedule.last_reader(0, 0, {"stream"}) == 1
    assert schedule.last_reader(0, 1, {"stream"}) == 3
    assert schedule.last_reader(0, 0, {"other"}) == 0
    assert schedule.wanted(0, 0) == {"stream", "x"}
