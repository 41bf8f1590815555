"""Comparing the objects of two processes in lockstep: values, and what shares what with what.

Both graphs are walked at once. For objects whose identity counts a bijection is built on the way: where one side meets
an object again and the other does not, sharing was lost or added, and that is a difference.
"""

from __future__ import annotations

import functools
import math
import types
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

from nbkube.state.definitions import CACHED, importable, is_notebook, qualified_name
from nbkube.state.identity import has_identity
from nbkube.state.summary import summary_of, type_of

_PER_NAME = 10
"""Differences listed for one variable; the rest follows from them more often than not."""
_ATOMS = (bool, int, str, bytes, type(None), complex, bytearray)
_OPAQUE = (
    "generator",
    "coroutine",
    "lock",
    "RLock",
    "frame",
    "traceback",
    "memoryview",
    "Popen",
    "socket",
    "Connection",
)


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not the same: at `path` (it starts with the variable's name) the sides have `left` and `right`.

    `kind`: type, value, length, shape, keys, order, identity (sharing lost or added), memory (arrays sharing memory or
    not), missing, code.
    """

    name: str
    path: str
    kind: str
    left: str
    right: str

    @property
    def message(self) -> str:
        """What differs, in words."""
        return f"{self.kind}: {self.left} here, {self.right} there"

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


def compare(
    left: Mapping[str, object],
    right: Mapping[str, object],
    *,
    varying: frozenset[str] = frozenset(),
    tolerance: float | None = None,
) -> list[Difference]:
    """Compare two sets of variables; names in `varying` by type and shape only. No difference: an empty list."""
    walk = _Walk(tolerance)
    for name in sorted({*left, *right}):
        if name not in right:
            walk.note_at(name, name, "missing", summary_of(left[name]), "no such variable")
        elif name not in left:
            walk.note_at(name, name, "missing", "no such variable", summary_of(right[name]))
        elif name in varying:
            walk.outline(name, left[name], right[name])
    for name in sorted({*left} & {*right} - varying):
        walk.run(name, left[name], right[name])
    return walk.found


class _Walk:
    def __init__(self, tolerance: float | None) -> None:
        self.found: list[Difference] = []
        self.tolerance = tolerance
        self._name = ""
        self._count = 0
        self._left: dict[int, tuple[object, object, str]] = {}
        self._right: dict[int, tuple[object, object, str]] = {}
        self._memory: tuple[dict[int, tuple[object, object, str]], dict[int, tuple[object, object, str]]] = ({}, {})
        self._todo: deque[tuple[str, Any, Any, bool]] = deque()
        self._kept: list[object] = []

    def run(self, name: str, left: object, right: object) -> None:
        """Compare one variable."""
        self._name, self._count = name, 0
        self._todo.append((name, left, right, True))
        while self._todo:
            self._pair(*self._todo.popleft())
        self._name = ""

    def note(self, path: str, kind: str, left: object, right: object) -> None:
        """Note a difference at a path."""
        self.note_at(self._name, path, kind, left if isinstance(left, str) else summary_of(left), right)

    def note_at(self, name: str, path: str, kind: str, left: str, right: object) -> None:
        """Note a difference of a variable."""
        self._count += 1
        if self._count <= _PER_NAME or not self._name:
            shown = right if isinstance(right, str) else summary_of(right)
            self.found.append(Difference(name, path, kind, left, shown))

    def outline(self, name: str, left: object, right: object) -> None:
        """Compare type and shape of a variable that varies by itself."""
        if type_of(left) != type_of(right):
            self.note_at(name, name, "type", type_of(left), type_of(right))
            return
        sizes = [getattr(one, "shape", None) for one in (left, right)]
        if sizes[0] is not None and tuple(sizes[0]) != tuple(sizes[1] or ()):
            self.note_at(name, name, "shape", str(sizes[0]), str(sizes[1]))

    def push(self, path: str, left: object, right: object, *, fresh: bool = False) -> None:
        """Compare a part later; `fresh` parts were made for the comparison and have no identity."""
        if fresh:
            self._kept += [left, right]
        self._todo.append((path, left, right, not fresh))

    # -- identity

    def _met(self, path: str, left: object, right: object) -> bool:
        return self._bijection(self._left, self._right, path, left, right, "identity", "the same object as {}")

    def _bijection(
        self,
        lefts: dict[int, tuple[object, object, str]],
        rights: dict[int, tuple[object, object, str]],
        path: str,
        left: object,
        right: object,
        kind: str,
        words: str,
    ) -> bool:
        """Tell whether the pair has been dealt with; a partner met before with another one is a difference."""
        first, second = lefts.get(id(left)), rights.get(id(right))
        if first is None and second is None:
            lefts[id(left)], rights[id(right)] = (left, right, path), (right, left, path)
            return False
        if first is not None and first[1] is right:
            return True
        own = "an object of its own" if kind == "identity" else "memory of its own"
        self.note(
            path,
            kind,
            words.format(first[2]) if first is not None else own,
            words.format(second[2]) if second is not None else own,
        )
        return True

    # -- one pair

    def _pair(self, path: str, left: Any, right: Any, owned: bool) -> None:
        if left is right and not _is_container(left):
            return
        if not self._same_type(path, left, right):
            return
        if isinstance(left, _ATOMS) and type(left) in _ATOMS:
            if left != right:
                self.note(path, "value", left, right)
            return
        if owned and (has_identity(left) or is_notebook_code(left)) and self._met(path, left, right):
            return
        try:
            self._content(path, left, right)
        except Exception as error:  # noqa: BLE001 - user code may raise anything when it is looked at
            self.note(path, "value", f"cannot be compared: {type(error).__name__}: {error}", type_of(right))

    def _same_type(self, path: str, left: Any, right: Any) -> bool:
        first, second = type(left), type(right)
        if first is second:
            return True
        if is_notebook(first) and is_notebook(second) and first.__qualname__ == second.__qualname__:
            self.push(f"type({path})", first, second)
            return True
        if type_of(left) == type_of(right) and first.__name__ == second.__name__:
            return True
        self.note(path, "type", type_of(left), type_of(right))
        return False

    def _content(self, path: str, left: Any, right: Any) -> None:
        handler = _handler(type(left))
        if handler is not None:
            handler(self, path, left, right)
        else:
            self._object(path, left, right)

    def _object(self, path: str, left: Any, right: Any) -> None:
        """Objects of any class: attributes and slots, what a built-in base holds, or what pickle would store."""
        kind = type(left)
        if kind.__name__ in _OPAQUE or isinstance(left, weakref.ref):
            return
        for base, handler in _BASES.items():
            if isinstance(left, base):
                handler(self, path, left, right)
        own: Any = kind
        plain = own.__reduce_ex__ is object.__reduce_ex__ and own.__reduce__ is object.__reduce__
        if plain or isinstance(left, tuple(_BASES)):
            self._attributes(path, left, right)
            return
        if isinstance(left, BaseException):
            self.push(f"{path}.args", left.args, right.args, fresh=True)
            self._attributes(path, left, right)
            return
        self._reduced(path, left, right)

    def _attributes(self, path: str, left: Any, right: Any) -> None:
        first, second = getattr(left, "__dict__", None), getattr(right, "__dict__", None)
        if isinstance(first, dict) and isinstance(second, dict):
            self._named(path, first, second)
        for name in _slots(type(left)):
            marks = [getattr(one, name, _ABSENT) for one in (left, right)]
            if (marks[0] is _ABSENT) != (marks[1] is _ABSENT):
                self.note(f"{path}.{name}", "missing", _presence(marks[0]), _presence(marks[1]))
            elif marks[0] is not _ABSENT:
                self.push(f"{path}.{name}", *marks)

    def _named(self, path: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
        for name in sorted({*first, *second}, key=str):
            place = f"{path}.{name}"
            if name not in first or name not in second:
                absent = _presence(first.get(name, _ABSENT)), _presence(second.get(name, _ABSENT))
                self.note(place, "missing", *absent)
            else:
                self.push(place, first[name], second[name])

    def _reduced(self, path: str, left: Any, right: Any) -> None:
        """Compare what pickle would store."""
        parts = []
        for one in (left, right):
            try:
                parts.append(one.__reduce_ex__(4))
            except Exception:  # noqa: BLE001 - no way to look inside
                parts.append(None)
        if parts[0] is None or parts[1] is None:
            return
        if isinstance(parts[0], str):
            self.push(path, parts[0], parts[1], fresh=True)
            return
        names = ("constructor", "arguments", "state", "items", "entries")
        for name, first, second in zip(names, parts[0], parts[1], strict=False):
            if name in ("items", "entries") and first is not None and second is not None:
                first, second = list(first), list(second)
            fresh = first is not getattr(left, "__dict__", None)
            self.push(f"{path}<{name}>" if name != "state" else path, first, second, fresh=fresh)

    # -- numbers

    def number(self, path: str, left: Any, right: Any) -> None:
        """Floats: equal bit by bit, all NaN being one; within the tolerance where one is given."""
        if left == right and math.copysign(1, left) == math.copysign(1, right):
            return
        if (math.isnan(left) and math.isnan(right)) or self._close(left, right):
            return
        self.note(path, "value", repr(left), repr(right))

    def _close(self, left: float, right: float) -> bool:
        return self.tolerance is not None and math.isclose(left, right, rel_tol=self.tolerance, abs_tol=self.tolerance)

    # -- containers

    def sequence(self, path: str, left: Any, right: Any) -> None:
        """Lists, tuples and queues, item by item."""
        if len(left) != len(right):
            self.note(path, "length", str(len(left)), str(len(right)))
            return
        simple = all(type(one) in _ATOMS for one in left)
        if simple and list(left) == list(right) and all(map(_same_kind, left, right)):
            return
        for number, (first, second) in enumerate(zip(left, right, strict=True)):
            self.push(f"{path}[{number}]", first, second)

    def mapping(self, path: str, left: Any, right: Any) -> None:
        """Dicts, entry by entry in their order."""
        if len(left) != len(right):
            missing = [repr(key) for key in left if _hashed(key) and key not in right]
            extra = [repr(key) for key in right if _hashed(key) and key not in left]
            self.note(path, "keys", ", ".join(missing[:3]) or str(len(left)), ", ".join(extra[:3]) or str(len(right)))
            return
        if all(type(key) in _ATOMS for key in left):
            if left.keys() != right.keys():
                self.note(path, "keys", _short(left.keys() - right.keys()), _short(right.keys() - left.keys()))
                return
            if list(left) != list(right):
                self.note(path, "order", _short(left), _short(right))
            for key in left:
                self.push(f"{path}[{key!r}]", left[key], right[key])
            return
        for number, (first, second) in enumerate(zip(left.items(), right.items(), strict=True)):
            self.push(f"{path}<key {number}>", first[0], second[0])
            self.push(f"{path}[{type(first[0]).__name__} {number}]", first[1], second[1])

    def unordered(self, path: str, left: Any, right: Any) -> None:
        """Sets: the same members in the same order of iteration (later code may depend on it)."""
        if len(left) != len(right):
            self.note(path, "length", str(len(left)), str(len(right)))
        elif all(type(one) in _ATOMS for one in left):
            if left != right:
                self.note(path, "value", _short(left - right), _short(right - left))
            elif list(left) != list(right):
                self.note(path, "order", _short(left), _short(right))
        elif not any(has_identity(one) for one in left):
            for number, (first, second) in enumerate(zip(left, right, strict=True)):
                self.push(f"{path}<member {number}>", first, second)

    # -- code

    def function(self, path: str, left: Any, right: Any) -> None:
        """Functions: code, defaults, closure and attributes."""
        from nbkube.state.code import code_digest

        if importable(left) or importable(right):
            self.note(path, "code", qualified_name(left), qualified_name(right))
            return
        if code_digest(left.__code__) != code_digest(right.__code__):
            self.note(path, "code", f"{left.__qualname__} as in the notebook", "other code")
            return
        self.push(f"{path}.__defaults__", left.__defaults__, right.__defaults__)
        self.push(f"{path}.__kwdefaults__", left.__kwdefaults__, right.__kwdefaults__)
        for name, first, second in zip(
            left.__code__.co_freevars, left.__closure__ or (), right.__closure__ or (), strict=False
        ):
            self.push(f"{path}<{name}>", first, second)
        self._named(path, left.__dict__, right.__dict__)

    def cell(self, path: str, left: Any, right: Any) -> None:
        """Variables of a closure."""
        values = []
        for one in (left, right):
            try:
                values.append(one.cell_contents)
            except ValueError:
                values.append(_ABSENT)
        if (values[0] is _ABSENT) != (values[1] is _ABSENT):
            self.note(path, "missing", _presence(values[0]), _presence(values[1]))
        elif values[0] is not _ABSENT:
            self.push(path, *values)

    def cached(self, path: str, left: Any, right: Any) -> None:
        """Cached functions: the function and its cache's limits."""
        self.push(f"{path}.__wrapped__", left.__wrapped__, right.__wrapped__)
        self.push(f"{path}<cache>", left.cache_parameters(), right.cache_parameters(), fresh=True)

    def definition(self, path: str, left: Any, right: Any) -> None:
        """Classes of the notebook: bases and attributes."""
        if importable(left) or importable(right) or left.__qualname__ != right.__qualname__:
            self.note(path, "code", qualified_name(left), qualified_name(right))
            return
        self.push(f"{path}.__bases__", left.__bases__, right.__bases__, fresh=True)
        first, second = ({name: one for name, one in vars(cls).items() if _counts(name, one)} for cls in (left, right))
        self._named(path, first, second)

    def method(self, path: str, left: Any, right: Any) -> None:
        """Bound methods: function and object."""
        self.push(f"{path}.__func__", left.__func__, right.__func__)
        self.push(f"{path}.__self__", left.__self__, right.__self__)

    def wrapper(self, path: str, left: Any, right: Any) -> None:
        """Static and class methods, properties."""
        for name in ("__func__", "fget", "fset", "fdel", "func"):
            if hasattr(left, name) and getattr(left, name) is not None:
                self.push(f"{path}.{name}", getattr(left, name), getattr(right, name, None))

    def named(self, path: str, left: Any, right: Any) -> None:
        """Things told by their name alone."""
        if qualified_name(left) != qualified_name(right):
            self.note(path, "value", qualified_name(left), qualified_name(right))

    def same_memory(self, path: str, left: Any, right: Any) -> None:
        """Arrays that share memory on one side share it on the other."""
        self._bijection(*self._memory, path, left, right, "memory", "memory shared with {}")


class _Absent:
    pass


_ABSENT = _Absent()
_SKIPPED = frozenset(
    (
        "__dict__",
        "__weakref__",
        "__module__",
        "__doc__",
        "__abstractmethods__",
        "__firstlineno__",
        "__classcell__",
        "__slotnames__",
    )
)
Handler = Callable[[_Walk, str, Any, Any], None]

_HANDLERS: dict[type, Handler] = {
    float: _Walk.number,
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    dict: _Walk.mapping,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    types.FunctionType: _Walk.function,
    types.CellType: _Walk.cell,
    types.MethodType: _Walk.method,
    types.ModuleType: _Walk.named,
    types.BuiltinFunctionType: _Walk.named,
    types.GetSetDescriptorType: _Walk.named,
    types.MemberDescriptorType: _Walk.named,
    property: _Walk.wrapper,
    staticmethod: _Walk.wrapper,
    classmethod: _Walk.wrapper,
    functools.cached_property: _Walk.wrapper,
    CACHED: _Walk.cached,
}
_BASES: dict[type, Handler] = {
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    deque: _Walk.sequence,
    dict: _Walk.mapping,
    set: _Walk.unordered,
    frozenset: _Walk.unordered,
    float: _Walk.number,
    int: lambda walk, path, left, right: walk.push(path, int(left), int(right)),
    str: lambda walk, path, left, right: walk.push(path, str.__str__(left), str.__str__(right)),
}


def _handler(kind: type) -> Handler | None:
    found = _HANDLERS.get(kind)
    if found is not None:
        return found
    if issubclass(kind, type):
        return _Walk.definition
    if issubclass(kind, types.ModuleType):
        return _Walk.named
    from nbkube.state.compare_data import data_handler

    return data_handler(kind)


def is_notebook_code(value: object) -> bool:
    """Tell whether a value is a function or class of the notebook: its identity counts in a comparison."""
    return isinstance(value, (type, types.FunctionType, CACHED)) and is_notebook(value)


def _is_container(value: object) -> bool:
    return isinstance(value, (list, dict, set)) and bool(value)


def _same_kind(left: object, right: object) -> bool:
    return type(left) is type(right)


def _hashed(key: object) -> bool:
    return type(key) in _ATOMS


def _presence(value: object) -> str:
    return "nothing" if value is _ABSENT else summary_of(value)


def _short(values: Any) -> str:
    shown = [repr(one) for _, one in zip(range(4), values, strict=False)]
    return "{" + ", ".join(shown) + (", …" if len(values) > len(shown) else "") + "}"


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType) and not base.__module__.startswith("builtins"):
                yield name


def _counts(name: str, value: object) -> bool:
    if name in _SKIPPED or name.startswith("_abc_") or name == "__static_attributes__":
        return False
    return not isinstance(value, (types.GetSetDescriptorType, types.MemberDescriptorType))
