"""What units wait for, as the record of an earlier run has it."""

from __future__ import annotations

from nbkube.dataflow.model import Dependency
from nbkube.engines.independence import Observed, reordered
from nbkube.engines.model import UnitPlan
from nbkube.engines.schedule import Outcome
from nbkube.pipeline.model import StepOptions
from nbkube.runtime.program import StepProgram
from nbkube.state.model import AGAIN, FileDiff, FileEntry, FileReads, OutputRef


def plan(*after: tuple[int, ...]) -> tuple[UnitPlan, ...]:
    return tuple(
        UnitPlan(StepProgram(f"u{at}", f"d{at}", ()), StepOptions(), before) for at, before in enumerate(after)
    )


def waits(units: tuple[UnitPlan, ...], known: dict[str, Observed], *edges: Dependency) -> list[tuple[int, ...]]:
    return [unit.after for unit in reordered(units, edges, known)]


CHAIN = plan((), (0,), (1,), (2,))


def test_without_a_record_nothing_changes() -> None:
    assert reordered(CHAIN, (), {}) == CHAIN
    assert reordered(CHAIN, (), {"other": Observed()}) == CHAIN


def test_units_that_were_seen_not_to_meet_do_not_wait() -> None:
    known = {
        "d0": Observed(wrote=("out/a.csv",)),
        "d1": Observed(wrote=("out/b.csv",), looked=("data.csv",)),
        "d2": Observed(looked=("out/a.csv",)),
        "d3": Observed(listed=("out",)),
    }
    assert waits(CHAIN, known) == [(), (), (0,), (1,)]


def test_a_missed_path_waits_for_who_makes_it() -> None:
    known = {"d0": Observed(wrote=("out/deep/a",)), "d1": Observed(looked=("out",)), "d2": Observed(everything=True)}
    assert waits(CHAIN[:3], known) == [(), (0,), (0,)]


def test_names_and_process_state_count() -> None:
    known = {
        "d0": Observed(writes=("x", "process:environ")),
        "d1": Observed(reads=("process:environ",), writes=("x",)),
        "d2": Observed(reads=("x",)),
        "d3": Observed(reads=("y",)),
    }
    assert waits(CHAIN, known) == [(), (0,), (1,), ()]


def test_a_unit_without_record_keeps_its_place() -> None:
    known = {"d0": Observed(), "d2": Observed(), "d3": Observed()}
    assert waits(CHAIN, known) == [(), (0,), (1,), (1,)]


def test_data_edges_are_kept() -> None:
    known = {f"d{at}": Observed() for at in range(4)}
    assert waits(CHAIN, known, Dependency(0, 3, "x")) == [(), (), (), (0,)]


def test_dependencies_that_analysis_does_not_see_are_added() -> None:
    known = {"d0": Observed(wrote=("made.txt",)), "d1": Observed(looked=("made.txt",))}
    assert waits(plan((), ()), known) == [(), (0,)]


def test_what_is_taken_from_an_outcome() -> None:
    outcome = Outcome(
        outputs={"x": OutputRef("blob", "1")},
        diff=FileDiff((FileEntry("a"),), ("b",)),
        reads={"np": f"{AGAIN}1", "y": "2", "z": ""},
        touched=(),
        files=FileReads(read={"c": "1"}, listed={"d": "1"}, missed=("e",)),
    )
    assert Observed.of(outcome) == Observed(("y", "z"), ("x",), ("c", "e"), ("d",), wrote=("a", "b"))
    many = Outcome({}, FileDiff(), {}, (), FileReads(read={str(number): "1" for number in range(5000)}))
    assert Observed.of(many) == Observed(everything=True)
