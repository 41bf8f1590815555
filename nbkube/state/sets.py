"""The order in which sets are iterated over, which later code may depend on.

Where members collide in the hash table, their order depends on the order in which they came and went, so a set that is
filled again may iterate differently. Such sets are stored with the slot of each member, and of each member removed, for
searches pass it. On load the members are moved to their slots. Every step is checked, and taken back where anything
does not fit: then only the order is lost.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Iterable
from typing import Any

_ENTRY = 16
_FILL, _USED, _MASK, _TABLE = 16, 24, 32, 40
_ATOMS = frozenset((str, bytes, int, float, bool, type(None), complex))
_KNOWN_LAYOUT = (
    sys.implementation.name == "cpython"
    and (3, 11) <= sys.version_info[:2] <= (3, 13)
    and ctypes.sizeof(ctypes.c_void_p) == 8
    and not sysconfig.get_config_var("Py_GIL_DISABLED")
)
"""The layout of `PySetObject` in CPython's Include/cpython/setobject.h; elsewhere sets keep no special order."""

SetOrder = tuple[Any, int, tuple[Any, ...], tuple[int, ...], tuple[int, ...]]
"""A set, the mask of its table, its members in order, the slot of each, and the slots of removed members."""


def set_orders(sets: Iterable[Any]) -> list[SetOrder]:
    """Return what is needed to restore the order of those sets that would come back in another one."""
    found = []
    for one in sets:
        members = tuple(one)
        if not members or not all(_is_plain(member) for member in members):
            continue
        again = frozenset(members) if type(one) is frozenset else set(members)
        if _has_table_of(again, one) and all(map(_is, again, members)):
            continue
        layout = _layout(one, members)
        if layout is not None:
            found.append((one, layout[0], members, *layout[1:]))
    return found


def _is(first: object, second: object) -> bool:
    return first is second


def _is_plain(member: object) -> bool:
    return type(member) in _ATOMS or (type(member) is tuple and all(_is_plain(one) for one in member))


def _number(address: int) -> int:
    return ctypes.c_ssize_t.from_address(address).value


def _has_table_of(again: Any, one: Any) -> bool:
    """Tell whether a set filled again has as many slots as `one`, and as many taken: then both go on alike."""
    return not _KNOWN_LAYOUT or all(_number(id(again) + at) == _number(id(one) + at) for at in (_FILL, _MASK))


def _layout(one: Any, members: tuple[Any, ...]) -> tuple[int, tuple[int, ...], tuple[int, ...]] | None:
    """Return mask, slots of members and of removed ones, or None where the table does not look as expected."""
    if not _KNOWN_LAYOUT:
        return None
    used, mask = _number(id(one) + _USED), _number(id(one) + _MASK)
    if used != len(members) or mask < 7 or mask & (mask + 1) or mask > 1000 * (len(members) + 8):
        return None
    if one.__sizeof__() != type(one).__basicsize__ + ((mask + 1) * _ENTRY if mask > 7 else 0):
        return None
    raw = (ctypes.c_ssize_t * (2 * (mask + 1))).from_address(_number(id(one) + _TABLE))
    taken = [slot for slot in range(mask + 1) if raw[2 * slot]]
    slots = tuple(slot for slot in taken if raw[2 * slot + 1] != -1)
    gaps = tuple(slot for slot in taken if raw[2 * slot + 1] == -1)
    if [raw[2 * slot] for slot in slots] != [id(member) for member in members]:
        return None
    return mask, slots, gaps


def restore_orders(orders: list[SetOrder]) -> None:
    """Put the members of freshly loaded sets into their old slots (called from inside pickles)."""
    for one, mask, members, slots, gaps in orders:
        _restore(one, mask, members, slots, gaps)


def _restore(one: Any, mask: int, members: tuple[Any, ...], slots: tuple[int, ...], gaps: tuple[int, ...]) -> None:
    now = _layout(one, tuple(one))
    if now is not None and now[0] != mask and _change_table(one, now[0], mask, members):
        now = _layout(one, tuple(one))
    if now is None or now[0] != mask:
        return
    table, size, fill = _number(id(one) + _TABLE), (mask + 1) * _ENTRY, _number(id(one) + _FILL)
    before = ctypes.string_at(table, size)
    entries = {member: _entry(before, slot) for member, slot in zip(one, now[1], strict=True)}
    if len(entries) != len(members) or not all(member in entries for member in members):
        return
    after = bytearray(size)
    for member, slot in zip(members, slots, strict=True):
        after[slot * _ENTRY : (slot + 1) * _ENTRY] = entries[member]
    gap = _gap() if gaps else b""
    for slot in gaps:
        after[slot * _ENTRY : (slot + 1) * _ENTRY] = gap
    _write(one, bytes(after), len(members) + len(gaps))
    if not all(member in one for member in members):
        _write(one, before, fill)


def _change_table(one: Any, before: int, mask: int, members: tuple[Any, ...]) -> bool:
    """Give a set a table of the size it had; whether that was done."""
    if type(one) is set:
        _fill_table(one, mask, members)
        return True
    if type(one) is not frozenset or min(before, mask) <= 7:  # tables of eight slots are part of their sets
        return False
    other: set[Any] = set()
    _fill_table(other, mask, members)
    if _layout(other, tuple(other)) is None:
        return False
    for at in (_FILL, _USED, _MASK, _TABLE):
        first, second = (ctypes.c_ssize_t.from_address(id(held) + at) for held in (one, other))
        first.value, second.value = second.value, first.value
    return True


def _fill_table(one: set[Any], mask: int, members: tuple[Any, ...]) -> None:
    """Fill a set again so that its table gets the size it had: an empty set makes room for twice a dict's size."""
    first = max((mask + 1) // 4, 5) if mask > 7 else 0
    others = [object() for _ in range(first - len(members))]
    one.clear()
    one.update(dict.fromkeys((*members[:first], *others)))
    for other in others:
        one.discard(other)
    one.update(members[first:])


def _gap() -> bytes:
    """Return what a table holds where a member has been removed."""
    probe = {0}
    probe.discard(0)
    return ctypes.string_at(_number(id(probe) + _TABLE), _ENTRY)


def _write(one: Any, entries: bytes, fill: int) -> None:
    ctypes.memmove(_number(id(one) + _TABLE), entries, len(entries))
    ctypes.c_ssize_t.from_address(id(one) + _FILL).value = fill


def _entry(table: bytes, slot: int) -> bytes:
    return table[slot * _ENTRY : (slot + 1) * _ENTRY]
