"""Objects of the standard library that pickle does not store, or not with their meaning."""

from __future__ import annotations

import functools
import gc
import importlib
import random
import sys
import types
import weakref
from pathlib import PurePath
from typing import Any

from nbkube.state import classes, dump, functions
from nbkube.state.errors import UnstorableError
from nbkube.state.reducers import EXACT, FAMILY, exact, family

EXACT.update(
    {
        "builtins.function": functions.reduce_function,
        "builtins.cell": functions.reduce_cell,
        "builtins.code": functions.reduce_code,
        "functools._lru_cache_wrapper": functions.reduce_cached,
        "nbkube.state.dump._Reference": dump.reduce_reference,
        "nbkube.state.dump._Shell": dump.reduce_shell,
        "nbkube.state.dump._Methods": dump.reduce_methods,
        "nbkube.state.dump._State": dump.reduce_state,
        "nbkube.state.dump.Scope": dump.reduce_scope,
    }
)
FAMILY["builtins.type"] = classes.reduce_class
for _name in ("TypeVar", "ParamSpec", "TypeVarTuple", "TypeAliasType", "NewType"):
    EXACT[f"typing.{_name}"] = classes.reduce_variable


_UNSTORABLE = {
    "_thread.lock": "a lock",
    "_thread.RLock": "a lock",
    "builtins.generator": "a running generator",
    "builtins.coroutine": "a coroutine",
    "builtins.async_generator": "an asynchronous generator",
    "builtins.frame": "a stack frame",
    "builtins.traceback": "a traceback",
    "builtins.weakref": "a weak reference",
    "weakref.ReferenceType": "a weak reference",
    "builtins.weakproxy": "a weak reference",
    "builtins.memoryview": "a view of another object's memory",
    "_io.TextIOWrapper": "an open file",
    "_io.BufferedReader": "an open file",
    "_io.BufferedWriter": "an open file",
    "_io.BufferedRandom": "an open file",
    "_io.FileIO": "an open file",
    "mmap.mmap": "a mapped file",
    "socket.socket": "an open socket",
    "_socket.socket": "an open socket",
    "sqlite3.Connection": "an open database connection",
    "sqlite3.Cursor": "an open database cursor",
    "subprocess.Popen": "a running process",
    "_asyncio.Task": "an asyncio task",
    "_asyncio.Future": "an asyncio future",
    "concurrent.futures.thread.ThreadPoolExecutor": "a pool of threads",
    "concurrent.futures.process.ProcessPoolExecutor": "a pool of processes",
    "threading.Thread": "a thread",
}


def _refuse(dumper: Any, value: Any) -> Any:
    kind = type(value)
    what = next(
        _UNSTORABLE[name]
        for name in (f"{one.__module__}.{one.__qualname__}" for one in kind.__mro__)
        if name in _UNSTORABLE
    )
    raise UnstorableError(f"holds {what}, which lives only in its process")


FAMILY.update(dict.fromkeys(_UNSTORABLE, _refuse))


@exact("_io.TextIOWrapper", "ipykernel.iostream.OutStream")
def reduce_text_file(dumper: Any, value: Any) -> Any:
    """The standard streams by name; no other open file."""
    for name in ("stdout", "stderr", "stdin", "__stdout__", "__stderr__"):
        if value is getattr(sys, name):
            return getattr, (sys, name)
    return _refuse(dumper, value)


@family("builtins.module", "nbkube.state.namespace.MainModule")
def reduce_module(dumper: Any, value: Any) -> Any:
    """Modules by name; modules made by hand with what they hold."""
    if value.__name__ == "__main__":
        return main_module, ()
    known: Any = sys.modules.get(value.__name__)
    if known is value or (known is not None and type(value) is not types.ModuleType):
        return importlib.import_module, (value.__name__,)
    state = {key: one for key, one in vars(value).items() if key != "__builtins__"}
    return types.ModuleType, (value.__name__,), state


def main_module() -> Any:
    """Return the module `__main__` (called from inside pickles)."""
    return sys.modules["__main__"]


@exact("builtins.property", "abc.abstractproperty")
def reduce_property(dumper: Any, value: property) -> Any:
    """A property by its functions."""
    return type(value), (value.fget, value.fset, value.fdel, value.__doc__)


@family("builtins.staticmethod", "builtins.classmethod")
def reduce_method_wrapper(dumper: Any, value: Any) -> Any:
    """Static and class methods by their function."""
    return type(value), (value.__func__,)


@exact("functools.cached_property")
def reduce_cached_property(dumper: Any, value: Any) -> Any:
    """A cached property by its function."""
    return make_cached_property, (value.func, value.attrname)


