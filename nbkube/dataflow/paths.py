"""Which names are bound on which way through the code: one path per branch, joined where branches meet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from nbkube.dataflow.values import Read

ABSENT, DEFINED, MAYBE, DELETED, MAYBE_GONE = 0, 1, 2, 3, 4
"""State of a name on a path: not touched, bound, bound on some way, unbound, perhaps unbound (`except … as`)."""

IN_LOOP, RETURNED = 1, 2
"""How an earlier statement may have left: the body of a loop, or the whole function."""

End = Literal["", "raise", "jump"]


@dataclass(eq=False, slots=True)
class Path:
    """What has happened on the way from the start of a block to the current statement.

    `maybe` counts the conditions around the current expression; `jumped` says that an earlier statement may have
    left the block, so that reads no longer happen on every path (`tentative`: any
    use of a name may do so). `end`: how the path was left, if it was.
    """

    parent: Path | None = None
    bound: dict[str, int] = field(default_factory=dict)
    reads: dict[str, Read] = field(default_factory=dict)
    maybe: int = 0
    jumped: int = 0
    tentative: bool = False
    end: End = ""

    def state(self, name: str) -> int:
        """What this path and those around it know of `name`."""
        path: Path | None = self
        while path is not None:
            state = path.bound.get(name)
            if state is not None:
                return state
            path = path.parent
        return ABSENT

    def since(self, start: Path) -> dict[str, int]:
        """All states set from the beginning of `start` to here."""
        path: Path | None = self
        layers = []
        while path is not None:
            layers.append(path.bound)
            if path is start:
                break
            path = path.parent
        merged: dict[str, int] = {}
        for layer in reversed(layers):
            merged.update(layer)
        return merged


def meet(outer: Path, alternatives: list[dict[str, int]]) -> None:
    """Continue on `outer` after blocks of which exactly one was gone through."""
    if not alternatives:
        return
    if len(alternatives) == 1:
        outer.bound.update(alternatives[0])
        return
    for name in {name: None for bound in alternatives for name in bound}:
        before = -1
        states = set()
        for bound in alternatives:
            state = bound.get(name)
            if state is None:
                if before < 0:
                    before = outer.state(name)
                state = before
            states.add(state)
        outer.bound[name] = states.pop() if len(states) == 1 else _joined(states)


def _joined(states: set[int]) -> int:
    if states <= {ABSENT, DELETED, MAYBE_GONE}:
        return MAYBE_GONE
    return MAYBE


def join_reads(outer: Path, branches: list[Path]) -> None:
    """Reads of the branches become reads of `outer`: on every path if all branches that go on have them."""
    going = [branch for branch in branches if branch.end != "raise"] or branches
    certain = not outer.maybe and not outer.jumped
    for branch in branches:
        for name, read in branch.reads.items():
            definite = certain and read.definite and all(_reads(one, name) for one in going)
            known = outer.reads.get(name)
            if known is None or (definite and not known.definite):
                outer.reads[name] = read if read.definite == definite else read._replace(definite=definite)
    outer.jumped = max(outer.jumped, *(branch.jumped for branch in branches))


def _reads(branch: Path, name: str) -> bool:
    read = branch.reads.get(name)
    return read is not None and read.definite


class Loop:
    """The ways out of one loop: what was bound at each `break` and `continue`."""

    __slots__ = ("breaks", "continues", "start")

    def __init__(self, start: Path) -> None:
        self.start = start
        self.breaks: list[dict[str, int]] = []
        self.continues: list[dict[str, int]] = []
