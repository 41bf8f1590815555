"""What calling the notebook's own functions and classes does: found by analysing them when they are called."""

from __future__ import annotations

from collections.abc import Sequence

from nbkube.dataflow.library import Library
from nbkube.dataflow.paths import DELETED, MAYBE, Loop, Path
from nbkube.dataflow.scopes import prepare
from nbkube.dataflow.values import (
    CLOSURE,
    IMMUTABLE,
    IMPORTED,
    KEEPER,
    STATEFUL,
    Bound,
    CallEffect,
    Carried,
    Class,
    Function,
    Instance,
    Scope,
    Value,
    join,
    keep,
)

_DEEPEST = 25


class Definitions(Library):
    """Functions, classes and their objects."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: list[Loop] = []
        self.recursed = False
        self._incomplete: list[Function] = []

    def escape(self, value: Value, line: int, only: type[Carried] | None = None) -> None:
        """Definitions given to code that is not known: they may be called."""
        for carried in value.carries:
            if only is None or isinstance(carried, only):
                self._perhaps(carried, line)

    def _perhaps(self, carried: Carried, line: int) -> None:
        self.path.maybe += 1
        match carried:
            case Function():
                self.apply(carried, None, {}, frozenset(), line)
            case Bound():
                self.apply(carried.function, None, {}, carried.receiver, line)
            case Class() | Instance():
                of = carried.of if isinstance(carried, Instance) else carried
                for method in of.methods.values():
                    self.apply(method, None, {}, frozenset(), line)
                for base in of.bases:
                    self._perhaps(base, line)
        self.path.maybe -= 1

    def method(self, of: Class, name: str) -> Function | None:
        """A method of a notebook class or of the notebook classes it derives from."""
        found = of.methods.get(name)
        if found is None:
            for base in of.bases:
                if isinstance(base, Class) and base is not of and (found := self.method(base, name)) is not None:
                    break
        return found

    def _super(self) -> Value | None:
        scope = self.scope
        while scope is not None and scope.owner is None:
            scope = scope.parent
        if scope is None or scope.owner is None:
            return None
        return Value(scope.receiver, (Instance(Class("super", {}, scope.owner.bases)),))

    def definitions(
        self, callee: Value, values: list[Value | None], named: dict[str | None, Value | None], line: int
    ) -> Value | None:
        """Call what `callee` carries: all of it perhaps, if there is more than one."""
        several = len(callee.carries) > 1
        result: Value | None = None
        for carried in callee.carries:
            self.path.maybe += several
            result = join(result, self._definition(carried, callee, values, named, line))
            self.path.maybe -= several
        return result

    def _definition(
        self,
        carried: Carried,
        callee: Value,
        values: list[Value | None],
        named: dict[str | None, Value | None],
        line: int,
    ) -> Value | None:
        match carried:
            case Function():
                return self.apply(carried, values, named, callee.roots, line)
            case Bound():
                return self.apply(carried.function, [Value(carried.receiver), *values], named, callee.roots, line)
            case Class():
                return self._construct(carried, values, named, line)
            case Instance():
                for name in ("__call__", "forward", "call"):
                    method = self.method(carried.of, name)
                    if method is not None:
                        return self.apply(method, [Value(callee.reach), *values], named, callee.roots, line)
                self._perhaps(carried, line)
        return None

    def _construct(
        self, of: Class, values: list[Value | None], named: dict[str | None, Value | None], line: int
    ) -> Value | None:
        kept = keep([*values, *named.values()])
        roots = kept.inner if kept is not None else frozenset()
        for name in ("__init__", "__new__"):
            method = self.method(of, name)
            if method is not None:
                token = "\0new"
                links = len(self.frame.links)
                roots = self.apply_linked(method, token, values, named, line)
                del self.frame.links[links:]
        post = self.method(of, "__post_init__")
        if post is not None:
            self.apply(post, [Value(inner=roots)], {}, roots, line)
        return Value(carries=(Instance(of),), flags=KEEPER, inner=roots)

    def apply_linked(
        self,
        method: Function,
        token: str,
        values: list[Value | None],
        named: dict[str | None, Value | None],
        line: int,
    ) -> frozenset[str]:
        """Run an initialiser; the roots of the arguments that the new object keeps."""
        mapping = self._mapping(method, [Value(frozenset((token,))), *values], named, frozenset())
        effect = self.effect_of(method)
        self._merge(method, effect, mapping, frozenset(), line)
        self.frame.changed.discard(token)
        kept: set[str] = set()
        for left, right in effect.links:
            pair = [self._mapped(side, mapping, frozenset()) for side in (left, right)]
            if any(token in side for side in pair):
                kept |= pair[0] | pair[1]
        return frozenset(kept - {token})

    def apply(
        self,
        function: Function,
        values: Sequence[Value | None] | None,
        named: dict[str | None, Value | None],
        own: frozenset[str],
        line: int,
    ) -> Value | None:
        """Call `function` (with unknown arguments if `values` is None); `own` are roots of the function object."""
        effect = self.effect_of(function)
        mapping = {} if values is None else self._mapping(function, values, named, own)
        self._merge(function, effect, mapping, own, line)
        for left, right in effect.links:
            self.link(self._mapped(left, mapping, own), self._mapped(right, mapping, own))
        if effect.links and values:
            self._carry_arguments(function, effect, mapping, values)
        value = effect.returns
        if value is None or not value.reach:
            return value
        same, inner = (self._mapped(roots, mapping, frozenset()) for roots in (value.roots, value.inner))
        return Value(same, value.carries, "", value.flags, value.made, inner)

    def _carry_arguments(
        self,
        function: Function,
        effect: CallEffect,
        mapping: dict[str, frozenset[str]],
        values: Sequence[Value | None],
    ) -> None:
        """Definitions given as arguments and kept by the function: `def register(f): TABLE[f.__name__] = f`."""
        arguments = function.node.args
        for one, value in zip((*arguments.posonlyargs, *arguments.args), values, strict=False):
            if value is None or not value.carries:
                continue
            token = f"\0{function.serial}:{one.arg}"
            for left, right in effect.links:
                if token in right:
                    self.carry(self._mapped(left, mapping, frozenset()), value.carries)

    def _merge(
        self, function: Function, effect: CallEffect, mapping: dict[str, frozenset[str]], own: frozenset[str], line: int
    ) -> None:
        for name, read in effect.reads.items():
            self.guarded += read.guarded
            self.load_global(name, line, read.place, read.definite)
            self.guarded -= read.guarded
        if effect.changed:
            self.change(self._mapped(effect.changed, mapping, own), line)
        for name, state in effect.bound.items():
            if state == DELETED:
                self.path.bound[name] = MAYBE if self.path.maybe else DELETED
                continue
            self.path.maybe += state == MAYBE
            self.store_global(name, effect.values.get(name))
            self.path.maybe -= state == MAYBE
        self.frame.effects |= effect.effects
        for roots, carries in effect.carried:
            self.carry(self._mapped(roots, mapping, own), carries)
        for mark in effect.marks:
            definite = mark.definite and not self.path.maybe and self.path.parent is None
            self.frame.marks[mark if definite == mark.definite else mark._replace(definite=definite)] = None

    def _mapping(
        self,
        function: Function,
        values: Sequence[Value | None],
        named: dict[str | None, Value | None],
        own: frozenset[str],
    ) -> dict[str, frozenset[str]]:
        """Tokens of the parameters -> roots of what is given for them."""
        arguments = function.node.args
        prefix = f"\0{function.serial}:"
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args)]
        mapping: dict[str, frozenset[str]] = {}
        for name, value in zip(names, values, strict=False):
            mapping[prefix + name] = _shared(value)
        if arguments.vararg is not None:
            rest = keep(list(values[len(names) :]))
            mapping[prefix + arguments.vararg.arg] = _shared(rest)
        keywords = keep([value for name, value in named.items()])
        if arguments.kwarg is not None:
            mapping[prefix + arguments.kwarg.arg] = _shared(keywords)
        for keyword, value in named.items():
            mapping[prefix + (keyword or "")] = _shared(value)
        for one in (*names, *(one.arg for one in arguments.kwonlyargs)):
            mapping.setdefault(prefix + one, own)
        return mapping

    def _mapped(
        self, roots: frozenset[str] | set[str], mapping: dict[str, frozenset[str]], own: frozenset[str]
    ) -> frozenset[str]:
        """Roots inside a function as roots at its call; state it closes over belongs to the function object."""
        result: set[str] = set()
        for root in roots:
            if root[0] != "\0":
                result.add(root)
            elif root in mapping:
                result |= mapping[root]
            elif root == CLOSURE or root[1:4] != "new":
                result |= own
                if self.looked is not None and root != CLOSURE:
                    result.add(root)
        return frozenset(result)

    def effect_of(self, function: Function) -> CallEffect:
        """What calling `function` does with the notebook's names as they are now."""
        known = function.looked
        if function.effect is not None and known is not None:
            values = self.values
            if all(values.get(name) is value for name, value in known.items()):
                if self.looked is not None:
                    self.looked.update({name: value for name, value in known.items() if name not in self.looked})
                return function.effect
        if function.active or self.depth > _DEEPEST:
            self.recursed = True
            return CallEffect()
        outer, self.recursed = self.recursed, False
        effect = self._analyse(function)
        if self.recursed:
            self._incomplete.append(function)
        self.recursed = outer or self.recursed
        if self.depth == 0:
            # What was found for a function while its callers were open lacks what those do.
            for one in self._incomplete:
                one.effect = None if one is not function else effect
            self._incomplete.clear()
            self.recursed = False
        return effect

    def _analyse(self, function: Function) -> CallEffect:
        if not function.prepared:
            prepare(function)
        saved = (self.path, self.scope, self.frame, self.cell, self.looked, self.guarded, self.configuring, self.loops)
        effect, path = CallEffect(), Path()
        looked: dict[str, Value | None] = {}
        self.path, self.frame, self.cell, self.looked = path, effect, function.cell, looked
        self.guarded, self.configuring, self.loops = 0, False, []
        self.scope = self._scope(function)
        self.depth += 1
        function.active = True
        try:
            self.body(function)
        finally:
            function.active = False
            self.depth -= 1
            (self.path, self.scope, self.frame, self.cell, self.looked) = saved[:5]
            (self.guarded, self.configuring, self.loops) = saved[5:]
        effect.reads = path.reads
        if function.generator:
            returned = effect.returns
            inner = returned.reach if returned else frozenset()
            effect.returns = Value(carries=returned.carries if returned else (), flags=STATEFUL, inner=inner)
        function.effect, function.looked = effect, looked
        if self.looked is not None:
            for name, value in looked.items():
                self.looked.setdefault(name, value)
        return effect

    def _scope(self, function: Function) -> Scope:
        scope = Scope(
            function.local,
            function.scope,
            function.global_names,
            function.nonlocal_names,
            owner=function.owner,
        )
        arguments = function.node.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        every.extend(one for one in (arguments.vararg, arguments.kwarg) if one is not None)
        for one in every:
            scope.values[one.arg] = Value(frozenset((f"\0{function.serial}:{one.arg}",)))
        if every and function.owner is not None and function.kind != "static":
            first = scope.values[every[0].arg]
            scope.receiver = first.roots if first is not None else frozenset()
            if function.kind != "class":
                scope.values[every[0].arg] = Value(scope.receiver, (Instance(function.owner),), flags=KEEPER)
            else:
                scope.values[every[0].arg] = Value(scope.receiver, (function.owner,))
        return scope

    def body(self, function: Function) -> None:
        """Go through the function's body, filling `self.frame`."""
        raise NotImplementedError


def _shared(value: Value | None) -> frozenset[str]:
    """Roots of an argument that the callee could change."""
    if value is None or value.flags & (IMMUTABLE | IMPORTED):
        return frozenset()
    return value.reach
