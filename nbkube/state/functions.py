"""Functions, cells and cached functions inside pickles: code, defaults, closure and attributes over live globals."""

from __future__ import annotations

import functools
import gc
import sys
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nbkube.state import code, loading
from nbkube.state.definitions import importable, is_definition, member_part, qualified_name

if TYPE_CHECKING:
    from nbkube.state.dump import Dumper

Reduction = tuple[Any, ...]


def reduce_function(dumper: Dumper, function: types.FunctionType) -> Reduction | Any:
    """Store a function: importable ones by name, definitions by id, methods by their class, all others by value."""
    if id(function) not in dumper.owned:
        reference = reduce_reference(dumper, function)
        if reference is not None:
            return reference
    return (*make_args(dumper, "", function), (state_of(function), ()), None, None, fill_function)


def reduce_reference(dumper: Dumper, value: Any) -> Reduction | Any:
    """Return the reduction of a function or class that is stored by name or id; None where it must go by value."""
    if is_definition(value):
        return loading.definition, (dumper.refer(value),)
    if importable(value):
        return NotImplemented
    path = dumper.definitions.method_path(value, dumper.namespace)
    if path is not None and id(path[0]) not in dumper.owned:
        return member, path
    return None


def member(owner: Any, name: str, part: str) -> object:
    """Return a function out of a class (called from inside pickles)."""
    return member_part(owner, name, part)


def make_args(dumper: Dumper, key: str, function: types.FunctionType) -> Reduction:
    """Return the callable and arguments that make a function without its state."""
    names = (function.__name__, function.__qualname__, function.__module__)
    return make_function, (key, function.__code__, names, function.__closure__, _globals(dumper, function))


def _globals(dumper: Dumper, function: types.FunctionType) -> Any:
    scope = function.__globals__
    if scope is dumper.namespace:
        return None
    module = sys.modules.get(scope.get("__name__", ""))
    if module is not None and getattr(module, "__dict__", None) is scope:
        return None if module.__name__ == "__main__" else module.__name__
    return dumper.scope(scope)


def make_function(
    key: str,
    body: types.CodeType,
    names: tuple[str, str, str],
    closure: tuple[types.CellType, ...] | None,
    scope: dict[str, Any] | str | None,
) -> types.FunctionType:
    """Make a function; where `key` is given it becomes the one object of that definition."""
    if scope is None:
        scope = loading.current().resolver.globals
    elif isinstance(scope, str):
        __import__(scope)
        scope = vars(sys.modules[scope])
    name, qualname, module = names
    function = types.FunctionType(body, scope, name, None, closure)
    function.__qualname__, function.__module__ = qualname, module
    if key:
        loading.current().resolver.adopt(key, function)
    return function


def state_of(function: types.FunctionType) -> dict[str, Any]:
    """Return what can change about a function, as attributes to set; those at their initial value are left out."""
    state: dict[str, Any] = {}
    for name in ("__defaults__", "__kwdefaults__", "__doc__", "__annotations__", "__type_params__"):
        value = getattr(function, name, None)
        if value:
            state[name] = value
    if function.__dict__:
        state["__dict__"] = function.__dict__
    return state


def fill_function(function: types.FunctionType, state: tuple[dict[str, Any], tuple[Any, ...]]) -> types.FunctionType:
    """Give a function its state, and its cells their contents where these come later than the function."""
    attributes, contents = state
    for name, value in attributes.items():
        if name == "__dict__":
            function.__dict__.update(value)
        else:
            setattr(function, name, value)
    for cell, value in contents:
        cell.cell_contents = value
    return function


def filled_cells(function: types.FunctionType) -> tuple[tuple[types.CellType, Any], ...]:
    """Return the cells of a function's closure with their contents, leaving out empty cells."""
    return tuple((cell, cell.cell_contents) for cell in function.__closure__ or () if _is_filled(cell))


def _is_filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def reduce_cell(dumper: Dumper, cell: types.CellType) -> Reduction:
    """Store a closure's cell; shared cells stay shared. In the bare part of a stream contents come later."""
    if dumper.bare or not _is_filled(cell):
        return make_cell, ()
    return make_cell, (), (cell.cell_contents,), None, None, fill_cell


