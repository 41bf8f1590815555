"""How objects of special types are stored: one plain table, keyed by qualified type name.

A reducer gets the pickler and the object and returns what `__reduce_ex__` may return. Libraries are never imported
here: their types are met only once the notebook has imported them.

Other distributions add reducers by entry points of the group `nbkube.reducers`: the entry point's name is the qualified
name of a type (`package.module.Class`; it holds for subclasses, too), its value the reducer. What the reducer returns
must be importable when the value is loaded. A reducer of this package goes before one from elsewhere.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Reducer = Callable[[Any, Any], Any]

EXACT: dict[str, Reducer] = {}
"""For the very type."""

FAMILY: dict[str, Reducer] = {}
"""For a type and all its subclasses."""

_MISSING = object()
_found: dict[type, Reducer | None] = {}


def exact(*names: str) -> Callable[[Reducer], Reducer]:
    """Register a reducer for the types of these qualified names."""

    def register(reducer: Reducer) -> Reducer:
        EXACT.update(dict.fromkeys(names, reducer))
        return reducer

    return register


def family(*names: str) -> Callable[[Reducer], Reducer]:
    """Register a reducer for these types and their subclasses."""

    def register(reducer: Reducer) -> Reducer:
        FAMILY.update(dict.fromkeys(names, reducer))
        return reducer

    return register


def type_name(kind: type) -> str:
    """Return a type's qualified name."""
    return f"{kind.__module__}.{kind.__qualname__}"


def find_reducer(kind: type) -> Reducer | None:
    """Return the reducer for objects of a type, or None for the usual way."""
    reducer = _found.get(kind, _MISSING)
    if reducer is _MISSING:
        reducer = _found[kind] = _look_up(kind)
    return reducer  # type: ignore[return-value]


def _look_up(kind: type) -> Reducer | None:
    found = EXACT.get(type_name(kind))
    if found is not None:
        return found
    for base in kind.__mro__:
        found = FAMILY.get(type_name(base))
        if found is not None:
            return found
    others = plugins() if kind.__module__ != "builtins" else {}
    for base in kind.__mro__ if others else ():
        if type_name(base) in others:
            added: Reducer = others[type_name(base)].load()
            return added
    return None


@functools.cache
def plugins() -> dict[str, Any]:
    """Return the entry points of reducers in other distributions, by the name of the type."""
    from importlib.metadata import entry_points

    return {one.name: one for one in entry_points(group="nbkube.reducers")}
