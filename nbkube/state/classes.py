"""Classes inside pickles: made empty, registered, then filled, so that classes may refer to themselves and each other.

Neither the notebook's metaclasses nor its `__init_subclass__` run again: what they did is part of the stored state.
"""

from __future__ import annotations

import abc
import contextlib
import enum
import functools
import importlib
import types
import typing
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nbkube.state import loading
from nbkube.state.definitions import functions_of, importable, is_definition, is_notebook

if TYPE_CHECKING:
    from nbkube.state.dump import Dumper

Reduction = tuple[Any, ...]

_METHODS = (types.FunctionType, staticmethod, classmethod, property, functools.cached_property)
_CREATION = ("__slots__", "__orig_bases__", "__type_params__")
_OWN = {"__dict__", "__weakref__", "__module__", "__qualname__", "_abc_impl", "__abstractmethods__", "__firstlineno__"}
_ENUM_OWN = {
    "_member_map_",
    "_member_names_",
    "_value2member_map_",
    "_member_type_",
    "_new_member_",
    "_use_args_",
    "_unhashable_values_",
    "_unhashable_values_map_",
    "_hashable_values_",
    "_value_repr_",
    "_generate_next_value_",
    "_flag_mask_",
    "_singles_mask_",
    "_all_bits_",
    "_boundary_",
    "_inverted_",
    "__new__",
    "__new_member__",
}
_MEMBER_OWN = {"_value_", "_name_", "__objclass__", "_sort_order_", "_inverted_"}
_BUILTIN_NAMES = {
    value: name for name, value in vars(types).items() if isinstance(value, type) and value.__module__ == "builtins"
}


def reduce_class(dumper: Dumper, cls: type) -> Reduction | Any:
    """Store a class: importable ones by name, definitions by id, nested ones by their class, all others by value."""
    if cls in (type(None), type(Ellipsis), type(NotImplemented)):
        return type, ({type(None): None, type(Ellipsis): ...}.get(cls, NotImplemented),)
    if cls.__module__ == "builtins" and cls in _BUILTIN_NAMES:
        return builtin_type, (_BUILTIN_NAMES[cls],)
    if id(cls) not in dumper.owned:
        if is_definition(cls):
            return loading.definition, (dumper.refer(cls),)
        if importable(cls):
            return NotImplemented
        path = dumper.definitions.method_path(cls, dumper.namespace)
        if path is not None and id(path[0]) not in dumper.owned:
            return getattr, path[:2]
    dumper.own(own_parts(cls))
    return (make_class, class_args("", cls), class_state(dumper, cls), None, None, fill_class)


def builtin_type(name: str) -> type:
    """Return one of the types that only the module `types` names."""
    return getattr(types, name)  # type: ignore[no-any-return]


def own_parts(cls: type) -> Iterator[object]:
    """Yield the functions and nested classes that are stored as part of a class and nowhere else."""
    for _, _, function in functions_of(cls):
        if function.__module__ == cls.__module__ and function.__qualname__.startswith(cls.__qualname__ + "."):
            yield function
    for member in vars(cls).values():
        if isinstance(member, type) and member.__qualname__.startswith(cls.__qualname__ + "."):
            yield member


def class_args(key: str, cls: type) -> Reduction:
    """Return the arguments of `make_class`."""
    creation = {name: vars(cls)[name] for name in _CREATION if name in vars(cls)}
    slots = creation.get("__slots__")
    if slots is not None and not isinstance(slots, (str, tuple, list, dict)):
        creation["__slots__"] = tuple(slots)
    members = None
    if isinstance(cls, enum.EnumMeta):
        named: dict[str, enum.Enum] = dict(cls.__members__)
        members = [(name, member._value_) for name, member in named.items()]
    return key, type(cls), cls.__name__, cls.__qualname__, cls.__module__, cls.__bases__, creation, members


def make_class(
    key: str,
    meta: Any,
    name: str,
    qualname: str,
    module: str,
    bases: tuple[type, ...],
    creation: dict[str, Any],
    members: list[tuple[str, Any]] | None,
) -> type:
    """Make a class without its attributes; where `key` is given it becomes the one object of that definition."""
    maker = next(one for one in meta.__mro__ if not is_notebook(one))
    body: dict[str, Any] = maker.__prepare__(name, bases) if members is not None else {}
    body["__module__"], body["__qualname__"] = module, qualname
    for attribute, value in creation.items():
        body[attribute] = value
    for member, value in members or ():
        body[member] = value
    if maker.__name__ == "_TypedDictMeta":
        maker = type
    with _without_hooks(bases):
        cls: type = maker.__new__(meta, name, bases, body)
        if maker not in (type, abc.ABCMeta) and members is None:
            maker.__init__(cls, name, bases, body)
    if key:
        loading.current().resolver.adopt(key, cls)
    return cls