def make_cell() -> types.CellType:
    """Make an empty cell."""
    return types.CellType()


def fill_cell(cell: types.CellType, contents: tuple[Any]) -> None:
    """Put the contents into a cell."""
    cell.cell_contents = contents[0]


def reduce_code(dumper: Dumper, body: types.CodeType) -> Reduction:
    """Store a code object; its place goes beside the stream."""
    return make_code, code.code_parts(body, dumper.places)


def make_code(*parts: Any) -> types.CodeType:
    """Make a code object."""
    return code.build_code(loading.current().places, parts)


def reduce_cached(dumper: Dumper, cached: Any) -> Reduction | Any:
    """Store a function wrapped by `functools.lru_cache`."""
    if id(cached) not in dumper.owned:
        if is_definition(cached):
            return loading.definition, (dumper.refer(cached),)
        if importable(cached):
            return NotImplemented
    return (make_cached, cached_args("", cached), cached_state(cached), None, None, fill_cached)


def cached_args(key: str, cached: Any) -> Reduction:
    """Return the arguments of `make_cached`."""
    options = cached.cache_parameters()
    return key, options["maxsize"], options["typed"], cached.__wrapped__


def make_cached(key: str, maxsize: int | None, typed: bool, function: Callable[..., Any]) -> Any:
    """Make a cached function with an empty cache."""
    entries: dict[Any, Any] = {}

    def recall(*args: Any, **options: Any) -> Any:
        if entries:
            return entries[_call_key(args, options)]
        return function(*args, **options)

    functools.update_wrapper(recall, function)
    cached = functools.lru_cache(maxsize, typed)(recall if not typed else function)
    cached.__dict__["__wrapped__"] = function
    if not typed:
        _recalled[id(cached)] = entries
    if key:
        loading.current().resolver.adopt(key, cached)
    return cached


_recalled: dict[int, dict[Any, Any]] = {}


def _call_key(args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return args, tuple(options.items())


def cached_state(cached: Any) -> tuple[dict[str, Any], list[tuple[tuple[Any, ...], dict[str, Any], Any]]]:
    """Return attributes and cached calls, least recently used first where the cache is bounded."""
    calls = [] if cached.cache_parameters()["typed"] else cached_calls(cached)
    return dict(vars(cached)), calls


def fill_cached(cached: Any, state: tuple[dict[str, Any], list[tuple[tuple[Any, ...], dict[str, Any], Any]]]) -> Any:
    """Give a cached function its attributes and fill its cache."""
    attributes, calls = state
    cached.__dict__.update(attributes)
    entries = _recalled.pop(id(cached), {})
    entries.update({_call_key(args, options): result for args, options, result in calls})
    for args, options, _ in calls:
        cached(*args, **options)
    entries.clear()
    return cached


def cached_calls(cached: Any) -> list[tuple[tuple[Any, ...], dict[str, Any], Any]]:
    """Return the calls whose results a cached function holds, least recently used first where the cache is bounded."""
    size = cached.cache_info().currsize
    if not size:
        return []
    held = gc.get_referents(cached)
    cache = next((one for one in held if type(one) is dict and one is not vars(cached) and len(one) == size), {})
    entries = list(cache.items())
    if entries and type(entries[0][1]).__name__ == "_lru_list_elem":
        # A bounded cache lists key, result and link type of each entry, oldest first.
        links = [index for index, one in enumerate(held) if one is type(entries[0][1])]
        entries = [(held[index - 2], held[index - 1]) for index in links[:size]]
    return [(*_arguments(key), result) for key, result in entries]


def _arguments(key: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if type(key) in (int, str):
        return (key,), {}
    parts = tuple(key) if isinstance(key, (list, tuple)) else (key,)
    mark = next((index for index, one in enumerate(parts) if type(one) is object), len(parts))
    options = parts[mark + 1 :]
    return parts[:mark], dict(zip(options[::2], options[1::2], strict=True))


def function_label(value: object) -> str:
    """Return how a function is called in messages."""
    return qualified_name(value) or type(value).__name__
