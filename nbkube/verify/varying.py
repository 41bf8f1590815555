"""Telling what differs between notebook and pipeline from what differs between any two runs of the notebook."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

# Findings that two runs of one notebook may have because a value was drawn or read from a clock. All other kinds
# (a lost alias, another type or shape, a missing name) count even where the value varies.
VALUE = "value"
CHANCE = frozenset({VALUE, "shape", "length", "keys", "order"})
"""Kinds that may vary by themselves and yet be equal in two runs by chance: then the notebook is run again."""


class Finding(msgspec.Struct, frozen=True):
    """One difference of two namespaces: at `path` (which begins with a variable's name), of a `kind`."""

    name: str
    path: str
    kind: str
    left: str
    right: str


class Varying:
    """What varies by itself: what was found between two runs of the notebook.

    The values of one run reached the other through the store. `lost` is what storing and loading alone changes: it is
    no reason to excuse the pipeline, whose values have gone the same way.
    """

    def __init__(self, findings: Sequence[Finding], lost: Sequence[Finding] = ()) -> None:
        known = {(one.path, one.kind) for one in lost}
        own = [one for one in findings if (one.path, one.kind) not in known]
        self._kinds: dict[str, set[str]] = {}
        for one in own:
            self._kinds.setdefault(one.path, set()).add(one.kind)
        self.names = tuple(sorted({one.name for one in own}))

    def excuses(self, finding: Finding) -> bool:
        """Tell whether a finding is of a kind that the notebook itself shows at this place, or above it."""
        for place in _places(finding.path):
            # Where the index of a frame varies, its rows are others, in whatever column.
            if finding.kind == VALUE and f"{place}.index" in self._kinds:
                return True
            kinds = self._kinds.get(place)
            if kinds is None:
                continue
            # Where even type, length or sharing vary by themselves, nothing below can be compared.
            if finding.kind in kinds or kinds != {VALUE}:
                return True
        return False


def _places(path: str) -> Iterator[str]:
    """Yield a path and all it lies in: a['x'].y gives a['x'].y, a['x'], a."""
    yield path
    for end in range(len(path) - 1, 0, -1):
        if path[end] in ".[":
            yield path[:end]
