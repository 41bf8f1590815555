"""The frozen types of data-flow analysis."""

from __future__ import annotations

from typing import Literal

import msgspec

from nbkube.errors import Diagnostic, Place
from nbkube.notebook.model import Cell

ReplayKind = Literal["future", "import", "config", "magic"]


class Unit(msgspec.Struct, frozen=True):
    """Consecutive cells that run together in one process: a step, a part of one, or set-up.

    With `when`, a Python expression, they run as if they stood below `if EXPRESSION:`.
    """

    name: str
    cells: tuple[Cell, ...]
    when: str = ""


class Replay(msgspec.Struct, frozen=True):
    """A top-level statement that every later unit runs again before its own cells, in notebook order.

    `needs` are notebook names (functions, mostly) that the statement uses; they are loaded before it runs. `binds` are
    the names it binds (imports, functions that are magics): a value published under such a name by the same or a later
    unit is the newer one.
    """

    kind: ReplayKind
    cell: int
    line: int
    source: str
    needs: tuple[str, ...] = ()
    binds: tuple[str, ...] = ()


class Effects(msgspec.Struct, frozen=True):
    """What a unit may do beside binding names; guesses err on the side of True, observation corrects them.

    `files` reads or writes files or starts processes. `random` may draw from global random state, `seeds` sets
    it. `process` changes environment, working directory or search path in a way that is not replayed. `dynamic`
    may bind or read names that cannot be known (`exec`, star import, `%run`, `globals()`). `inspects_source`:
    looks at its own source text, so comments and layout count. `history`: reads `_`, `Out`, `In` and the like.
    """

    files: bool = False
    random: bool = False
    seeds: bool = False
    process: bool = False
    dynamic: bool = False
    inspects_source: bool = False
    history: bool = False


class NameUse(msgspec.Struct, frozen=True):
    """A name and the place where the unit first uses it."""

    name: str
    place: Place


class UnitFlow(msgspec.Struct, frozen=True):
    """What one unit does with the notebook's names, transitively through the notebook functions it calls.

    `reads` are needed on every path, `optional_reads` on some path or only if defined earlier. `writes` are bound
    on every path, `may_writes` on some, `deletes` unbound. `mutates` are changed in place (always also read).
    `publishes` = writes + may_writes + mutates (the static guess of what the unit outputs).
    """

    name: str
    reads: tuple[str, ...] = ()
    optional_reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    may_writes: tuple[str, ...] = ()
    deletes: tuple[str, ...] = ()
    mutates: tuple[str, ...] = ()
    replay: tuple[Replay, ...] = ()
    effects: Effects = Effects()
    uses: tuple[NameUse, ...] = ()

    @property
    def publishes(self) -> frozenset[str]:
        """Names the unit is expected to put out."""
        return frozenset(self.writes) | frozenset(self.may_writes) | frozenset(self.mutates)


class Dependency(msgspec.Struct, frozen=True):
    """Unit `consumer` reads `name` from unit `producer` (indices in notebook order)."""

    producer: int
    consumer: int
    name: str


class Flow(msgspec.Struct, frozen=True):
    """The analysis of a whole notebook.

    `edges` carry data. `after[i]` are the units that must have finished before unit i starts: its data producers
    and every earlier unit it is not known to be independent of (notebook order is the default).
    """

    units: tuple[UnitFlow, ...]
    edges: tuple[Dependency, ...]
    after: tuple[tuple[int, ...], ...]
    diagnostics: tuple[Diagnostic, ...] = ()
