"""What a call reads, writes and changes: of notebook definitions by analysing them, of libraries by the tables."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Literal

from nbkube.dataflow import tables
from nbkube.dataflow.escapes import PLACEHOLDER
from nbkube.dataflow.names import Names
from nbkube.dataflow.paths import DELETED, MAYBE, Path
from nbkube.dataflow.scopes import prepare
from nbkube.dataflow.values import (
    CLOSURE,
    IMMUTABLE,
    IMPORTED,
    KEEPER,
    NUMBER,
    SEEDED,
    STATEFUL,
    Bound,
    CallEffect,
    Carried,
    Class,
    Function,
    Instance,
    Mark,
    Place,
    Scope,
    Value,
    join,
    keep,
)

_DEEPEST = 25
_QUERIES = frozenset({"query", "eval"})
_AT_NAME = re.compile(r"@([A-Za-z_]\w*)")
_WORD = re.compile(r"[A-Za-z_]\w*")
_READS_CALLER = ("duckdb.", "statsmodels.formula.", "patsy.", "numexpr.", "pandasql.")
_READING_ONLY = frozenset({"fit", "fit_transform", "fit_predict", "partial_fit", "update", "extend"})
"""Methods that change their receiver but do not keep their arguments."""
_PATH = Value(flags=IMMUTABLE, made="pathlib.Path")
_MARKED: dict[str, Literal["input", "exit", "path"]] = {
    "builtins.input": "input", "getpass.getpass": "input", "builtins.exit": "exit", "builtins.quit": "exit",
}  # fmt: skip
_DYNAMIC = tables.names("""
    builtins.exec builtins.eval builtins.globals builtins.locals builtins.vars builtins.dir builtins.compile
    builtins.__import__
