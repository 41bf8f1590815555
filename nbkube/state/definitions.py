"""The notebook's functions and classes: one id each, made once per process, bound late.

A definition is a module-level function or class of the notebook (also a cached function or a type variable). Its id is
a digest of its code, so it is the same in all processes; values refer to it by the pseudo-name `def:QUALNAME#ID`.
"""

from __future__ import annotations

import functools
import hashlib
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any

from nbkube.state.code import code_digest

PREFIX = "def:"
MAIN = "__main__"
CACHED: type = type(functools.lru_cache(lambda: None))
_VARIABLES = tuple(
    getattr(typing, name)
    for name in ("TypeVar", "ParamSpec", "TypeVarTuple", "TypeAliasType", "NewType")
    if hasattr(typing, name)
)
_KINDS: tuple[type, ...] = (types.FunctionType, CACHED, *_VARIABLES)


def qualified_name(value: object) -> str:
    """Return the dotted name a definition goes by."""
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", "")
    return name if isinstance(name, str) else ""


def is_notebook(value: object) -> bool:
    """Tell whether a function or class says it was made in the notebook."""
    return getattr(value, "__module__", None) == MAIN


def is_definition(value: object) -> bool:
    """Tell whether a value is a definition: reached by an id instead of being part of the values that hold it."""
    if not isinstance(value, _KINDS) and not isinstance(value, type):
        return False
    return is_notebook(value) and qualified_name(value).isidentifier() and not _is_of_script(value)


def _is_of_script(value: object) -> bool:
    """Tell whether a function, or a class by its methods, sees the names of a script that `%run` has executed.

    Such a script calls itself `__main__`, too, but its names are its own: they go with the function.
    """
    if isinstance(value, type):
        return any(_is_of_script(function) for _, _, function in functions_of(value))
    scope = getattr(value, "__globals__", None)
    # IPython takes the name away from a script's namespace once it has run.
    if type(scope) is not dict or scope.get("__name__", MAIN) != MAIN:
        return False
    return "__file__" in scope and scope is not vars(sys.modules[MAIN])


def importable(value: object) -> bool:
    """Tell whether a function, class or such is found under its name in a module that can be imported."""
    module, name = getattr(value, "__module__", None), qualified_name(value)
    if module == MAIN or not isinstance(module, str) or not name or "<locals>" in name:
        return False
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


def functions_of(cls: type) -> Iterator[tuple[str, str, types.FunctionType]]:
    """Yield (attribute, part, function) for the functions that a class body defined; part is "" or a wrapper's slot."""
    for name, member in vars(cls).items():
        for part in _function_parts(member):
            function = getattr(member, part) if part else member
            if isinstance(function, types.FunctionType):
                yield name, part, function


def member_part(owner: Any, name: str, part: str) -> object:
    """Return what `functions_of` called (name, part)."""
    member = vars(owner).get(name)
    return getattr(member, part, None) if part else member


def _function_parts(member: object) -> tuple[str, ...]:
    if isinstance(member, types.FunctionType):
        return ("",)
    if isinstance(member, (staticmethod, classmethod)):
        return ("__func__",)
    if isinstance(member, property):
        return ("fget", "fset", "fdel")
    if isinstance(member, functools.cached_property):
        return ("func",)
    return ()


def _function_id(function: types.FunctionType) -> str:
    return code_digest(function.__code__)


def _class_id(cls: type) -> str:
    parts = [f"{name}.{part}:{_function_id(one)}" for name, part, one in functions_of(cls)]
    bases = [f"{base.__module__}.{base.__qualname__}" for base in cls.__bases__]
    return "\n".join([*bases, type(cls).__qualname__, *parts])


def _content_id(value: Any) -> str:
    if isinstance(value, types.FunctionType):
        return _function_id(value)
    if isinstance(value, type):
        return _class_id(value)
    wrapped = getattr(value, "__wrapped__", None)
    if isinstance(wrapped, types.FunctionType):
        return "cached " + _function_id(wrapped)
    return type(value).__name__


class Definitions:
    """The definitions alive in one process.

    `taken(key)` tells whether a key is already bound by an earlier unit; asking counts as a read, since the answer
    decides about the id.
    """

    def __init__(self, taken: Callable[[str], bool]) -> None:
        self._taken = taken
        self._keys: dict[int, str] = {}
        self._objects: dict[str, Any] = {}
        self._methods: dict[int, tuple[object, tuple[Any, str, str]]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._objects

    def __getitem__(self, key: str) -> Any:
        return self._objects[key]

    def adopt(self, key: str, value: object) -> None:
        """Register an object under its key."""
        self._keys[id(value)] = key
        self._objects[key] = value

    def key(self, value: object) -> str:
        """Return a definition's key, made from its code when it is met for the first time."""
        known = self._keys.get(id(value))
        if known is not None:
            return known
        name = qualified_name(value)
        text = f"{type(value).__name__} {name}\n{_content_id(value)}"
        base = f"{PREFIX}{name}#{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        key, number = base, 1
        while key in self._objects or self._taken(key):
            number += 1
            key = f"{base}~{number}"
        self.adopt(key, value)
        return key

    def method_path(self, function: object, namespace: dict[str, Any]) -> tuple[Any, str, str] | None:
        """Return (class, attribute, part) of a function or class that is an attribute of a notebook class."""
        owner_name, _, _ = qualified_name(function).rpartition(".")
        if not owner_name or "<" in owner_name or not is_notebook(function):
            return None
        known = self._methods.get(id(function))
        if known is not None and known[0] is function and member_part(*known[1]) is function:
            return known[1]
        owner = self._find_class(owner_name, namespace)
        if owner is None:
            return None
        if isinstance(function, type):
            name = function.__name__
            return (owner, name, "") if vars(owner).get(name) is function else None
        for name, part, one in functions_of(owner):
            self._methods[id(one)] = (one, (owner, name, part))
        found = self._methods.get(id(function))
        return found[1] if found is not None and found[0] is function else None

    def _find_class(self, name: str, namespace: dict[str, Any]) -> type | None:
        first, *rest = name.split(".")
        candidates = [dict.get(namespace, first)] + [
            one for key, one in self._objects.items() if key.startswith(f"{PREFIX}{first}#")
        ]
        for found in candidates:
            for part in rest:
                found = vars(found).get(part) if isinstance(found, type) else None
            if isinstance(found, type):
                return found
        return None
