"""Which pods follow which: the units of a submission, those that share a process taken together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nbkube.engines.argo.needs import together
from nbkube.engines.model import Submission
from nbkube.pipeline.model import StepOptions


@dataclass(frozen=True)
class Node:
    """One pod: units `first` to `last`, what they ask for together, and the nodes (by `first`) it waits for.

    It needs all in `after` to have succeeded, and `behind` merely to have ended. `then` are the first units of nodes
    that run after it in the same pod.
    """

    first: int
    last: int
    name: str
    options: StepOptions
    after: tuple[int, ...] = ()
    behind: int | None = None
    then: tuple[int, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The nodes in notebook order. `chain`: each waits for all before it, so that nothing starts early.

    `rescues`: the units that run also after a failure, each in a pod of its own then.
    """

    nodes: tuple[Node, ...]
    chain: bool
    rescues: tuple[Node, ...] = ()

    @classmethod
    def of(cls, submission: Submission, groups: Iterable[tuple[int, int]] = (), known: int = 0) -> Graph:
        """Return the graph of a submission.

        Args:
            submission: what is to run.
            groups: first and last of units that have to share a process, as an earlier run found.
            known: how many units at the beginning have results already and need no pod.

        Raises:
            DataflowError: units that have to share a process cannot share a pod.
        """
        ranges = _ranges(len(submission.units), groups, known)
        start = {unit: first for first, last in ranges for unit in range(first, last + 1)}
        ancestors: dict[int, int] = {}
        nodes = []
        chain = True
        for first, last in ranges:
            units = submission.units[first : last + 1]
            needed = {start[one] for unit in units for one in unit.after if one in start} - {first}
            direct, covered = _reduced(needed, ancestors)
            chain = chain and all(covered >> earlier & 1 for earlier in ancestors)
            ancestors[first] = covered
            names = [unit.program.unit for unit in units]
            nodes.append(Node(first, last, names[0], together([unit.options for unit in units], names), direct))
        rescues = tuple(
            Node(at, at, unit.program.unit, unit.options)
            for at, unit in enumerate(submission.units)
            if at >= known and unit.options.after_failure
        )
        return cls(_one_by_one(nodes) if submission.adversarial else tuple(nodes), chain, rescues)

    def leaves(self) -> tuple[Node, ...]:
        """Return the nodes that nothing waits for."""
        waited = {one for node in self.nodes for one in (*node.after, node.behind)}
        return tuple(node for node in self.nodes if node.first not in waited)


def _ranges(count: int, groups: Iterable[tuple[int, int]], known: int) -> list[tuple[int, int]]:
    last_of = dict(groups)
    ranges = []
    at = known
    while at < count:
        ranges.append((at, max(at, last_of.get(at, at))))
        at = ranges[-1][1] + 1
    return ranges


def _reduced(needed: set[int], ancestors: dict[int, int]) -> tuple[tuple[int, ...], int]:
    """Leave out what waiting for the others implies; return the rest and all ancestors as bits."""
    direct: list[int] = []
    covered = 0
    for one in sorted(needed, reverse=True):
        if not covered >> one & 1:
            direct.append(one)
        covered |= ancestors[one] | 1 << one
    return tuple(sorted(direct)), covered


def _one_by_one(nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Put nodes behind each other, and of those that could run at the same time the last first."""
    left = {node.first: node for node in nodes}
    behind: dict[int, int | None] = {}
    before: int | None = None
    while left:
        first = max(one for one, node in left.items() if not left.keys() & set(node.after))
        behind[first] = before
        before = first
        del left[first]
    return tuple(Node(one.first, one.last, one.name, one.options, one.after, behind[one.first]) for one in nodes)
