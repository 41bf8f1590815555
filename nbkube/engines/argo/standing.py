"""What the units of a run have come to, kept in the store for the pods that come after.

    runs/<id>/results/<pass>/<first>-<last>.json         a group's result, create-only: the first that is made counts
    runs/<id>/results/<pass>/<first>-<last>.failed.json  it has failed for good
    runs/<id>/tries/<pass>/<first>/<token>.json          a failed try that was followed by another
    runs/<id>/begun/<pass>/<unit>.json                   a pod of this unit has been there

Pass 0 is that of the graph, in which units may start early; pass 1 repeats, in notebook order, what did not hold; pass
2 are units that run after the failure of the run. A later pass overrides an earlier one, and a group that several units
had to share overrides those of its parts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import msgspec

from nbkube.decoding import from_json
from nbkube.engines.model import Submission
from nbkube.engines.results import Result
from nbkube.engines.schedule import Group, Schedule, State
from nbkube.errors import StorageError
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

_NAME = re.compile(r".*/results/(\d)/(\d{5})-(\d{5})(\.failed)?\.json")
_THREADS = 16

RESCUE = 2
"""The pass of what runs after a failure."""


@dataclass(frozen=True)
class Entry:
    """One record: which units it speaks of, from which pass, and whether they have failed."""

    name: str
    turn: int
    first: int
    last: int
    failed: bool


class Standing:
    """The results of one run as far as they are known."""

    def __init__(self, store: ObjectStore, submission: Submission) -> None:
        self._store = store
        self._submission = submission
        self._prefix = f"runs/{submission.run}/"
        self._known: dict[str, Result] = {}

    def entries(self) -> list[Entry]:
        """Return the records that count, in notebook order."""
        found = []
        for name in self._store.list(f"{self._prefix}results/"):
            match = _NAME.fullmatch(name)
            if match and int(match[3]) < len(self._submission.units):
                found.append(Entry(name, int(match[1]), int(match[2]), int(match[3]), bool(match[4])))
        return _counting(found)

    def load(self) -> Schedule[Result]:
        """Return the bookkeeping of the run as it stands: groups done or failed, all others pending."""
        entries = self.entries()
        given = self._submission
        plan: Schedule[Result] = Schedule(given.units, given.edges, given.bindings)
        for entry, result in zip(entries, self._read(entries), strict=True):
            plan.join(entry.first, entry.last)
            group = plan.groups[entry.first]
            group.state, group.outcome = (State.FAILED if entry.failed else State.DONE), result
            group.runs, group.rescue = entry.turn + 1, entry.turn == RESCUE
        return plan

    def keep(self, group: Group[Result], turn: int, result: Result) -> Result:
        """Note a group's result; return the one that counts, which another pod may have noted before."""
        name = f"{self._prefix}results/{turn}/{group.first:05}-{group.last:05}"
        data = msgspec.json.encode(result)
        if result.failure is not None:
            self._store.write(f"{name}.failed.json", data)
            return result
        if self._store.create(f"{name}.json", data):
            return result
        return self._decoded(f"{name}.json")

    def begin(self, unit: int, turn: int) -> bool:
        """Note that a pod of a unit has begun; tell whether it is the first of a pass."""
        return self._store.create(f"{self._prefix}begun/{turn}/{unit:05}.json", b"{}")

    def tries(self, group: Group[Result], turn: int) -> int:
        """Return how often a group has failed in a pass and was tried again."""
        return sum(1 for _ in self._store.list(f"{self._prefix}tries/{turn}/{group.first:05}/"))

    def note_try(self, group: Group[Result], turn: int, token: str) -> None:
        """Note that a try has failed and another is to follow."""
        self._store.create(f"{self._prefix}tries/{turn}/{group.first:05}/{token}.json", b"{}")

    def forget_failures(self) -> None:
        """Let the run go on where it failed: only what is done, and may have been done early, still counts."""
        for name in [*self._store.list(f"{self._prefix}results/"), *self._store.list(f"{self._prefix}tries/")]:
            if not name.startswith(f"{self._prefix}results/0/") or name.endswith(".failed.json"):
                self._store.remove(name)

    def _read(self, entries: Iterable[Entry]) -> list[Result]:
        new = [entry.name for entry in entries if entry.name not in self._known]
        with ThreadPoolExecutor(_THREADS) as pool:
            self._known.update(zip(new, pool.map(self._decoded, new), strict=True))
        return [self._known[entry.name] for entry in entries]

    def _decoded(self, name: str) -> Result:
        data = self._store.read(name)
        if data is None:
            raise StorageError(f"{self._store.url}: {name} is gone while the run goes on. Run the notebook again.")
        try:
            return from_json(data, Result)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StorageError(f"{self._store.url}: {name} cannot be read ({error}).") from error


def view_at(plan: Schedule[Result], base: FileView, unit: int) -> FileView:
    """Return the files that a unit sees."""
    view = base
    for outcome in plan.before(unit):
        view = view.with_diff(outcome.diff)
    return view


def metrics(plan: Schedule[Result]) -> dict[str, object]:
    """Return the metrics of the units that are done."""
    found: dict[str, object] = {}
    for outcome in plan.before(len(plan.units)):
        found.update(outcome.metrics)
    return found


def _counting(entries: Iterable[Entry]) -> list[Entry]:
    """Leave out what later or wider records override."""
    chosen: list[Entry] = []
    for entry in sorted(entries, key=lambda one: (-one.turn, one.first - one.last, one.failed, one.first)):
        if all(entry.last < one.first or one.last < entry.first for one in chosen):
            chosen.append(entry)
    return sorted(chosen, key=lambda one: one.first)
