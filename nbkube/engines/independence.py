"""Which units need not wait for each other, as earlier runs of the same code have shown.

Analysis lets units run beside each other only where it can tell that they do not meet: two that write files are run one
after another, whatever files these are. What an earlier run saw of them tells more. It also tells of dependencies that
analysis cannot see, so that a unit is not run too early a second time. All of it is advice: whether a result holds is
told from what is observed this time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from nbkube.dataflow.model import Dependency
from nbkube.engines.model import UnitPlan
from nbkube.engines.schedule import Outcome
from nbkube.state.model import AGAIN

_MOST_PATHS = 2000


class Observed(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a unit was seen to do: names (pseudo-names of process state included) and paths.

    `looked` are files that were read or missed, `listed` folders; `everything` stands for more than can be listed.
    `wrote` are paths changed or removed.
    """

    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    looked: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    everything: bool = False
    wrote: tuple[str, ...] = ()

    @classmethod
    def of(cls, outcome: Outcome) -> Observed:
        """Return the part of an outcome that tells what it depends on and what depends on it."""
        files = outcome.files
        looked = (*files.read, *files.missed)
        much = len(looked) + len(files.listed) > _MOST_PATHS
        return cls(
            # What a unit makes again for itself it does not wait for.
            reads=tuple(name for name, version in outcome.reads.items() if not version.startswith(AGAIN)),
            writes=tuple(outcome.outputs),
            looked=() if much else looked,
            listed=() if much else tuple(files.listed),
            everything=much,
            wrote=(*(entry.path for entry in outcome.diff.changed), *outcome.diff.removed),
        )


def reordered(
    units: Sequence[UnitPlan], edges: Iterable[Dependency], known: Mapping[str, Observed]
) -> tuple[UnitPlan, ...]:
    """Return the units with what each waits for as the record has it, where there is one.

    Args:
        units: the units in notebook order, each after those that analysis wants it to wait for.
        edges: data dependencies, which are kept in any case.
        known: what was observed, by the digest of the unit's program.
    """
    seen = [known.get(unit.program.digest) for unit in units]
    if not any(seen):
        return tuple(units)
    producers: list[set[int]] = [set() for _ in units]
    for edge in edges:
        producers[edge.consumer].add(edge.producer)
    ancestors: list[int] = []
    writers = _Writers()
    unknown = 0
    made = []
    for at, (unit, own) in enumerate(zip(units, seen, strict=True)):
        before = 0
        for one in unit.after:
            before |= ancestors[one] | 1 << one
        ancestors.append(before)
        if own is None:
            unknown |= 1 << at
            made.append(unit)
            continue
        after = producers[at] | writers.met_by(own) | set(_members(before & unknown))
        made.append(msgspec.structs.replace(unit, after=tuple(sorted(after))))
        writers.add(at, own)
    return tuple(made)


def _members(bits: int) -> Iterable[int]:
    while bits:
        last = bits.bit_length() - 1
        yield last
        bits ^= 1 << last


class _Writers:
    """The last unit that wrote each name, each path, and something in each folder or at its place."""

    def __init__(self) -> None:
        self._names: dict[str, int] = {}
        self._places: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._any: int | None = None

    def add(self, at: int, own: Observed) -> None:
        self._names.update(dict.fromkeys(own.writes, at))
        for path in own.wrote:
            self._any = at
            self._folders[path.rpartition("/")[0] or "."] = at
            while path:
                # Who missed a folder would have found it.
                self._places[path] = at
                path = path.rpartition("/")[0]

    def met_by(self, own: Observed) -> set[int]:
        found = {self._names.get(name) for name in own.reads}
        found |= {self._places.get(path) for path in own.looked}
        found |= {self._folders.get(path) for path in own.listed}
        if own.everything:
            found.add(self._any)
        return {one for one in found if one is not None}