""")
_ABSOLUTE = re.compile(r"(?:/(?!dev/null$)|~|[A-Za-z]:[\\/])[^:]*$")
_RANDOM_STATE = frozenset({"random_state", "seed", "rng", "generator", "random_seed"})


class Calls(Names):
    """Calls of functions, classes, methods and library code."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: list[Loop] = []
        self.recursed = False
        self._incomplete: list[Function] = []

    def call(self, node: ast.Call) -> Value | None:
        """Evaluate a call."""
        func = node.func
        line = node.lineno
        receiver: Value | None = None
        method = ""
        if type(func) is ast.Attribute:
            method = func.attr
            receiver = self.evaluate(func.value)
            if receiver is None:
                callee = None
            elif receiver.dotted:
                callee = self.attribute(receiver, method)
            else:
                callee = self._called_member(receiver, func)
        else:
            if type(func) is ast.Name:
                if func.id == PLACEHOLDER:
                    return self.escaped(node)
                if func.id == "super" and self.scope is not None:
                    return self._super()
            callee = self.evaluate(func)
        values = [self.evaluate(one) for one in node.args]
        named = {one.arg: self.evaluate(one.value) for one in node.keywords} if node.keywords else {}
        self._pass(values, named, line)
        if callee is not None and callee.carries:
            return self._definitions(callee, values, named, line)
        if callee is not None and callee.dotted:
            return self._library(callee, node, values, named)
        if method:
            return self._method(receiver, method, node, values, named)
        return None

    def member(self, base: Value, node: ast.Attribute) -> Value | None:
        """An attribute of a notebook object."""
        raise NotImplementedError

    def _called_member(self, receiver: Value, func: ast.Attribute) -> Value | None:
        """The notebook's own method that a call names, if there is one."""
        if not any(isinstance(one, Instance | Class) for one in receiver.carries):
            return None
        found = self.member(receiver, func)
        if found is None:
            return None
        own = tuple(one for one in found.carries if isinstance(one, Function | Bound) and one not in receiver.carries)
        return Value(found.roots, own) if own else None

    def escaped(self, node: ast.Call) -> Value | None:
        """The magic, shell command or help line that a placeholder stands for."""
        raise NotImplementedError

    def _pass(self, values: Sequence[Value | None], named: dict[str | None, Value | None], line: int) -> None:
        """Arguments: definitions among them may be called, iterators and generators are used."""
        for value in (*values, *named.values()) if named else values:
            if value is not None:
                if value.carries:
                    self.escape(value, line)
                if value.flags & STATEFUL:
                    self.use(value, line)

    # --- library calls ---------------------------------------------------------------------------------------

    def _library(
        self, callee: Value, node: ast.Call, values: list[Value | None], named: dict[str | None, Value | None]
    ) -> Value | None:
        dotted = callee.dotted
        effects = tables.library_effects(dotted)
        if dotted in _MARKED:
            self._mark(_MARKED[dotted], dotted.removeprefix("builtins."), node.lineno)
        if dotted == "pathlib.Path" or effects & tables.FILES:
            self._outside(node)
        if dotted in _DYNAMIC:
            self._dynamic(dotted, node)
        if effects:
            seeded = effects & tables.RANDOM and _is_seeded(node)
            self.frame.effects |= effects & ~tables.RANDOM if seeded else effects
        for at in tables.CHANGES_ARGUMENT.get(dotted, ()):
            if at < len(values) and (value := values[at]) is not None:
                self.change(value.roots, node.lineno)
        if "out" in named and (out := named["out"]) is not None:
            self.change(out.roots, node.lineno)
        if dotted.startswith(_READS_CALLER):
            self._words(node)
        if dotted.rpartition(".")[2] in tables.MUTATING and callee.roots and tables.is_local_module(dotted):
            self.change(callee.roots, node.lineno)
        return self._made(dotted, node, values, named)

    def _made(
        self, dotted: str, node: ast.Call, values: list[Value | None], named: dict[str | None, Value | None]
    ) -> Value | None:
        """What a library call returns."""
        if tables.is_immutable_result(dotted):
            return _PATH if dotted == "pathlib.Path" else NUMBER
        flags = 0
        if dotted in tables.STATEFUL_MAKERS:
            flags = STATEFUL
        if _is_seeded(node):
            flags |= SEEDED
        everything = [*values, *named.values()]
        if dotted in tables.ITERATES_ONLY or flags & STATEFUL:
            kept = keep(everything)
            return Value(kept.roots, kept.carries, flags=flags | KEEPER, made=dotted) if kept is not None else None
        carries = tuple(one for value in everything if value is not None for one in value.carries)
        if tables.keeps_arguments(dotted):
            roots: set[str] = set()
            for value in everything:
                if value is not None and value.flags & KEEPER:
                    roots |= value.roots
            return Value(frozenset(roots), carries, flags=flags | KEEPER, made=dotted)
        return Value(carries=carries, flags=flags, made=dotted)

    def _dynamic(self, dotted: str, node: ast.Call) -> None:
        """Literal code is analysed, all else may do anything."""
        first = node.args[0] if node.args else None
        if dotted in ("builtins.vars", "builtins.dir"):
            self.frame.effects |= 0 if node.args else tables.DYNAMIC
            return
        literal = isinstance(first, ast.Constant) and isinstance(first.value, str) and len(node.args) == 1
        if not literal or dotted not in ("builtins.exec", "builtins.eval") or self.scope is not None:
            self.frame.effects |= tables.DYNAMIC
            return
        try:
            tree = ast.parse(textwrap.dedent(first.value).strip())  # type: ignore[union-attr]
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return
        for one in ast.walk(tree):
            if hasattr(one, "lineno"):
                one.lineno = node.lineno
        self.block(tree.body)

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Go through statements until the path ends."""
        raise NotImplementedError

    def _words(self, node: ast.Call) -> None:
        """Text arguments in which a library looks for the caller's names: known names among the words are read."""
        for one in node.args:
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                for word in set(_WORD.findall(one.value)):
                    if word in self.values:
                        self.path.maybe += 1
                        self.load(word, node.lineno)
                        self.path.maybe -= 1

    # --- methods of objects that are not the notebook's ------------------------------------------------------

    def _method(
        self,
        receiver: Value | None,
        name: str,
        node: ast.Call,
        values: list[Value | None],
        named: dict[str | None, Value | None],
    ) -> Value | None:
        line = node.lineno
        if name in tables.FILE_METHODS or (
            receiver is not None and receiver.made == "pathlib.Path" and name in ("rename", "replace")
        ):
            self.frame.effects |= tables.FILES
            self._outside(node)
        own = receiver is not None and receiver.flags & (SEEDED | STATEFUL)
        if name in tables.RANDOM_METHODS and not own and not _is_seeded(node):
            self.frame.effects |= tables.RANDOM
        if name in _QUERIES or name == "sql":
            self._query(name, node)
        if receiver is None:
            return None
        if receiver.made:
            if receiver.made == "builtins.get_ipython":
                self.shell_method(name, node)
            elif tables.is_local_module(receiver.made):
                self.frame.effects |= tables.FILES
        if receiver.flags & STATEFUL:
            self.use(receiver, line)
        elif receiver.roots and self._changes_receiver(name, node):
            self.change(receiver.roots, line)
            if receiver.flags & KEEPER and name not in _READING_ONLY:
                for value in (*values, *named.values()):
                    if value is not None and value.roots and not value.flags & (IMMUTABLE | IMPORTED):
                        self.link(receiver.roots, value.roots)
        if name == "shuffle" and receiver.flags & STATEFUL and values and values[0] is not None:
            self.change(values[0].roots, line)
        out = named.get("out")
        if out is not None:
            self.change(out.roots, line)
        if receiver.carries:
            self.escape(receiver, line)
        if name in tables.SHARING:
            return Value(receiver.roots, receiver.carries, flags=receiver.flags & KEEPER)
        return None

    def shell_method(self, name: str, node: ast.Call) -> None:
        """`get_ipython().run_line_magic(…)` and the like."""
        raise NotImplementedError

    def _mark(self, kind: Literal["input", "exit", "path"], text: str, line: int) -> None:
        definite = not self.path.maybe and self.path.parent is None
        self.frame.marks[Mark(kind, Place(self.cell, line), text, definite)] = None

    def _outside(self, node: ast.Call) -> None:
        """Note literal absolute paths given to code that touches files."""
        for one in node.args:
            if isinstance(one, ast.Constant) and isinstance(one.value, str) and _ABSOLUTE.match(one.value):
                self._mark("path", one.value, node.lineno)

    def _changes_receiver(self, name: str, node: ast.Call) -> bool:
        if name in tables.MUTATING:
            return True
        if name.startswith("set_") and name not in tables.SETTERS_OF_COPIES:
            return True
        if name[-1:] == "_" and name[:1] != "_":
            return True
        for one in node.keywords:
            if one.arg == "inplace" and not (isinstance(one.value, ast.Constant) and one.value.value is False):
                return True
        return False

    def _query(self, name: str, node: ast.Call) -> None:
        """`df.query("a > @limit")` reads `limit` of the caller."""
        for one in node.args:
            if name == "sql":
                self._words(node)
            elif isinstance(one, ast.Constant) and isinstance(one.value, str):
                for found in _AT_NAME.findall(one.value):
                    self.load(found, node.lineno)

    # --- definitions of the notebook -------------------------------------------------------------------------

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

    def _definitions(
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
                        return self.apply(method, [Value(callee.roots), *values], named, callee.roots, line)
                self._perhaps(carried, line)
        return None

    def _construct(
        self, of: Class, values: list[Value | None], named: dict[str | None, Value | None], line: int
    ) -> Value | None:
        kept = keep([*values, *named.values()])
        roots = kept.roots if kept is not None else frozenset()
        for name in ("__init__", "__new__"):
            method = self.method(of, name)
            if method is not None:
                token = f"\0new:{id(of)}"
                links = len(self.frame.links)
                roots = self.apply_linked(method, token, values, named, line)
                del self.frame.links[links:]
        post = self.method(of, "__post_init__")
        if post is not None:
            self.apply(post, [Value(roots)], {}, roots, line)
        return Value(roots, (Instance(of),), flags=KEEPER)

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
        value = effect.returns
        if value is None or not value.roots:
            return value
        return Value(self._mapped(value.roots, mapping, frozenset()), value.carries, "", value.flags, value.made)

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
        prefix = f"\0{id(function)}:"
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
            effect.returns = Value(returned.roots if returned else frozenset(), returned.carries if returned else ())
            effect.returns.flags = STATEFUL
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
            scope.values[one.arg] = Value(frozenset((f"\0{id(function)}:{one.arg}",)))
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


class Loop:
    """The ways out of one loop: what was bound at each `break` and `continue`."""

    __slots__ = ("breaks", "continues", "start")

    def __init__(self, start: Path) -> None:
        self.start = start
        self.breaks: list[dict[str, int]] = []
        self.continues: list[dict[str, int]] = []


def _is_seeded(node: ast.Call) -> bool:
    """Whether a random state is given."""
    for one in node.keywords:
        if one.arg in _RANDOM_STATE and not (isinstance(one.value, ast.Constant) and one.value.value is None):
            return True
    return False


def _shared(value: Value | None) -> frozenset[str]:
    """Roots of an argument that the callee could change."""
    if value is None or value.flags & (IMMUTABLE | IMPORTED):
        return frozenset()
    return value.roots
