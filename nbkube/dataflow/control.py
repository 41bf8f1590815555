"""Branches, loops, exceptions, jumps: which way the code may go."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable

from nbkube.dataflow.bindings import Bindings
from nbkube.dataflow.paths import DEFINED, DELETED, IN_LOOP, MAYBE, MAYBE_GONE, RETURNED, Loop, Path, join_reads, meet
from nbkube.dataflow.values import (
    Instance,
    Value,
    join,
)

_CATCHES_NAME_ERROR = frozenset({"NameError", "Exception", "BaseException", "UnboundLocalError"})


class Control(Bindings):
    """Statements that contain others, and those that leave them."""

    def __init__(self) -> None:
        super().__init__()
        self.exits: list[dict[str, int]] = []
        self.repeating = False

    def _branch(self, statements: Iterable[ast.stmt], outer: Path) -> Path:
        self.path = path = Path(outer, tentative=outer.tentative)
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
        self.path = body = Path(outer, tentative=outer.tentative)
        loop = Loop(body)
        self.loops.append(loop)
        bind()
        self.block(node.body)
        if not self.repeating:
            self._again(node.body, body, bind)
        self.loops.pop()
        self.path = outer
        jumped = outer.jumped
        outer.maybe += not once
        if body.end == "jump" or body.jumped < RETURNED:
            body.end = "jump" if body.end else ""
        join_reads(outer, [body])
        outer.maybe -= not once
        outer.jumped = body.jumped if outer.tentative or body.jumped == RETURNED else jumped
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

    def _again(self, statements: list[ast.stmt], body: Path, bind: Callable[[], None]) -> None:
        """A second turn of a loop meets the definitions and aliases that the first one has made."""
        self.repeating = True
        self.path = second = Path(body, maybe=1)
        loop, self.loops[-1] = self.loops[-1], Loop(second)
        bind()
        self.block(statements)
        self.loops[-1] = loop
        self.path = body
        self.repeating = False
        for name, read in second.reads.items():
            body.reads.setdefault(name, read)

    def _with(self, node: ast.With | ast.AsyncWith) -> None:
        swallows = False
        for item in node.items:
            value = self.evaluate(item.context_expr)
            if value is not None and value.carries:
                self.escape(value, node.lineno, only=Instance)
            swallows |= value is not None and value.made.endswith((".suppress", ".raises"))
            if item.optional_vars is not None:
                self.assign(item.optional_vars, value)
        if not swallows:
            self.block(node.body)
            return
        outer = self.path
        guarded = any(isinstance(one, ast.Name) and one.id in _CATCHES_NAME_ERROR for one in ast.walk(node.items[0]))
        self.guarded += guarded
        inside = self._tried(node.body, outer)
        self.guarded -= guarded
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
        """A block that an exception may leave anywhere: only what it reads first is read on every path."""
        self.path = body = Path(outer, tentative=True)
        self.block(statements)
        self.path = outer
        jumped = outer.jumped
        join_reads(outer, [body])
        outer.jumped = RETURNED if body.jumped == RETURNED else jumped
        return body

    def _handler(self, handler: ast.ExceptHandler, partial: dict[str, int], outer: Path) -> Path:
        self.path = path = Path(outer, tentative=outer.tentative)
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
            self.path = path = Path(outer, tentative=outer.tentative)
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
