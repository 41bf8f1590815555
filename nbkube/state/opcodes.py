"""Looking for sets in a pickle without loading it, and without the pickler's memo, which has a tuple per object.

The bytes that write a set may as well be part of a number or a text. So where they come up, the opcodes of that frame
are counted off from its start. Format: PEP 3154; lengths of arguments: CPython's Lib/pickletools.py.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator

_PATTERNS = (pickle.EMPTY_SET + pickle.MEMOIZE + pickle.MARK, pickle.FROZENSET + pickle.MEMOIZE)
"""How sets with members begin, and how frozen ones end."""

_FRAME = pickle.FRAME[0]
_PATIENCE = 100_000


def may_hold_sets(data: bytes) -> bool:
    """Tell whether pickles of protocol 4 or 5, one after another, write a set with members (or an empty frozen one).

    The answer may also be yes where it would take long to be sure.
    """
    if not any(pattern in data for pattern in _PATTERNS):
        return False
    left = max(_PATIENCE, len(data) // 64)
    for start, end in _frames(data):
        counted, found = _count_off(data, start, end, left)
        left -= counted
        if found or left <= 0:
            return True
    return False


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each frame; what lies between them is passed over opcode by opcode."""
    at = 0
    while at < len(data):
        if data[at] == _FRAME:
            start = at + 9
            at = start + int.from_bytes(data[at + 1 : start], "little")
            yield start, at
        else:
            yield at, at + 1  # small pickles have no frame
            at = _next(data, at)


def _count_off(data: bytes, start: int, end: int, most: int) -> tuple[int, bool]:
    """Return how many opcodes of a frame were counted, and whether one of the patterns stands at one."""
    found = {hit for pattern in _PATTERNS for hit in _places(data, pattern, start, end)}
    at, counted = start, 0
    for hit in sorted(found):
        while at < hit and counted < most:
            at = _next(data, at)
            counted += 1
        if at == hit:
            return counted, True
    return counted, False


def _places(data: bytes, pattern: bytes, start: int, end: int) -> Iterator[int]:
    last = end + len(pattern) - 1  # a frame may end, or be missing, behind the pattern's first byte
    at = data.find(pattern, start, last)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1, last)


def _next(data: bytes, at: int) -> int:
    """Return where the opcode behind the one at a place stands."""
    size = _argument_sizes()[data[at]]
    if size >= 0:
        return at + 1 + size
    if size < -8:  # an argument that ends with its line
        return data.index(b"\n", at) + 1
    start = at + 1 - size
    return start + int.from_bytes(data[at + 1 : start], "little")


@functools.cache
def _argument_sizes() -> list[int]:
    """Return by opcode the bytes of its argument; -N where N bytes say how many follow, -9 where a line does."""
    import pickletools

    sizes = [0] * 256
    counted = {
        pickletools.TAKEN_FROM_ARGUMENT1: -1,
        pickletools.TAKEN_FROM_ARGUMENT4: -4,
        pickletools.TAKEN_FROM_ARGUMENT4U: -4,
        pickletools.TAKEN_FROM_ARGUMENT8U: -8,
        pickletools.UP_TO_NEWLINE: -9,
    }
    for one in pickletools.opcodes:
        if one.arg is not None:
            sizes[ord(one.code)] = counted.get(one.arg.n, one.arg.n)
    return sizes
