"""What statements bind, change and unbind, along every way through the code."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from nbkube.dataflow import tables
from nbkube.dataflow.calls import Loop
from nbkube.dataflow.expressions import Expressions
from nbkube.dataflow.paths import DEFINED, DELETED, IN_LOOP, MAYBE, MAYBE_GONE, RETURNED, Path, join_reads, meet
from nbkube.dataflow.values import (
    IMMUTABLE,
    IMPORTED,
    KEEPER,
    MODULE,
    Carried,
    Class,
    Function,
    Instance,
    Scope,
    Value,
    join,
)

_ENDS = frozenset({"sys.exit", "os._exit", "builtins.exit", "builtins.quit", "os.abort"})
_CATCHES_NAME_ERROR = frozenset({"NameError", "Exception", "BaseException", "UnboundLocalError"})


class Statements(Expressions):
    """One method per kind of statement, found by `type(node)`."""

    def __init__(self) -> None:
        super().__init__()
        self.exits: list[dict[str, int]] = []
        self.statements: dict[type[ast.stmt], Callable[[Any], None]] = {
            ast.Expr: self._expression,
            ast.Assign: self._assign,
            ast.AugAssign: self._augmented,
            ast.AnnAssign: self._annotated,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.If: self._if,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.While: self._while,
            ast.With: self._with,
            ast.AsyncWith: self._with,
            ast.Try: self._try,
            ast.TryStar: self._try,
            ast.Match: self._match,
            ast.Return: self._return,
            ast.Raise: self._raise,
            ast.Break: self._break,
            ast.Continue: self._continue,
            ast.Delete: self._delete,
            ast.Assert: self._assert,
        }

    def block(self, statements: Iterable[ast.stmt]) -> None:
        """Go through statements until the path ends."""
        table = self.statements
        for one in statements:
            method = table.get(type(one))
            if method is not None:
                method(one)
                if self.path.end:
                    break
            elif not isinstance(one, ast.Pass | ast.Global | ast.Nonlocal):
                self._newer(one)

    def body(self, function: Function) -> None:
        """Fill the frame from a function's body."""
        path, saved = self.path, self.exits
        exits: list[dict[str, int]] = []
        self.exits = exits
        if isinstance(function.node, ast.Lambda):
            self.frame.returns = self.evaluate(function.node.body)
        else:
            self.block(function.node.body)
        self.exits = saved
        if path.end != "raise" or exits:
            ends = exits if path.end else [*exits, path.bound]
            final = Path()
            meet(final, ends)
            self.frame.bound = final.bound

    def _newer(self, node: ast.stmt) -> None:
        """`type X = …` (3.12) and what later versions add."""
        name = getattr(node, "name", None)
        if isinstance(name, ast.Name):
            value = getattr(node, "value", None)
            carries: tuple[Function, ...] = ()
            if isinstance(value, ast.expr):
                empty = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
                carries = (Function(ast.copy_location(ast.Lambda(empty, value), node), self.cell, self.scope),)
            self.store(name.id, Value(carries=carries), node.lineno)

    # --- simple statements -----------------------------------------------------------------------------------

    def _expression(self, node: ast.Expr) -> None:
        value = node.value
        self.evaluate(value)
        if isinstance(value, ast.Call) and self._leaves(value.func):
            self.path.end = "raise" if self.path.parent is not None or self.looked is not None else ""

    def _leaves(self, func: ast.expr) -> bool:
        if isinstance(func, ast.Name):
            return func.id in ("exit", "quit") and func.id not in self.values
        if isinstance(func, ast.Attribute) and isinstance(func.value, ast.Name) and func.value.id in ("sys", "os"):
            return f"{func.value.id}.{func.attr}" in _ENDS
        return False

    def _assign(self, node: ast.Assign) -> None:
        value = self.evaluate(node.value)
        for target in node.targets:
            if type(target) is ast.Name:
                self.store(target.id, value, node.lineno)
            elif isinstance(target, ast.Tuple | ast.List):
                self._unpack(target, value, node.value)
            else:
                self.assign(target, value)

    def _unpack(self, target: ast.Tuple | ast.List, value: Value | None, node: ast.expr) -> None:
        """`a, b = b, a` pairs the parts; of any other value each part may share all."""
        parts = node.elts if isinstance(node, ast.Tuple | ast.List) else []
        starred = any(isinstance(one, ast.Starred) for one in (*parts, *target.elts))
        if len(parts) != len(target.elts) or starred:
            self.assign(target, self.iterate(value, node.lineno))
            return
        known = [self._peek(one) for one in parts]
        for one, part in zip(target.elts, known, strict=True):
            self.assign(one, part)

    def _peek(self, node: ast.expr) -> Value | None:
        """The value of an expression already evaluated, if it is a plain name or constant."""
        if isinstance(node, ast.Name | ast.Constant):
            return self.evaluate(node)
        return None

    def assign(self, target: ast.expr, value: Value | None) -> None:
        """Bind or change `target`."""
        kind = type(target)
        if kind is ast.Name:
            self.store(target.id, value, target.lineno)  # type: ignore[attr-defined]
        elif isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self.assign(one, value)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, value)
        elif isinstance(target, ast.Attribute | ast.Subscript):
            self._change_target(target, value)

    def _change_target(self, target: ast.Attribute | ast.Subscript, value: Value | None) -> None:
        base = self.evaluate(target.value)
        if isinstance(target, ast.Subscript):
            self.evaluate(target.slice)
            if self._into_globals(target, value):
                return
        if base is None or not base.roots:
            return
        self.change(base.roots, target.lineno)
        if value is None or value.flags & (IMMUTABLE | IMPORTED):
            return
        if base.flags & KEEPER or isinstance(target, ast.Attribute):
            self.link(base.roots, value.roots)

    def _into_globals(self, target: ast.Subscript, value: Value | None) -> bool:
        """`globals()["x"] = 1` binds x."""
        call = target.value
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "globals"):
            return False
        if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
            self.store_global(target.slice.value, value)
        return True

    def _augmented(self, node: ast.AugAssign) -> None:
        target = node.target
        if isinstance(target, ast.Name):
            old = self.load(target.id, node.lineno)
            added = self.evaluate(node.value)
            if old is not None and not old.flags & IMMUTABLE:
                self.change(old.roots - {target.id}, node.lineno)
            flags = old.flags & added.flags & IMMUTABLE if old is not None and added is not None else 0
            self.store(target.id, Value(flags=flags) if flags else old, node.lineno)
        else:
            self.evaluate(node.value)
            self._change_target(target, None)

    def _annotated(self, node: ast.AnnAssign) -> None:
        if self.scope is None or self.scope.kind == "class":
            self.annotation(node.annotation)
        value = self.evaluate(node.value) if node.value is not None else None
        if node.value is not None:
            self.assign(node.target, value)
        elif isinstance(node.target, ast.Attribute | ast.Subscript):
            self.evaluate(node.target.value)

    future_annotations = False
    """Whether `from __future__ import annotations` holds, so that annotations are not evaluated."""

    def annotation(self, node: ast.expr | None) -> None:
        """Annotations are read where they are evaluated."""
        if node is not None and not self.future_annotations:
            self.evaluate(node)

    def _delete(self, node: ast.Delete) -> None:
        stack: list[ast.expr] = list(node.targets)
        for target in stack:
            if isinstance(target, ast.Name):
                self.unbind(target.id, node.lineno)
            elif isinstance(target, ast.Tuple | ast.List):
                stack.extend(target.elts)
            elif isinstance(target, ast.Attribute | ast.Subscript):
                self._change_target(target, None)

    def _assert(self, node: ast.Assert) -> None:
        self.evaluate(node.test)
        if node.msg is not None:
            self.path.maybe += 1
            self.evaluate(node.msg)
            self.path.maybe -= 1

    def _import(self, node: ast.Import) -> None:
        top = self.looked is None and self.scope is None and self.path.parent is None
        for alias in node.names:
            name = alias.asname or alias.name.partition(".")[0]
            dotted = alias.name if alias.asname else name
            self._bind_import(name, dotted, node.lineno, MODULE, replayed=top)

    def _import_from(self, node: ast.ImportFrom) -> None:
        top = self.looked is None and self.scope is None and self.path.parent is None
        module = "." * node.level + (node.module or "")
        if module == "__future__":
            self.future_annotations |= any(alias.name == "annotations" for alias in node.names)
        for alias in node.names:
            if alias.name == "*":
                self.frame.effects |= tables.DYNAMIC
            else:
                self._bind_import(alias.asname or alias.name, f"{module}.{alias.name}", node.lineno, 0, replayed=top)

    def _bind_import(self, name: str, dotted: str, line: int, flags: int, *, replayed: bool) -> None:
        if dotted == "__main__":
            self.frame.effects |= tables.DYNAMIC
        if tables.is_inspecting(dotted):
            self.frame.effects |= tables.INSPECTS
        if self.scope is not None and name not in self.scope.global_names:
            self.store(name, Value(dotted=dotted, flags=IMPORTED | flags), line)
        elif replayed:
            self.store_global(name, Value(dotted=dotted), imported=IMPORTED | flags)
            self.imported(name)
        else:
            self.store_global(name, Value(dotted=dotted))

    def imported(self, name: str) -> None:
        """A replayed import has bound `name`."""
        raise NotImplementedError

    # --- definitions -----------------------------------------------------------------------------------------

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        value = self._decorated(node, self.function(node))
        self.store(node.name, value, node.lineno)

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> Value:
        """A function object: defaults and annotations are evaluated now, the body when it is called."""
        kept = self.defaults(node.args)
        arguments = node.args
        with self.type_parameters(node):
            for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
                self.annotation(one.annotation)
            for extra in (arguments.vararg, arguments.kwarg):
                if extra is not None:
                    self.annotation(extra.annotation)
            self.annotation(node.returns)
        function = Function(node, self.cell, self._type_scope(node))
        return Value(kept.roots if kept is not None else frozenset(), (function,))

    def _decorated(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, value: Value) -> Value:
        """Decorators are called with the definition; what they return still carries it."""
        for decorator in reversed(node.decorator_list):
            wrapper = self.evaluate(decorator)
            if wrapper is None:
                continue
            if wrapper.dotted:
                self.frame.effects |= tables.library_effects(wrapper.dotted) & tables.INSPECTS
            if wrapper.carries:
                made = self._definitions(wrapper, [value], {}, node.lineno)
                inner = made.carries if made is not None else ()
                value = Value(value.roots | wrapper.roots, tuple(dict.fromkeys((*inner, *value.carries))))
        return value

    def _class(self, node: ast.ClassDef) -> None:
        carries: list[Carried] = []
        outer = self.scope
        with self.type_parameters(node):
            for base in node.bases:
                value = self.evaluate(base)
                if value is not None:
                    carries.extend(value.carries)
            for keyword in node.keywords:
                self.evaluate(keyword.value)
        made = Class(node.name, bases=tuple(carries))
        scope = Scope(set(), self._type_scope(node), kind="class")
        self.scope = scope
        for one in node.body:
            if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                self._add_method(one, made)
            else:
                self.block((one,))
        self.scope = outer
        roots: set[str] = set()
        for inner in scope.values.values():
            if inner is not None and not inner.flags & (IMMUTABLE | IMPORTED):
                roots |= inner.roots
        value = self._decorated(node, Value(frozenset(roots), (made,)))
        self.store(node.name, value, node.lineno)

    def _type_scope(self, node: ast.stmt) -> Scope | None:
        """The scope around a definition, with its type parameters (3.12), which shadow names outside."""
        names = {str(getattr(one, "name", "")) for one in getattr(node, "type_params", ())}
        return Scope(names, self.scope, kind="block") if names else self.scope

    @contextmanager
    def type_parameters(self, node: ast.stmt) -> Iterator[None]:
        """Evaluate annotations and bases where the type parameters of `node` are known."""
        outer = self.scope
        self.scope = self._type_scope(node)
        try:
            yield
        finally:
            self.scope = outer

    def _add_method(self, node: ast.FunctionDef | ast.AsyncFunctionDef, made: Class) -> None:
        value = self.function(node)
        function = next(one for one in value.carries if isinstance(one, Function))
        function.owner = made
        value = self._decorated(node, value)
        for decorator in node.decorator_list:
            name = ast.unparse(decorator).rpartition(".")[2].partition("(")[0]
            if name in ("staticmethod", "classmethod", "property", "cached_property", "setter", "getter"):
                function.kind = {"staticmethod": "static", "classmethod": "class"}.get(name, "property")  # type: ignore[assignment]
        made.methods[node.name] = function
        self.store(node.name, value, node.lineno)

    # --- control flow ----------------------------------------------------------------------------------------

    def _branch(self, statements: Iterable[ast.stmt], outer: Path) -> Path:
        self.path = path = Path(outer)
        self.block(statements)
        self.path = outer
        return path

    def _join(self, outer: Path, branches: list[Path]) -> None:
        join_reads(outer, branches)
        going = [branch.bound for branch in branches if not branch.end]
        meet(outer, going)
        if not going:
            outer.end = "jump" if any(branch.end == "jump" for branch in branches) else "raise"

    def _if(self, node: ast.If) -> None:
        self.evaluate(node.test)
        known = _truth(node.test)
        outer = self.path
        if known is not None:
            self.block(node.body if known else node.orelse)
            return
        self._join(outer, [self._branch(node.body, outer), self._branch(node.orelse, outer)])

    def _for(self, node: ast.For | ast.AsyncFor) -> None:
        value = self.iterate(self.evaluate(node.iter), node.lineno)
        self._loop(node, _never_empty(node.iter), lambda: self.assign(node.target, value))

    def _while(self, node: ast.While) -> None:
        self.evaluate(node.test)
        forever = _truth(node.test) is True
        self._loop(node, forever, lambda: None, forever=forever)

    def _loop(
        self,
        node: ast.For | ast.AsyncFor | ast.While,
        once: bool,
        bind: Callable[[], None],
        *,
        forever: bool = False,
    ) -> None:
        outer = self.path
        self.path = body = Path(outer)
        loop = Loop(body)
        self.loops.append(loop)
        bind()
        self.block(node.body)
        self.loops.pop()
        self.path = outer
        jumped = outer.jumped
        outer.maybe += not once
        if body.end == "jump" or body.jumped < RETURNED:
            body.end = "jump" if body.end else ""
        join_reads(outer, [body])
        outer.maybe -= not once
        outer.jumped = RETURNED if body.jumped == RETURNED else jumped
        ends = ([] if body.end else [body.bound]) + loop.continues
        normal = [] if forever else ends if once else [*ends, {}]
        if node.orelse and normal:
            after = Path(outer)
            meet(after, normal)
            self.path = after
            self.block(node.orelse)
            self.path = outer
            outer.maybe += 1
            join_reads(outer, [after])
            outer.maybe -= 1
            normal = [] if after.end else [after.bound]
        # A later turn may break with what an earlier one has bound.
        for bound in loop.breaks:
            for name in {name for end in ends for name in end}:
                bound.setdefault(name, DEFINED if outer.state(name) == DEFINED else MAYBE)
        if normal or loop.breaks:
            meet(outer, [*normal, *loop.breaks])
        else:
            outer.end = "jump" if body.end == "jump" and not forever else "raise"

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        swallows = False
        for item in node.items:
            value = self.evaluate(item.context_expr)
            if value is not None and value.carries:
                self.escape(value, node.lineno, only=Instance)
            swallows |= "suppress" in (value.made if value is not None else "") or (
                value is not None and value.made.endswith(".raises")
            )
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value)
        if not swallows:
            self.block(node.body)
            return
        outer = self.path
        inside = self._tried(node.body, outer)
        meet(outer, [{}, inside.bound])

    def _try(self, node: ast.Try | ast.TryStar) -> None:
        outer = self.path
        if not node.handlers:
            self.block(node.body)
        else:
            self._handled(node, outer)
        end, outer.end = outer.end, ""
        self.block(node.finalbody)
        outer.end = outer.end or end

    def _handled(self, node: ast.Try | ast.TryStar, outer: Path) -> None:
        guarded = any(_catches_names(handler.type) for handler in node.handlers)
        self.guarded += guarded
        body = self._tried(node.body, outer)
        self.guarded -= guarded
        partial = dict(body.bound)
        if node.orelse and not body.end:
            self.path = body
            body.reads = {}
            self.block(node.orelse)
            self.path = outer
            outer.maybe += 1
            join_reads(outer, [body])
            outer.maybe -= 1
        branches = [body, *(self._handler(handler, partial, outer) for handler in node.handlers)]
        outer.maybe += 1
        for branch in branches[1:]:
            join_reads(outer, [branch])
        outer.maybe -= 1
        going = [branch.bound for branch in branches if not branch.end]
        meet(outer, going)
        if not going:
            outer.end = "jump" if any(branch.end == "jump" for branch in branches) else "raise"

    def _tried(self, statements: list[ast.stmt], outer: Path) -> Path:
        """A block that any statement but the first may leave unexecuted."""
        self.path = body = Path(outer)
        self.block(statements[:1])
        if not body.end:
            body.jumped = max(body.jumped, IN_LOOP)
            self.block(statements[1:])
        self.path = outer
        jumped = outer.jumped
        join_reads(outer, [body])
        outer.jumped = RETURNED if body.jumped == RETURNED else jumped
        return body

    def _handler(self, handler: ast.ExceptHandler, partial: dict[str, int], outer: Path) -> Path:
        self.path = path = Path(outer)
        meet(path, [{}, partial])
        if handler.type is not None:
            self.evaluate(handler.type)
        if handler.name is not None:
            self.store(handler.name, None, handler.lineno)
        self.block(handler.body)
        if handler.name is not None:
            scope = self.scope
            if scope is None or handler.name in scope.global_names:
                path.bound[handler.name] = MAYBE_GONE if path.maybe else DELETED
        self.path = outer
        return path

    def _match(self, node: ast.Match) -> None:
        value = self.evaluate(node.subject)
        outer = self.path
        branches: list[Path] = []
        exhaustive = False
        for case in node.cases:
            self.path = path = Path(outer)
            self._pattern(case.pattern, value)
            if case.guard is not None:
                self.evaluate(case.guard)
            elif isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None:
                exhaustive = True
            self.block(case.body)
            self.path = outer
            branches.append(path)
        if not exhaustive:
            branches.append(Path(outer))
        self._join(outer, branches)

    def _pattern(self, pattern: ast.pattern, value: Value | None) -> None:
        if isinstance(pattern, ast.MatchAs | ast.MatchStar) and pattern.name:
            self.store(pattern.name, value, pattern.lineno)
        elif isinstance(pattern, ast.MatchMapping) and pattern.rest:
            self.store(pattern.rest, value, pattern.lineno)
        for child in ast.iter_child_nodes(pattern):
            if isinstance(child, ast.pattern):
                self._pattern(child, value)
            elif isinstance(child, ast.expr):
                self.evaluate(child)

    def _return(self, node: ast.Return) -> None:
        if node.value is not None:
            self.frame.returns = join(self.frame.returns, self.evaluate(node.value))
        self._jump(RETURNED)
        self.exits.append(self._all_bound())

    def _all_bound(self) -> dict[str, int]:
        path = self.path
        while path.parent is not None:
            path = path.parent
        return self.path.since(path)

    def _jump(self, how: int) -> None:
        self.path.end = "jump"
        self.path.jumped = max(self.path.jumped, how)

    def _raise(self, node: ast.Raise) -> None:
        for one in (node.exc, node.cause):
            if one is not None:
                self.evaluate(one)
        if self.path.parent is not None or self.looked is not None:
            self.path.end = "raise"

    def _break(self, node: ast.Break) -> None:
        if self.loops:
            loop = self.loops[-1]
            loop.breaks.append(self.path.since(loop.start))
        self._jump(IN_LOOP)

    def _continue(self, node: ast.Continue) -> None:
        if self.loops:
            loop = self.loops[-1]
            loop.continues.append(self.path.since(loop.start))
        self._jump(IN_LOOP)


def _truth(test: ast.expr) -> bool | None:
    """Whether a condition is known: constants, and `__name__ == "__main__"`, which a notebook's code is."""
    if isinstance(test, ast.Constant):
        return bool(test.value)
    if isinstance(test, ast.Compare) and isinstance(test.left, ast.Name) and test.left.id == "__name__":
        right = test.comparators[0]
        if isinstance(test.ops[0], ast.Eq) and isinstance(right, ast.Constant):
            return bool(right.value == "__main__")
    return None


def _never_empty(node: ast.expr) -> bool:
    """Whether a loop over this runs at least once."""
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        return any(not isinstance(one, ast.Starred) for one in node.elts)
    if isinstance(node, ast.Dict):
        return any(key is not None for key in node.keys)
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str | bytes) and bool(node.value)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id == "range":
            try:
                return len(range(*(ast.literal_eval(one) for one in node.args))) > 0
            except (ValueError, TypeError, SyntaxError, OverflowError):
                return False
        if node.func.id in ("enumerate", "reversed", "sorted", "list", "tqdm") and node.args:
            return _never_empty(node.args[0])
    return False


def _catches_names(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(isinstance(one, ast.Name) and one.id in _CATCHES_NAME_ERROR for one in names)
