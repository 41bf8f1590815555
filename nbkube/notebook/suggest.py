"""Did you mean …?"""

from __future__ import annotations

from collections.abc import Iterable


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that a mistyped one most likely stands for, or ""."""
    choices = sorted(set(known))
    folded = {_folded(one): one for one in reversed(choices)}
    exact = folded.get(_folded(word))
    if exact:
        return exact
    near = [(distance, one) for one in choices if (distance := edits(_folded(word), _folded(one))) <= _allowed(word)]
    if near:
        return min(near)[1]
    import difflib

    matches = difflib.get_close_matches(_folded(word), list(folded), n=1, cutoff=0.75)
    return folded[matches[0]] if matches else ""


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Return the hint for an unknown word: the closest known one, or else what is said in `otherwise`."""
    found = closest(word, known)
    return f"did you mean {found}?" if found else otherwise


def edits(left: str, right: str, limit: int = 3) -> int:
    """Return how many letters differ (inserted, left out, changed, or two neighbours swapped); `limit` if more."""
    if abs(len(left) - len(right)) >= limit:
        return limit
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        earlier, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (a != b))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
    return min(row[-1], limit)


def _allowed(word: str) -> int:
    return 0 if len(word) <= 2 else 1 if len(word) <= 5 else 2


def _folded(word: str) -> str:
    return word.strip().casefold().replace("_", "-").replace(" ", "-")
