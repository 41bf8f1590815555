"""What analysis knows of a value: which names may share it, what definitions it carries, where it comes from."""

from __future__ import annotations

import ast
import builtins
import itertools
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

IMMUTABLE = 1
"""Numbers, text, None: cannot be changed in place, so sharing it means nothing."""
STATEFUL = 2
"""Iterators and random generators: every use changes them."""
KEEPER = 4
"""Containers and constructed objects: they keep what they are given."""
IMPORTED = 8
"""Bound by a replayed import: every later unit has it without loading anything."""
MODULE = 16
"""Bound by `import`, so that a change through it is a change of process state."""
SEEDED = 32
"""Made with an explicit random state."""
LITERAL = 64
"""Assigned from a literal constant."""

CLOSURE = "\0closure"
"""Stands among roots for variables of an enclosing function: state of the function object itself."""


class Value:
    """What may be known of the value of an expression.

    `roots`: names (of the notebook, or tokens of parameters) whose object it may be. `inner`: those whose objects it
    may hold. `carries`: notebook definitions that using it may call. `dotted`: full name of the imported thing that it
    is; `made`: of the imported thing whose call made it.
    """

    __slots__ = ("carries", "dotted", "flags", "inner", "made", "roots")

    def __init__(
        self,
        roots: frozenset[str] = frozenset(),
        carries: tuple[Carried, ...] = (),
        dotted: str = "",
        flags: int = 0,
        made: str = "",
        inner: frozenset[str] = frozenset(),
    ) -> None:
        self.roots = roots
        self.carries = carries
        self.dotted = dotted
        self.flags = flags
        self.made = made
        self.inner = inner

    @property
    def reach(self) -> frozenset[str]:
        """Names whose objects can be got at through this value."""
        return self.roots | self.inner if self.inner else self.roots


class Place(NamedTuple):
    """Where something stands: index of the cell in the analysis, line in its source."""

    cell: int
    line: int


@dataclass(eq=False, slots=True)
class Function:
    """A function or lambda of the notebook, analysed when first called, with the names as they are then."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    cell: int
    scope: Scope | None
    owner: Class | None = None
    local: frozenset[str] = frozenset()
    global_names: frozenset[str] = frozenset()
    nonlocal_names: frozenset[str] = frozenset()
    kind: Literal["", "static", "class", "property"] = ""
    effect: CallEffect | None = None
    looked: dict[str, Value | None] | None = None
    active: bool = False
    prepared: bool = False
    generator: bool = False
    serial: int = field(default_factory=itertools.count().__next__)


@dataclass(eq=False, slots=True)
class Class:
    """A class of the notebook: its methods and what its bases carry."""

    name: str
    methods: dict[str, Function] = field(default_factory=dict)
    bases: tuple[Carried, ...] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """An object of a notebook class."""

    of: Class


@dataclass(frozen=True, slots=True)
class Bound:
    """A method together with the roots of the object it was taken from."""

    function: Function
    receiver: frozenset[str]


Carried = Function | Class | Instance | Bound


@dataclass(eq=False, slots=True)
class Scope:
    """Local variables of one function, comprehension or class body while it is analysed."""

    local: frozenset[str] | set[str]
    parent: Scope | None
    global_names: frozenset[str] = frozenset()
    nonlocal_names: frozenset[str] = frozenset()
    values: dict[str, Value | None] = field(default_factory=dict)
    kind: Literal["function", "class", "block"] = "function"
    owner: Class | None = None
    receiver: frozenset[str] = frozenset()


class Read(NamedTuple):
    """A use of a name: on every path or only on some (`definite`), and whether a NameError is expected there."""

    definite: bool
    place: Place
    guarded: bool = False


class Mark(NamedTuple):
    """Something to tell about a place: what, where, in which words of the code, and whether it surely happens."""

    kind: Literal["input", "exit", "path"]
    place: Place
    text: str
    definite: bool


@dataclass(eq=False, slots=True)
class CallEffect:
    """What calling a function does.

    `changed` may hold tokens of parameters, `links` are pairs of sets of roots that share objects afterwards, `values`
    what the written globals hold, `marks` what is to be told, `carried` definitions put into the objects of some roots.
    """

    reads: dict[str, Read] = field(default_factory=dict)
    bound: dict[str, int] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    links: list[tuple[frozenset[str], frozenset[str]]] = field(default_factory=list)
    returns: Value | None = None
    effects: int = 0
    marks: dict[Mark, None] = field(default_factory=dict)
    carried: list[tuple[frozenset[str], tuple[Carried, ...]]] = field(default_factory=list)


FRESH = Value()
CONSTANT = Value(flags=IMMUTABLE | LITERAL)
NUMBER = Value(flags=IMMUTABLE)
ITERATOR = Value(flags=STATEFUL)

BUILTINS: dict[str, Value] = {
    name: Value(dotted=f"builtins.{name}", flags=IMPORTED)
    for name in (
        *dir(builtins),
        "get_ipython",
        "display",
        "exit",
        "quit",
        "help",
        "__name__",
        "__class__",
        "__IPYTHON__",
    )
}
"""Names that need no definition in the notebook (`__file__` does: a notebook has none)."""
for _name in ("__name__", "__doc__", "__builtins__", "__spec__", "__loader__", "__package__"):
    BUILTINS[_name] = CONSTANT

HISTORY = frozenset({"_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh", "In", "Out", "__annotations__"})


def is_history(name: str) -> bool:
    """Whether all cells add to what this name holds: earlier inputs and outputs (`_`, `Out`, `_3`, `_i3`) by IPython,
    annotations of variables by Python."""
    return name in HISTORY or (name[:1] == "_" and name[1:].removeprefix("i").isdigit())


def join(left: Value | None, right: Value | None) -> Value | None:
    """What is known when a value may be either."""
    if left is right or right is None:
        return left
    if left is None:
        return right
    return Value(
        left.roots | right.roots,
        left.carries if left.carries == right.carries else tuple(dict.fromkeys((*left.carries, *right.carries))),
        left.dotted if left.dotted == right.dotted else "",
        (left.flags & right.flags) | ((left.flags | right.flags) & (STATEFUL | KEEPER)),
        left.made if left.made == right.made else "",
        left.inner | right.inner,
    )


def keep(values: list[Value | None]) -> Value | None:
    """A container of `values`: shares their objects, carries their definitions."""
    roots: set[str] = set()
    carries: list[Carried] = []
    for value in values:
        if value is not None:
            if not value.flags & (IMMUTABLE | IMPORTED):
                roots |= value.roots
                roots |= value.inner
            carries.extend(value.carries)
    return Value(frozenset(), tuple(dict.fromkeys(carries)), flags=KEEPER, inner=frozenset(roots))


def part(value: Value) -> Value:
    """An element or attribute of `value`."""
    if not value.inner:
        return value
    return Value(
        value.roots | value.inner, value.carries, flags=value.flags & KEEPER, made=value.made, inner=value.inner
    )
