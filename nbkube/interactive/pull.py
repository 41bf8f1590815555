"""Loading results of a run into a kernel that has names, functions and classes of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nbkube.errors import NbkubeError, NotFoundError, StateError
from nbkube.interactive.model import Pulled
from nbkube.interactive.space import KernelSpace
from nbkube.state.definitions import PREFIX, Definitions, is_definition
from nbkube.state.imports import import_version
from nbkube.state.model import OutputRef
from nbkube.state.namespace import is_internal
from nbkube.storage.model import ObjectStore

APART = "pulled"
"""The kernel's name for what must not replace something of its own."""


class Apart:
    """Functions and classes of a run that differ from the kernel's of the same name."""

    def __repr__(self) -> str:
        return f"<pulled: {', '.join(sorted(vars(self))) or 'nothing'}>"


def pull(
    bindings: Mapping[str, OutputRef],
    made: Iterable[str],
    names: Sequence[str],
    live: dict[str, Any],
    store: ObjectStore,
    *,
    root: str,
    overwrite: bool = False,
) -> Pulled:
    """Bind results of a step in a kernel; what is the kernel's own function or class is never replaced.

    Args:
        bindings: the variables as they were after the step.
        made: the names that the step has put out.
        names: which to load; all that the step has put out if there are none.
        live: the kernel's namespace.
        store: where the values lie.
        root: the project's folder.
        overwrite: replace variables that the kernel has.

    Raises:
        NotFoundError: there is no such name.
        NbkubeError: a name is bound in the kernel; nothing is bound then.
        StateError: a value cannot be loaded; nothing is bound then.
    """
    wanted = _wanted(bindings, made, names)
    missing = {name: bindings[name].reason for name in wanted if bindings[name].kind == "hole"}
    if names and missing:
        raise StateError("; ".join(f"`{name}` {why}" for name, why in missing.items()) + ".")
    wanted = [name for name in wanted if name not in missing]
    late = {key for name in wanted for key in bindings[name].late if key.startswith(PREFIX)}
    own, differing = _definitions(late, live)
    # What calls a function that the kernel has in another version sees the run's names, all of them.
    scope = None if differing else live
    space = KernelSpace(bindings, store, root=root, scope=scope, own=own)
    values = _loaded(space, wanted)
    same = [name for name in wanted if name in live and _means_the_same(live[name], values[name])]
    apart = [name for name in wanted if name not in same and _is_other_definition(name, values[name], live)]
    bound = [name for name in wanted if name not in same and name not in apart]
    taken = [name for name in bound if name in live]
    if taken and not overwrite:
        listed = ", ".join(taken)
        raise NbkubeError(f"This kernel has {listed} already. Fix: name what you want, or add --overwrite.")
    for key in sorted(differing):
        name = key.removeprefix(PREFIX).partition("#")[0]
        if name not in apart:
            apart.append(name)
            values[name] = space.definition(key)
    _set_apart({name: values[name] for name in apart}, live)
    live.update({name: values[name] for name in bound})
    return Pulled(tuple(bound), tuple(same), tuple(apart), missing)


def _wanted(bindings: Mapping[str, OutputRef], made: Iterable[str], names: Sequence[str]) -> list[str]:
    if not names:
        known = [name for name in made if ":" not in name and not is_internal(name) and name in bindings]
        return sorted(known)
    for name in names:
        if name not in bindings or ":" in name:
            there = sorted(one for one in made if ":" not in one and not is_internal(one))
            raise NotFoundError(
                f"there is no `{name}` after this step, which put out: {', '.join(there) or 'nothing'}."
            )
    return list(dict.fromkeys(names))


def _definitions(keys: Iterable[str], live: Mapping[str, Any]) -> tuple[dict[str, object], set[str]]:
    """Return the kernel's definitions that are those of the run, by key, and the keys of those that differ."""
    # A definition's key holds a digest of its code; `~2` and so on tell state apart, which is not compared.
    known = Definitions(lambda _: False)
    own: dict[str, object] = {}
    differing: set[str] = set()
    for key in keys:
        name = key.removeprefix(PREFIX).partition("#")[0]
        value = live.get(name)
        if value is None:
            continue
        if is_definition(value) and known.key(value) == key.partition("~")[0]:
            own[key] = value
        else:
            differing.add(key)
    return own, differing


def _loaded(space: KernelSpace, names: Iterable[str]) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in names:
        try:
            values[name] = space.load(name)
        except Exception as error:  # code of the notebook's classes runs here
            raise StateError(f"`{name}` cannot be loaded: {type(error).__name__}: {error}.") from error
    return values


def _means_the_same(here: object, there: object) -> bool:
    """Tell whether a name is bound to the same thing already: the kernel's own definition, or an imported thing."""
    version = import_version(there)
    return here is there or (version is not None and version == import_version(here))


def _is_other_definition(name: str, value: object, live: Mapping[str, Any]) -> bool:
    return name in live and (is_definition(value) or is_definition(live[name]))


def _set_apart(values: Mapping[str, object], live: dict[str, Any]) -> None:
    if not values:
        return
    holder = live.setdefault(APART, Apart())
    if not isinstance(holder, Apart):
        listed = ", ".join(sorted(values))
        raise NbkubeError(
            f"{listed}: the kernel has another version, and the name `{APART}`, under which it would come, is taken. "
            f"Fix: rename `{APART}`."
        )
    vars(holder).update(values)
