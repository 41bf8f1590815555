"""The order in which sets are iterated over, which later code may depend on.

Where members collide in the hash table, their order depends on the order in which they came and went, so a set that is
filled again may iterate differently. Such sets are stored with the slot of each member; on load the members are moved
to their slots. Every step is checked, and taken back where anything does not fit: then only the order is lost.
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

SetOrder = tuple[Any, int, tuple[Any, ...], tuple[int, ...]]
"""A set, the mask of its table, its members in order, and the slot of each."""


def set_orders(sets: Iterable[Any]) -> list[SetOrder]:
    """Return what is needed to restore the order of those sets that would come back in another one."""
    found = []
    for one in sets:
        members = tuple(one)
        if len(members) < 2 or not all(_is_plain(member) for member in members):
            continue
        again = frozenset(members) if type(one) is frozenset else set(members)
        if all(map(_is, again, members)):
            continue
        layout = _layout(one, members)
        if layout is not None:
            found.append((one, layout[0], members, layout[1]))
    return found


def _is(first: object, second: object) -> bool:
    return first is second


def _is_plain(member: object) -> bool:
    return type(member) in _ATOMS or (type(member) is tuple and all(_is_plain(one) for one in member))


def _number(address: int) -> int:
    return ctypes.c_ssize_t.from_address(address).value


def _layout(one: Any, members: tuple[Any, ...]) -> tuple[int, tuple[int, ...]] | None:
    """Return mask and slots of a set, or None where the table does not look as expected."""
    if not _KNOWN_LAYOUT:
        return None
    used, mask = _number(id(one) + _USED), _number(id(one) + _MASK)
    if used != len(members) or mask < 7 or mask & (mask + 1) or mask > 20 * (len(members) + 8):
        return None
    table = _number(id(one) + _TABLE)
    raw = (ctypes.c_ssize_t * (2 * (mask + 1))).from_address(table)
    slots = tuple(slot for slot in range(mask + 1) if raw[2 * slot] and raw[2 * slot + 1] != -1)
    if [raw[2 * slot] for slot in slots] != [id(member) for member in members]:
        return None
    return mask, slots


def restore_orders(orders: list[SetOrder]) -> None:
    """Put the members of freshly loaded sets into their old slots (called from inside pickles)."""
    for one, mask, members, slots in orders:
        _restore(one, mask, members, slots)


def _restore(one: Any, mask: int, members: tuple[Any, ...], slots: tuple[int, ...]) -> None:
    now = _layout(one, tuple(one))
    if now is not None and now[0] != mask and type(one) is set:
        one.clear()
        one.update(dict.fromkeys(members))
        now = _layout(one, tuple(one))
    if now is None or now[0] != mask or _number(id(one) + _FILL) != len(members):
        return
    table = _number(id(one) + _TABLE)
    size = (mask + 1) * _ENTRY
    before = ctypes.string_at(table, size)
    entries = {
        id(member): before[slot * _ENTRY : (slot + 1) * _ENTRY] for member, slot in zip(one, now[1], strict=True)
    }
    after = bytearray(size)
    for member, slot in zip(members, slots, strict=True):
        if id(member) not in entries:
            return
        after[slot * _ENTRY : (slot + 1) * _ENTRY] = entries[id(member)]
    ctypes.memmove(table, bytes(after), size)
    if len(entries) != len(members) or not all(member in one for member in members):
        ctypes.memmove(table, before, size)
