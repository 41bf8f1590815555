"""The analysis of a whole notebook: which unit needs which, and what is wrong with its names."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence

from nbkube.dataflow import tables
from nbkube.dataflow.findings import Findings
from nbkube.dataflow.model import Dependency, Effects, Flow, NameUse, Unit, UnitFlow
from nbkube.dataflow.parse import place, quiet
from nbkube.dataflow.paths import DEFINED, DELETED, MAYBE
from nbkube.dataflow.units import Analysis, UnitFacts


def analyze(units: Sequence[Unit], *, file: str) -> Flow:
    """What each unit reads, writes and changes, and so which units depend on which.

    Never raises for what the notebook contains: every fault is a diagnostic. `file` is the notebook's name in places.
    """
    collecting = gc.isenabled()
    gc.disable()  # Syntax trees are many small objects without cycles: collecting them costs a third of the time.
    try:
        with quiet():
            return _analyze(units, file)
    finally:
        if collecting:
            gc.enable()


def _analyze(units: Sequence[Unit], file: str) -> Flow:
    analysis = Analysis()
    findings = Findings(file, analysis)
    definers = _Definers()
    order = _Order()
    flows: list[UnitFlow] = []
    edges: list[Dependency] = []
    for at, unit in enumerate(units):
        facts = analysis.unit(unit)
        producers: set[int] = set()
        reads: list[str] = []
        optional: list[str] = []
        for name, read in facts.reads.items():
            found = definers.producers(name)
            if not found.imported or found.units or name in facts.changed:
                (reads if read.definite else optional).append(name)
            for producer in found.units:
                edges.append(Dependency(producer, at, name))
                producers.add(producer)
            findings.use(at, name, read, found)
        findings.unit(at, facts)
        definers.add(at, facts)
        flow = _unit_flow(unit, facts, reads, optional, analysis, file)
        flows.append(flow)
        order.add(producers, flow.effects)
    after = tuple(order.after)
    if any(flow.effects.history for flow in flows):
        # Every cell adds to what `Out` and `In` hold, so none may overtake another.
        after = tuple((at - 1,) if at else () for at in range(len(flows)))
    return Flow(tuple(flows), tuple(edges), after, findings.report(units))


def _unit_flow(
    unit: Unit, facts: UnitFacts, reads: list[str], optional: list[str], analysis: Analysis, file: str
) -> UnitFlow:
    by_state: dict[int, list[str]] = {DEFINED: [], MAYBE: [], DELETED: []}
    for name, state in facts.bound.items():
        if state in by_state and not (name in facts.imported and state == DEFINED):
            by_state[state].append(name)
    uses = []
    for name in (*reads, *optional):
        where = facts.reads[name].place
        uses.append(NameUse(name, place(file, analysis.cells[where.cell], where.line)))
    return UnitFlow(
        unit.name,
        tuple(reads),
        tuple(optional),
        tuple(by_state[DEFINED]),
        tuple(by_state[MAYBE]),
        tuple(by_state[DELETED]),
        tuple(sorted(facts.changed)),
        tuple(facts.replay),
        _effects(facts.effects),
        tuple(uses),
    )


def _effects(bits: int) -> Effects:
    if not bits:
        return _QUIET
    return Effects(
        files=bool(bits & tables.FILES),
        random=bool(bits & tables.RANDOM),
        seeds=bool(bits & tables.SEEDS),
        process=bool(bits & tables.PROCESS),
        dynamic=bool(bits & tables.DYNAMIC),
        inspects_source=bool(bits & tables.INSPECTS),
        history=bool(bits & tables.HISTORY),
    )


_QUIET = Effects()


class Producers:
    """Who may have bound a name before: `units` whose values may be what a reader gets, newest first; whether an
    import bound it; whether it is certainly there (`definite`), or was deleted in a unit."""

    __slots__ = ("definite", "deleted", "imported", "units")

    def __init__(self, units: tuple[int, ...], *, imported: bool, definite: bool, deleted: int | None) -> None:
        self.units = units
        self.imported = imported
        self.definite = definite
        self.deleted = deleted


_NOBODY = Producers((), imported=False, definite=False, deleted=None)
_IMPORT = Producers((), imported=True, definite=True, deleted=None)


class _Definers:
    """The last unit that bound each name, and those that may have since."""

    def __init__(self) -> None:
        # A number is the unit that certainly bound the name last: by far the commonest case, and the smallest.
        self._known: dict[str, Producers | int] = {}

    def producers(self, name: str) -> Producers:
        known = self._known.get(name, _NOBODY)
        if type(known) is int:
            return Producers((known,), imported=False, definite=True, deleted=None)
        return known  # type: ignore[return-value]

    def add(self, at: int, facts: UnitFacts) -> None:
        known = self._known
        imported = facts.imported
        for name, state in facts.bound.items():
            if state == DEFINED:
                known[name] = _IMPORT if name in imported else at
            elif state == DELETED:
                known[name] = Producers((), imported=False, definite=False, deleted=at)
            elif state == MAYBE:
                self._perhaps(name, at)
        for name in facts.changed:
            if facts.bound.get(name) not in (DEFINED, DELETED):
                self._perhaps(name, at)

    def _perhaps(self, name: str, at: int) -> None:
        old = self.producers(name)
        if old.units[:1] != (at,):
            units = (at, *old.units)
            self._known[name] = Producers(units, imported=old.imported, definite=old.definite, deleted=None)


class _Order:
    """Which units must have finished before the next may start."""

    def __init__(self) -> None:
        self.after: list[tuple[int, ...]] = []
        self._ancestors: list[int] = []
        self._files = self._random = self._barriers = 0
        self._seeded = False

    def add(self, producers: set[int], effects: Effects) -> None:
        at = len(self.after)
        waits = self._barriers
        if effects.files:
            waits |= self._files
        draws = effects.seeds or (effects.random and self._seeded)
        if draws:
            waits |= self._random
        if effects.process or effects.dynamic or effects.history:
            waits = (1 << at) - 1
        after = set(producers)
        covered = 0
        for producer in sorted(producers, reverse=True):
            covered |= self._ancestors[producer] | 1 << producer
        waits &= ~covered
        while waits:
            last = waits.bit_length() - 1
            after.add(last)
            covered |= self._ancestors[last] | 1 << last
            waits &= ~covered
        self.after.append(tuple(sorted(after)))
        self._ancestors.append(covered)
        self._note(1 << at, effects, draws=draws)

    def _note(self, bit: int, effects: Effects, *, draws: bool) -> None:
        if effects.files:
            self._files |= bit
        if draws or effects.random:
            self._random |= bit
        if effects.process or effects.dynamic:
            self._barriers |= bit
        self._seeded = self._seeded or effects.seeds


def names_defined(flow: Flow) -> Iterator[str]:
    """Every name that some unit may bind."""
    for unit in flow.units:
        yield from unit.publishes