@contextlib.contextmanager
def _without_hooks(bases: tuple[type, ...]) -> Iterator[None]:
    """Keep the notebook's `__init_subclass__` from running: it ran when the class was first made."""
    owners = {one for base in bases for one in base.__mro__ if is_notebook(one) and "__init_subclass__" in vars(one)}
    hooks = {one: vars(one)["__init_subclass__"] for one in owners}
    for one in hooks:
        type.__delattr__(one, "__init_subclass__")
    try:
        yield
    finally:
        for one, hook in hooks.items():
            type.__setattr__(one, "__init_subclass__", hook)


def class_state(dumper: Dumper, cls: type) -> Reduction:
    """Return (names in order, methods, other attributes, rest) of a class."""
    is_enum = isinstance(cls, enum.EnumMeta)
    methods: dict[str, Any] = {}
    others: dict[str, Any] = {}
    names = []
    for name, value in vars(cls).items():
        if name in _OWN or name in _CREATION or isinstance(value, types.MemberDescriptorType):
            continue
        if is_enum and (name in _ENUM_OWN or name in cls._member_map_):  # type: ignore[attr-defined]
            continue
        if name == "__static_attributes__" and isinstance(value, tuple):
            value = tuple(sorted(value))
        if isinstance(value, types.GetSetDescriptorType) and value.__objclass__ is cls:
            continue
        names.append(name)
        (methods if isinstance(value, _METHODS) else others)[name] = value
    rest: dict[str, Any] = {}
    if isinstance(cls, abc.ABCMeta):
        rest["abstract"] = sorted(cls.__abstractmethods__)
        rest["registered"] = _registered(cls)
    if is_enum:
        rest["members"] = [
            {key: value for key, value in vars(one).items() if key not in _MEMBER_OWN}
            for one in cls._member_map_.values()  # type: ignore[attr-defined]
        ]
    if "__firstlineno__" in vars(cls):
        rest["line"] = dumper.places.add_line(vars(cls)["__firstlineno__"])
    return names, methods, others, rest


def _registered(cls: type) -> list[type]:
    get_dump: Any = importlib.import_module("_abc")._get_dump
    known = [one() for one in get_dump(cls)[0]]
    return sorted((one for one in known if one is not None), key=lambda one: (one.__module__, one.__qualname__))


def fill_class(cls: type, state: Reduction) -> type:
    """Give a class its attributes, in their order; functions are complete before other values are set."""
    names, methods, others, rest = state
    fill_methods(cls, names, methods)
    fill_attributes(cls, others, rest)
    return cls


def fill_methods(cls: type, names: list[str], methods: dict[str, Any]) -> type:
    """Set the functions of a class, and hold the places of all other attributes."""
    for name in names:
        if name in methods:
            type.__setattr__(cls, name, methods[name])
        elif name not in vars(cls):
            type.__setattr__(cls, name, None)
    return cls


def fill_attributes(cls: type, others: dict[str, Any], rest: dict[str, Any]) -> type:
    """Set the remaining attributes of a class."""
    for name, value in others.items():
        type.__setattr__(cls, name, value)
    if "line" in rest:
        type.__setattr__(cls, "__firstlineno__", loading.current().places.lines[rest["line"]])
    if "abstract" in rest:
        type.__setattr__(cls, "__abstractmethods__", frozenset(rest["abstract"]))
        for one in rest["registered"]:
            abc.ABCMeta.register(typing.cast(abc.ABCMeta, cls), one)
    for member, attributes in zip(getattr(cls, "_member_map_", {}).values(), rest.get("members", ()), strict=False):
        vars(member).update(attributes)
    return cls


def make_variable(key: str, kind: type, name: str, module: str, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """Make a type variable or new type; where `key` is given it becomes the one object of that definition."""
    variable = kind(name, *args, **options)
    with contextlib.suppress(AttributeError):
        variable.__module__ = module
    if key:
        loading.current().resolver.adopt(key, variable)
    return variable


def variable_args(key: str, value: Any) -> Reduction:
    """Return the arguments of `make_variable`."""
    name = value.__name__
    args: tuple[Any, ...] = ()
    options: dict[str, Any] = {}
    kind = type(value).__name__
    if kind == "TypeVar":
        args = value.__constraints__
        options = {"covariant": value.__covariant__, "contravariant": value.__contravariant__}
        if value.__bound__ is not None:
            options["bound"] = value.__bound__
        if getattr(value, "__infer_variance__", False):
            options["infer_variance"] = True
    elif kind == "NewType":
        args = (value.__supertype__,)
    elif kind == "TypeAliasType":
        args, options = (value.__value__,), {"type_params": value.__type_params__}
    return key, type(value), name, value.__module__, args, options


def reduce_variable(dumper: Dumper, value: Any) -> Reduction | Any:
    """Store a type variable or new type: by id where the notebook made it."""
    if is_definition(value):
        return loading.definition, (dumper.refer(value),)
    if importable(value):
        return NotImplemented
    return make_variable, variable_args("", value)
