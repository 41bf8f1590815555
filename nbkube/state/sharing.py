"""Which names share mutable objects, and which objects belong to unchanged inputs."""

from __future__ import annotations

import types
from collections.abc import Iterable, Sequence
from typing import Any

from nbkube.state.definitions import importable, is_definition
from nbkube.state.dump import Dumped
from nbkube.state.load import LoadedStream

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


def group(dumps: Sequence[Dumped]) -> list[list[int]]:
    """Return the numbers of dumps that share mutable objects, as groups in order."""
    parent = list(range(len(dumps)))

    def find(number: int) -> int:
        while parent[number] != number:
            parent[number] = parent[parent[number]]
            number = parent[number]
        return number

    owner: dict[int, int] = {}
    for number, dumped in enumerate(dumps):
        memo = dumped.memo()
        for shared in memo.keys() & owner.keys():
            if shared not in dumped.seeds and has_identity(memo[shared][1]):
                low, high = sorted((find(owner[shared]), find(number)))
                parent[high] = low
        for one in memo.keys() - owner.keys():
            owner[one] = number
    groups: dict[int, list[int]] = {}
    for number in range(len(dumps)):
        groups.setdefault(find(number), []).append(number)
    return list(groups.values())


def foreign_objects(dumped: Dumped, streams: Iterable[LoadedStream]) -> list[tuple[LoadedStream, int, Any]]:
    """Return (stream, place, object) for the objects of loaded streams that a dump reaches; roots of streams first."""
    found = []
    memo = dumped.memo()
    for stream in streams:
        ids = stream.ids()
        hits = [one for one in memo.keys() & ids.keys() if has_identity(memo[one][1])]
        roots = {id(value) for value in stream.values.values()}
        hits.sort(key=lambda one: (one not in roots, ids[one]))
        found += [(stream, ids[one], memo[one][1]) for one in hits]
    return found
