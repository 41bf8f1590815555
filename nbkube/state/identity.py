"""Whose identity counts: objects that can change, or that code compares by `is`."""

from __future__ import annotations

import itertools
import types
from collections import deque
from collections.abc import Iterable
from typing import Any

from nbkube.state.definitions import importable, is_definition

_IMMUTABLE = frozenset(
    (str, bytes, int, float, complex, bool, type(None), tuple, frozenset, range, slice, type(...), type(NotImplemented))
)
_IMMUTABLE_NAMES = frozenset(
    (
        "builtins.module",
        "builtins.code",
        "builtins.builtin_function_or_method",
        "builtins.getset_descriptor",
        "builtins.method_descriptor",
        "builtins.wrapper_descriptor",
        "datetime.date",
        "datetime.datetime",
        "datetime.time",
        "datetime.timedelta",
        "datetime.timezone",
        "zoneinfo.ZoneInfo",
        "decimal.Decimal",
        "fractions.Fraction",
        "uuid.UUID",
        "re.Pattern",
        "logging.Logger",
        "logging.RootLogger",
        "pathlib.PurePath",
        "pathlib._local.PurePath",
        "enum.Enum",
        "numpy.generic",
        "numpy.dtype",
        "numpy.ufunc",
        "pandas.Index",
        "pandas.core.indexes.base.Index",
        "pandas.Timestamp",
        "pandas._libs.tslibs.timestamps.Timestamp",
        "pandas._libs.tslibs.timedeltas.Timedelta",
        "pandas._libs.tslibs.nattype.NaTType",
        "pandas._libs.tslibs.period.Period",
        "pandas._libs.interval.Interval",
        "pandas._libs.missing.NAType",
        "pandas._libs.tslibs.offsets.BaseOffset",
        "pandas._libs.internals.BlockPlacement",
        "pandas.core.dtypes.base.ExtensionDtype",
        "pandas.api.extensions.ExtensionDtype",
        "pyarrow.lib._Weakrefable",
        "functools.partial_placeholder",
        "typing._GenericAlias",
        "types.GenericAlias",
        "types.UnionType",
        "pickle.PickleBuffer",
        "_pickle.PickleBuffer",
    )
)
_known: dict[type, bool] = {}


def _is_immutable(kind: type) -> bool:
    if kind in _IMMUTABLE or kind.__module__.startswith("nbkube.state"):
        return True
    return any(f"{base.__module__}.{base.__qualname__}" in _IMMUTABLE_NAMES for base in kind.__mro__)


def has_identity(value: object) -> bool:
    """Tell whether it matters that two names reach the very same object."""
    kind = type(value)
    if isinstance(value, (type, types.FunctionType)) or kind.__name__ in ("_lru_cache_wrapper", "TypeVar", "NewType"):
        return not (is_definition(value) or importable(value) or getattr(value, "__module__", "") == "builtins")
    immutable = _known.get(kind)
    if immutable is None:
        immutable = _known[kind] = _is_immutable(kind)
    return not immutable


_ATOMS = frozenset((str, bytes, int, float, complex, bool, type(None)))
_BOXES = frozenset((list, dict, set, frozenset, tuple, deque))


def flat_objects(value: object) -> list[object] | None:
    """Return the objects in plain data whose identity counts, or None where a closer look is needed.

    Plain data are atoms, containers of atoms, and containers of these.
    """
    kind = type(value)
    if kind in _ATOMS:
        return []
    if kind not in _BOXES:
        return None
    members = _members(value)
    kinds = set().union(*(map(type, one) for one in members))
    if kinds <= _ATOMS:
        return [value] if has_identity(value) else []
    if not kinds <= _ATOMS | {list, dict, deque} or kind in (set, frozenset):
        return None
    inner = [one for one in itertools.chain(*members) if type(one) not in _ATOMS]
    if not set(map(type, itertools.chain.from_iterable(itertools.chain(*map(_members, inner))))) <= _ATOMS:
        return None
    return [value, *inner] if has_identity(value) else inner


def _members(value: Any) -> tuple[Iterable[object], ...]:
    return (value.keys(), value.values()) if isinstance(value, dict) else (value,)
