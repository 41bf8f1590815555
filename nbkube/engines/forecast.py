"""What a run would find done already: a walk in notebook order over the results that hold, without running anything."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from nbkube.engines.model import Submission
from nbkube.engines.results import Result, Results
from nbkube.engines.schedule import Group, Schedule, State
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

Forecast = Literal["known", "run", "open"]


def forecast(store: ObjectStore, submission: Submission, view: FileView) -> tuple[Forecast, ...]:
    """Return for each unit whether its result is known, whether it has to be run, or whether that stays open.

    A unit after one that has to be run is open: only when that one's result is there can it be told whether the values
    are those of an earlier run. A unit with inputs of none of these is looked up all the same.
    """
    plan: Schedule[Result] = Schedule(submission.units, submission.edges)
    results = Results(store, submission)
    found: list[Forecast] = []
    unknown: set[int] = set()
    while len(found) < len(plan.units):
        group = _with_record(plan, results, len(found))
        units = range(group.first, group.last + 1)
        if unknown.intersection(_needed(submission.units[unit].after for unit in units)):
            said: Forecast = "open"
        else:
            result = results.find(group, plan.bindings(group.first), view, plan.wanted(group.first, group.last))
            said = "known" if result else "run"
            if result is not None:
                group.state, group.outcome = State.DONE, result
                view = view.with_diff(result.diff)
        if said != "known":
            unknown.update(units)
        found += [said for _ in units]
    return tuple(found)


def _needed(after: Iterable[tuple[int, ...]]) -> set[int]:
    return {index for one in after for index in one}


def _with_record(plan: Schedule[Result], results: Results, unit: int) -> Group[Result]:
    """Return a unit's group, with the units that an earlier run had to join to it."""
    group = plan.groups[unit]
    last = results.remembered(group)
    if last > group.last:
        plan.join(unit, last)
    return plan.groups[unit]
