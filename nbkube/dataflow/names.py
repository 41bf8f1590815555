"""Loading, binding and changing names, in the notebook's scope and in functions."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from nbkube.dataflow import tables
from nbkube.dataflow.paths import ABSENT, DEFINED, DELETED, IN_LOOP, MAYBE, Path
from nbkube.dataflow.values import (
    BUILTINS,
    CLOSURE,
    CONSTANT,
    FRESH,
    IMMUTABLE,
    IMPORTED,
    LITERAL,
    MODULE,
    STATEFUL,
    CallEffect,
    Carried,
    Place,
    Read,
    Scope,
    Value,
    is_history,
    join,
)

_TRAVELS = frozenset({"os", "sys", "os.environ", "sys.path"})
"""Imported things whose changes reach later units as state of the process."""


class Names:
    """The state of an analysis: what is known of the notebook's names, and where it stands.

    `values` hold for the whole notebook, `path` for the unit or function that is read. `looked` collects what a
    function's analysis has asked for, so that its result can be used again while that holds.
    """

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.path = Path()
        self.scope: Scope | None = None
        self.frame = CallEffect()
        self.cell = 0
        self.looked: dict[str, Value | None] | None = None
        self.guarded = 0
        self.depth = 0
        self.configuring = False
        self.gone: list[tuple[str, Place]] = []
        self.module_changes: list[tuple[str, Place]] = []
        self._holders: dict[str, set[str]] = {}
        self._attributes: dict[tuple[Value, str], Value] = {}

    def evaluate(self, node: ast.expr) -> Value | None:
        """What is known of the value of an expression, after noting what evaluating it does."""
        raise NotImplementedError

    # --- loading ---------------------------------------------------------------------------------------------

    def load(self, name: str, line: int) -> Value | None:
        """The value of a name where it stands."""
        scope = self.scope
        if scope is None:
            return self.load_global(name, line)
        crossed = False
        first = True
        while scope is not None:
            if name in scope.global_names:
                break
            if name in scope.local and (first or scope.kind != "class"):
                value = scope.values.get(name)
                return _closed(value) if crossed else value
            crossed = crossed or scope.kind == "function"
            first = first and scope.kind == "block"
            scope = scope.parent
        return self.load_global(name, line)

    def load_global(self, name: str, line: int, place: Place | None = None, definite: bool = True) -> Value | None:
        """The value of a name of the notebook; noted as read (at `place`, else at `line`) unless it is bound here."""
        path = self.path
        state = path.bound.get(name)
        if state is None:
            state = ABSENT if path.parent is None else path.parent.state(name)
        value = self.values.get(name)
        looked = self.looked
        if looked is not None and name not in looked:
            looked[name] = value
        if state == DEFINED:
            if path.tentative:
                path.jumped = path.jumped or IN_LOOP
            return value
        if value is None:
            if state == ABSENT and (builtin := BUILTINS.get(name)) is not None:
                return builtin
            if is_history(name):
                self.frame.effects |= tables.HISTORY
                return None
            value = self.values[name] = Value(frozenset((name,)))
            if looked is not None:
                looked[name] = value
        elif value.flags & IMPORTED and state == ABSENT:
            return value
        certain = definite and not path.maybe and not path.jumped
        if state == DELETED:
            if certain:
                self.gone.append((name, place or Place(self.cell, line)))
            return value
        certain = certain and state == ABSENT and not self.guarded
        if path.tentative and certain:
            path.jumped = path.jumped or IN_LOOP
        known = path.reads.get(name)
        if known is None or (certain and not known.definite):
            path.reads[name] = Read(certain, place or Place(self.cell, line), state != ABSENT or self.guarded > 0)
        return value

    def attribute(self, base: Value, name: str) -> Value:
        """`base.name` where base is an imported thing."""
        key = (base, name)
        value = self._attributes.get(key)
        if value is None:
            value = Value(base.roots, (), f"{base.dotted}.{name}", base.flags & (IMPORTED | MODULE))
            self._attributes[key] = value
        return value

    # --- binding ---------------------------------------------------------------------------------------------

    def store(self, name: str, value: Value | None, line: int) -> None:
        """Bind a name where it stands."""
        scope = self.scope
        while scope is not None and scope.kind == "block":
            scope = scope.parent
        if scope is None or name in scope.global_names:
            self.store_global(name, value)
        elif scope.kind == "class":
            scope.local = {*scope.local, name}
            scope.values[name] = value
        elif name in scope.nonlocal_names:
            self.frame.changed.add(CLOSURE)
            self._store_nonlocal(scope.parent, name, value)
        else:
            sure = self.path.parent is None and not self.path.maybe
            scope.values[name] = value if sure or name not in scope.values else join(scope.values[name], value)

    def _store_nonlocal(self, scope: Scope | None, name: str, value: Value | None) -> None:
        while scope is not None and not (scope.kind == "function" and name in scope.local):
            scope = scope.parent
        if scope is not None:
            scope.values[name] = join(scope.values.get(name), value)

    def store_global(self, name: str, value: Value | None, *, imported: int = 0) -> None:
        """Bind a name of the notebook; `imported` are flags of a replayed import."""
        path = self.path
        if not path.maybe:
            path.bound[name] = DEFINED
        elif path.state(name) != DEFINED:
            path.bound[name] = MAYBE
        if self.looked is not None:
            self.frame.values[name] = join(self.frame.values[name], value) if name in self.frame.values else value
            return
        self.learn(name, value, sure=path.parent is None and not path.maybe, imported=imported)

    def learn(self, name: str, value: Value | None, *, sure: bool, imported: int = 0) -> None:
        """Remember what a name of the notebook now holds."""
        old = self.values.get(name)
        if value is None or value is FRESH:
            new = Value(frozenset((name,)))
        elif value.flags & IMMUTABLE:
            new = Value(frozenset((name,)), flags=value.flags & (IMMUTABLE | LITERAL), made=value.made)
        elif imported:
            new = Value(frozenset((name,)), (), value.dotted, imported)
        else:
            shared = frozenset() if value.flags & IMPORTED else self._closure(_outer_roots(value.roots))
            flags = value.flags & ~(IMPORTED | MODULE)
            new = Value(shared | {name}, value.carries, value.dotted, flags, value.made, _outer_roots(value.inner))
        if sure:
            if old is not None:
                self._forget(name, old)
        else:
            new = join(old, new) or new
        self.values[name] = new
        if len(new.roots) > 1:
            self._same(new.roots)
        for root in new.inner:
            self._holders.setdefault(root, set()).update(new.roots)

    def _forget(self, name: str, old: Value) -> None:
        """The object that `name` had until now no longer goes by it."""
        if len(old.roots) > 1:
            self._unlink(name, old.roots)
        for root in old.inner:
            if (holders := self._holders.get(root)) is not None:
                holders.discard(name)
        self._holders.pop(name, None)

    def _same(self, roots: frozenset[str]) -> None:
        """These names may all stand for one object."""
        held: set[str] = set()
        for root in roots:
            value = self.values.get(root)
            if value is not None and not value.flags & (IMMUTABLE | IMPORTED) and not roots <= value.roots:
                self.values[root] = _with_roots(value, value.roots | roots)
            held |= self._holders.get(root, set())
        if held:
            for root in roots:
                self._holders.setdefault(root, set()).update(held)

    def _closure(self, roots: frozenset[str]) -> frozenset[str]:
        """All names that share something with these as things stand."""
        for root in roots:
            value = self.values.get(root)
            if value is not None and not value.roots <= roots:
                roots |= value.roots
        return roots

    def _unlink(self, name: str, roots: frozenset[str]) -> None:
        for root in roots:
            value = self.values.get(root)
            if root != name and value is not None:
                self.values[root] = _with_roots(value, value.roots - {name})

    def link(self, holder: frozenset[str], held: frozenset[str]) -> None:
        """From now on objects of `holder` hold those of `held`: a change of the latter changes both."""
        if self.looked is not None:
            self.frame.links.append((holder, held))
            return
        inside, around = _outer_roots(held), _outer_roots(holder)
        for root in inside:
            self._holders.setdefault(root, set()).update(around - {root})
        for root in around:
            value = self.values.get(root)
            if value is not None and not value.flags & (IMMUTABLE | IMPORTED) and not inside <= value.inner:
                together = value.inner | inside
                self.values[root] = Value(
                    value.roots, value.carries, value.dotted, value.flags, value.made, together - {root}
                )

    def unbind(self, name: str, line: int) -> None:
        """`del name`."""
        scope = self.scope
        if scope is not None and name not in scope.global_names:
            scope.values.pop(name, None)
            return
        self.load_global(name, line)
        path = self.path
        path.bound[name] = MAYBE if path.maybe else DELETED
        if self.looked is None and path.parent is None and not path.maybe:
            old = self.values.pop(name, None)
            if old is not None:
                self._forget(name, old)

    # --- changing in place -----------------------------------------------------------------------------------

    def change(self, roots: Iterable[str], line: int) -> None:
        """Objects that these names may share are changed in place."""
        for root in self._with_holders(roots):
            if root[0] == "\0":
                self.frame.changed.add(root)
                continue
            value = self.values.get(root)
            if value is not None and value.flags & IMPORTED:
                if not self._change_import(root, value, line):
                    continue
            elif value is not None and value.flags & IMMUTABLE:
                continue
            elif value is not None and value.flags & LITERAL and self.looked is None:
                self.values[root] = Value(
                    value.roots, value.carries, value.dotted, value.flags & ~LITERAL, value.made, value.inner
                )
            state = self.path.state(root)
            if state == DEFINED:
                continue
            self.frame.changed.add(root)
            if root not in self.path.reads:
                self.path.reads[root] = Read(False, Place(self.cell, line), True)

    def carry(self, roots: frozenset[str], carries: tuple[Carried, ...]) -> None:
        """Definitions are put into objects of these names: what is called through them may be those."""
        if self.looked is not None:
            self.frame.carried.append((roots, carries))
            return
        for root in roots:
            value = self.values.get(root)
            if value is not None and not value.flags & IMPORTED:
                together = tuple(dict.fromkeys((*value.carries, *carries)))
                self.values[root] = Value(value.roots, together, value.dotted, value.flags, value.made, value.inner)

    def use(self, value: Value, line: int) -> None:
        """An iterator or random generator is used, and so changed: it, not what it goes through."""
        values = self.values
        self.change([root for root in value.roots if (one := values.get(root)) and one.flags & STATEFUL], line)

    def _with_holders(self, roots: Iterable[str]) -> Iterable[str]:
        """These names and those whose objects hold theirs."""
        if self.looked is not None or not self._holders:
            return roots
        found = list(dict.fromkeys(roots))
        for root in found:
            found.extend(sorted(self._holders.get(root, set()).difference(found)))
        return found

    def _change_import(self, name: str, value: Value, line: int) -> bool:
        """A change of an imported thing; whether it is to travel as the notebook's own state."""
        if self.configuring:
            self.frame.effects |= tables.DYNAMIC if value.dotted == "builtins" else 0
            return False
        if value.dotted == "builtins":
            self.frame.effects |= tables.DYNAMIC
        if value.flags & MODULE or not tables.is_local_module(value.dotted):
            self.frame.effects |= tables.PROCESS
            if value.dotted not in _TRAVELS:
                self.module_changes.append((name, Place(self.cell, line)))
            return False
        if self.looked is None:
            self.values[name] = Value(value.roots, (), value.dotted)
        return True


def _closed(value: Value | None) -> Value:
    """A variable of an enclosing function: changing it changes the state of the inner function."""
    if value is None:
        return Value(frozenset((CLOSURE,)))
    if value.flags & IMMUTABLE:
        return CONSTANT
    return _with_roots(value, value.roots | {CLOSURE})


def _with_roots(value: Value, roots: frozenset[str]) -> Value:
    return Value(roots, value.carries, value.dotted, value.flags, value.made, value.inner)


def _outer_roots(roots: frozenset[str]) -> frozenset[str]:
    """Names only: tokens of parameters mean nothing outside their function."""
    for root in roots:
        if root[0] == "\0":
            return frozenset(one for one in roots if one[0] != "\0")
    return roots
