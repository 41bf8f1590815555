"""Which unit may run, on what, and whether what it did still holds: pure bookkeeping without processes.

Units are numbered in notebook order. A *group* is one unit, or several joined by an unstorable value; it has one
process and one result. Positions decide everything: unit i sees what the groups that end before i have published.

A unit may start before all earlier ones have finished, when analysis holds it independent. Its result is *final* once
all earlier units are final and what it was observed to read is still what a unit in its place would read; if not, it
runs again, on the final state this time. So every unit runs at most once more, and the end is that of notebook order.

After a failure that is final the units with the option `after-failure` run all the same, one after the other: as if the
notebook had ended above the failing step, and gone on with them alone.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from nbkube.dataflow.model import Dependency
from nbkube.engines.model import UnitPlan
from nbkube.runtime.program import Failure
from nbkube.state.model import FileDiff, FileReads, OutputRef


class State(enum.Enum):
    """Where a group stands."""

    PENDING = "pending"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True)
class Outcome:
    """What a finished or failed group has done: enough to bind later units and to judge whether it still holds."""

    outputs: dict[str, OutputRef]
    diff: FileDiff
    reads: dict[str, str]
    touched: tuple[str, ...]
    files: FileReads
    failure: Failure | None = None


O = TypeVar("O", bound=Outcome)  # noqa: E741 - the conventional short name of a type variable


@dataclass
class Group(Generic[O]):
    """The mutable status of one group, kept at its first unit; `rescue`: it runs after the failure of the run."""

    first: int
    last: int
    state: State = State.PENDING
    early: bool = False
    outcome: O | None = None
    runs: int = 0
    rescue: bool = False


@dataclass
class Schedule(Generic[O]):
    """Bookkeeping of one run; not thread-safe, its owner holds a lock."""

    units: Sequence[UnitPlan]
    edges: Sequence[Dependency]
    given: Mapping[str, OutputRef] = field(default_factory=dict)
    """Variables that there are before the first unit."""
    groups: dict[int, Group[O]] = field(default_factory=dict)
    final: int = 0
    """All units below this index are final."""
    broken: int | None = None
    """The unit whose failure is final and has stopped the run, once nothing else goes on."""

    def __post_init__(self) -> None:
        self.groups = {index: Group(index, index) for index in range(len(self.units))}

    def ready(self, *, reverse: bool = False) -> Iterator[Group[O]]:
        """Yield pending groups whose predecessors have finished, in notebook order (or against it)."""
        if self.broken is not None:
            yield from self._rescues()
            return
        stop = self.first_failure()
        for first in sorted(self.groups, reverse=reverse):
            group = self.groups[first]
            if group.state is State.PENDING and (stop is None or first < stop) and self.predecessors_done(group):
                yield group

    def _rescues(self) -> Iterator[Group[O]]:
        """Yield the next group that runs although the run has failed, if its predecessor of this kind has ended."""
        for first in self.after_failure():
            group = self.groups[first]
            if group.state is State.RUNNING:
                return
            if not group.rescue:
                group.rescue, group.state, group.outcome = True, State.PENDING, None
            if group.state is State.PENDING:
                yield group
                return

    def after_failure(self) -> list[int]:
        """Return the groups that are to run after the first failure, by their first units."""
        stop = len(self.units) if self.broken is None else self.broken
        return [
            first
            for first in sorted(self.groups)
            if first > stop
            and all(unit.options.after_failure for unit in self.units[first : self.groups[first].last + 1])
        ]

    def predecessors_done(self, group: Group[O]) -> bool:
        """Tell whether everything that a group must wait for has finished."""
        return all(
            self.group_of(index).state is State.DONE
            for unit in range(group.first, group.last + 1)
            for index in self.units[unit].after
            if index < group.first
        )

    def group_of(self, unit: int) -> Group[O]:
        """Return the group a unit belongs to."""
        if unit in self.groups:
            return self.groups[unit]
        return next(group for group in self.groups.values() if group.first <= unit <= group.last)

    def first_failure(self) -> int | None:
        """Return the first unit of the first failed group, final or not."""
        failed = [first for first, group in self.groups.items() if group.state is State.FAILED]
        return min(failed, default=None)

    def before(self, unit: int) -> Iterator[O]:
        """Yield the outcomes that a unit sees, in notebook order."""
        for first in sorted(self.groups):
            group = self.groups[first]
            if self.broken is not None and first > self.broken and not group.rescue and unit < len(self.units):
                continue  # it has run ahead of the step that failed
            if group.last < unit and group.state is State.DONE and group.outcome is not None:
                yield group.outcome

    def bindings(self, unit: int) -> dict[str, OutputRef]:
        """Return name -> newest version as unit `unit` sees them; `len(units)` gives the state at the end."""
        bound = dict(self.given)
        for outcome in self.before(unit):
            bound.update(outcome.outputs)
        return {name: ref for name, ref in bound.items() if ref.kind != "deleted"}

    def join(self, first: int, last: int) -> list[Group[O]]:
        """Make units first..last one group; return the groups it swallows (some may be running)."""
        swallowed = [group for start, group in self.groups.items() if first < start <= last]
        for group in swallowed:
            last = max(last, group.last)
            del self.groups[group.first]
        self.groups[first].last = last
        return swallowed

    def last_reader(self, first: int, last: int, names: set[str]) -> int:
        """Return the last unit that is expected to read one of `names` from group first..last, else `last`."""
        readers = [
            edge.consumer
            for edge in self.edges
            if edge.name in names and first <= edge.producer <= last < edge.consumer
        ]
        return max(readers, default=last)

    def wanted(self, first: int, last: int) -> set[str]:
        """Return the names that later units are expected to read from group first..last."""
        return {edge.name for edge in self.edges if first <= edge.producer <= last < edge.consumer}
