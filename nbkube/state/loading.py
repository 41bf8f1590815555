"""What functions called from inside a pickle may ask for: the stream that is being loaded, and its loader."""

from __future__ import annotations

import threading
from typing import Any, Protocol

from nbkube.errors import StateError
from nbkube.state.code import Places


class Resolver(Protocol):
    """What a stream needs of the process it is loaded into."""

    @property
    def globals(self) -> dict[str, Any]:
        """The live namespace that notebook functions see."""

    def named(self, name: str) -> object:
        """Return the value of a name of the notebook; raise `KeyError` where there is none."""

    def definition(self, key: str) -> object:
        """Return the one object of a definition, made on first use."""

    def adopt(self, key: str, value: object) -> None:
        """Take a freshly made function or class as the one object of a definition."""


class Loading:
    """One stream on its way in."""

    def __init__(self, resolver: Resolver, places: Places, refs: list[object]) -> None:
        self.resolver = resolver
        self.places = places
        self.refs = refs


class _Stack(threading.local):
    def __init__(self) -> None:
        self.items: list[Loading] = []


_stack = _Stack()


def push(loading: Loading) -> None:
    """Make a stream the current one of this thread."""
    _stack.items.append(loading)


def pop() -> None:
    """Go back to the stream before."""
    _stack.items.pop()


def current() -> Loading:
    """Return the stream that this thread is loading."""
    if not _stack.items:
        raise StateError("Stored state can only be loaded by nbkube, not by a bare pickle.")
    return _stack.items[-1]


def external(index: int) -> object:
    """Return an object of another blob (called from inside pickles)."""
    return current().refs[index]


def definition(key: str) -> object:
    """Return the one object of a definition (called from inside pickles)."""
    return current().resolver.definition(key)