def make_cached_property(function: Any, name: str | None) -> Any:
    """Make a cached property that knows its name."""
    made = functools.cached_property(function)
    if name is not None:
        made.__set_name__(object, name)
    return made


@exact("builtins.method")
def reduce_method(dumper: Any, value: types.MethodType) -> Any:
    """A bound method by its function and object."""
    return types.MethodType, (value.__func__, value.__self__)


@exact("builtins.mappingproxy")
def reduce_mapping_proxy(dumper: Any, value: Any) -> Any:
    """A read-only view of a dict; the dict keeps its identity."""
    under = [one for one in gc.get_referents(value) if isinstance(one, dict)]
    return types.MappingProxyType, (under[0] if under else dict(value),)


@exact("builtins.getset_descriptor", "builtins.member_descriptor", "builtins.wrapper_descriptor")
def reduce_descriptor(dumper: Any, value: Any) -> Any:
    """Descriptors of built-in types and slots by their class."""
    return getattr, (value.__objclass__, value.__name__)


@exact("builtins.dict_keys", "builtins.dict_values", "builtins.dict_items", "collections.odict_keys")
def reduce_dict_view(dumper: Any, value: Any) -> Any:
    """Views of a dict; the dict keeps its identity."""
    under = [one for one in gc.get_referents(value) if isinstance(one, dict)]
    return dict_view, (under[0], type(value).__name__.rpartition("_")[2])


def dict_view(items: dict[Any, Any], kind: str) -> Any:
    """Make a view of a dict."""
    return getattr(items, kind)()


@exact("weakref.WeakKeyDictionary", "weakref.WeakValueDictionary")
def reduce_weak_dictionary(dumper: Any, value: Any) -> Any:
    """Weak dictionaries with the entries that are alive."""
    return type(value), (), None, None, iter(list(value.items()))


@exact("weakref.WeakSet", "_weakrefset.WeakSet")
def reduce_weak_set(dumper: Any, value: Any) -> Any:
    """Weak sets with the members that are alive."""
    return weakref.WeakSet, (list(value),)


@exact("random.Random")
def reduce_random(dumper: Any, value: random.Random) -> Any:
    """The module's own generator by name, others by their state."""
    if value is random._inst:
        return getattr, (random, "_inst")
    return NotImplemented


@family("pathlib.PurePath")
def reduce_path(dumper: Any, value: PurePath) -> Any:
    """Paths as one string, so that those below the workspace root can be told."""
    return type(value), (str(value),)


@exact("dataclasses._FIELD_BASE")
def reduce_field_kind(dumper: Any, value: Any) -> Any:
    """Marks that the module dataclasses compares by identity."""
    return str(value.name)


@exact("dataclasses._MISSING_TYPE")
def reduce_missing(dumper: Any, value: Any) -> Any:
    """The mark for no default."""
    return "MISSING"


@exact("dataclasses._KW_ONLY_TYPE")
def reduce_kw_only(dumper: Any, value: Any) -> Any:
    """The mark for keyword-only fields."""
    return "KW_ONLY"


@exact("dataclasses._HAS_DEFAULT_FACTORY_CLASS")
def reduce_factory_mark(dumper: Any, value: Any) -> Any:
    """The mark for a default made by a factory."""
    return "_HAS_DEFAULT_FACTORY"


@family("enum.Enum")
def reduce_enum_member(dumper: Any, value: Any) -> Any:
    """Enum members by name, so that they stay the same objects."""
    name = getattr(value, "_name_", None)
    if name is None or name not in type(value).__members__:
        return NotImplemented
    return getattr, (type(value), name)


@family("builtins.BaseException")
def reduce_exception(dumper: Any, value: BaseException) -> Any:
    """Exceptions without calling their constructor, with their cause; tracebacks stay behind."""
    kind = type(value)
    if kind.__reduce__ is not BaseException.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__:
        return NotImplemented
    links = {name: getattr(value, name) for name in ("__cause__", "__context__") if getattr(value, name) is not None}
    if value.__suppress_context__:
        links["__suppress_context__"] = True
    return make_exception, (kind, value.args), (vars(value), links), None, None, fill_exception


def make_exception(kind: type[BaseException], args: tuple[Any, ...]) -> BaseException:
    """Make an exception as its class's `__new__` does."""
    made: BaseException = kind.__new__(kind, *args)
    made.args = args
    return made


def fill_exception(value: BaseException, state: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """Set an exception's attributes and links."""
    attributes, links = state
    vars(value).update(attributes)
    for name, link in links.items():
        setattr(value, name, link)
