"""What evaluating an expression reads and changes, and what may be known of its value."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from nbkube.dataflow import tables
from nbkube.dataflow.calls import Calls
from nbkube.dataflow.scopes import walrus_names
from nbkube.dataflow.values import (
    CONSTANT,
    IMMUTABLE,
    IMPORTED,
    ITERATOR,
    KEEPER,
    LITERAL,
    NUMBER,
    STATEFUL,
    Bound,
    Carried,
    Class,
    Function,
    Instance,
    Scope,
    Value,
    join,
    keep,
    part,
)

_SCALARS = frozenset({"shape", "size", "ndim", "dtype", "dtypes", "name", "__name__", "__doc__", "empty", "itemsize"})
"""Attributes that are numbers, text or the like whatever they belong to."""


class Expressions(Calls):
    """One method per kind of expression, found by `type(node)`."""

    def __init__(self) -> None:
        super().__init__()
        self._expressions: dict[type[ast.expr], Callable[[Any], Value | None]] = {
            ast.Attribute: self._attribute,
            ast.Call: self.call,
            ast.Subscript: self._subscript,
            ast.BinOp: self._binary,
            ast.UnaryOp: self._unary,
            ast.BoolOp: self._boolean,
            ast.Compare: self._compare,
            ast.List: self._display,
            ast.Tuple: self._display,
            ast.Set: self._display,
            ast.Dict: self._dict,
            ast.JoinedStr: self._formatted,
            ast.FormattedValue: self._formatted_value,
            ast.IfExp: self._conditional,
            ast.Lambda: self._lambda,
            ast.ListComp: self._comprehension,
            ast.SetComp: self._comprehension,
            ast.GeneratorExp: self._comprehension,
            ast.DictComp: self._comprehension,
            ast.NamedExpr: self._walrus,
            ast.Starred: self._inner,
            ast.Await: self._inner,
            ast.Slice: self._slice,
            ast.Yield: self._yield,
            ast.YieldFrom: self._yield,
        }

    def evaluate(self, node: ast.expr) -> Value | None:
        """What is known of the value of `node`."""
        kind = type(node)
        if kind is ast.Name:
            if self.scope is None:
                return self.load_global(node.id, node.lineno)  # type: ignore[attr-defined]
            return self.load(node.id, node.lineno)  # type: ignore[attr-defined]
        if kind is ast.Constant:
            return CONSTANT
        method = self._expressions.get(kind)
        return method(node) if method is not None else self._unknown(node)

    def _unknown(self, node: ast.expr) -> Value | None:
        """Syntax newer than this table (template strings): all its parts are evaluated."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.expr):
                self.evaluate(child)
            else:
                for one in ast.iter_child_nodes(child):
                    if isinstance(one, ast.expr):
                        self.evaluate(one)
        return None

    def _attribute(self, node: ast.Attribute) -> Value | None:
        base = self.evaluate(node.value)
        if base is None:
            return None
        if base.dotted:
            return self.attribute(base, node.attr)
        if base.made == "builtins.get_ipython" and node.attr.startswith("user_"):
            self.frame.effects |= tables.DYNAMIC
        if base.carries:
            return self.member(base, node)
        return part(base) if (base.roots or base.inner) and node.attr not in _SCALARS else None

    def member(self, base: Value, node: ast.Attribute) -> Value | None:
        """An attribute of an object of the notebook's classes: properties run, methods are carried."""
        found: list[Function | Bound] = []
        for carried in base.carries:
            if isinstance(carried, Instance | Class):
                of = carried.of if isinstance(carried, Instance) else carried
                method = self.method(of, node.attr)
                if method is None:
                    continue
                if isinstance(carried, Class) and method.kind != "class":
                    found.append(method)
                else:
                    found.append(Bound(method, base.reach))
        for one in found:
            if isinstance(one, Bound) and one.function.kind == "property":
                self.apply(one.function, [Value(base.roots)], {}, base.roots, node.lineno)
        kept = () if found else tuple(one for one in base.carries if not isinstance(one, Class))
        return Value(base.reach, (*found, *kept), flags=base.flags & KEEPER, inner=base.inner)

    def _subscript(self, node: ast.Subscript) -> Value | None:
        base = self.evaluate(node.value)
        self.evaluate(node.slice)
        if base is None or base.flags & IMMUTABLE:
            return None
        if base.dotted:
            if base.dotted == "sys.modules":
                self.frame.effects |= tables.DYNAMIC
            return self.attribute(base, "[]")
        if base.carries:
            self.escape(Value(carries=tuple(one for one in base.carries if isinstance(one, Instance))), node.lineno)
        return part(base) if base.roots or base.inner or base.carries else None

    def _binary(self, node: ast.BinOp) -> Value | None:
        if type(node.left) is ast.BinOp:
            parts: list[ast.expr] = []
            one: ast.expr = node
            while isinstance(one, ast.BinOp):
                parts.append(one.right)
                one = one.left
            parts.append(one)
            values = [self.evaluate(part) for part in reversed(parts)]
        else:
            values = [self.evaluate(node.left), self.evaluate(node.right)]
        flags = IMMUTABLE
        carries: list[Carried] = []
        for value in values:
            if value is None:
                flags = 0
            else:
                flags &= value.flags
                if value.carries:
                    carries.extend(value.carries)
        if carries:
            self.escape(Value(carries=tuple(one for one in carries if isinstance(one, Instance))), node.lineno)
        left = values[0]
        if left is not None and left.made == "pathlib.Path":
            return left
        return NUMBER if flags else None

    def _unary(self, node: ast.UnaryOp) -> Value | None:
        value = self.evaluate(node.operand)
        if isinstance(node.op, ast.Not):
            return NUMBER
        return CONSTANT if value is not None and value.flags & LITERAL else None

    def _boolean(self, node: ast.BoolOp) -> Value | None:
        value = self.evaluate(node.values[0])
        self.path.maybe += 1
        for one in node.values[1:]:
            value = join(value, self.evaluate(one))
        self.path.maybe -= 1
        return value

    def _compare(self, node: ast.Compare) -> Value | None:
        left = self.evaluate(node.left)
        values = [left, *(self.evaluate(one) for one in node.comparators)]
        for value in values:
            if value is not None and value.carries:
                self.escape(value, node.lineno, only=Instance)
            if value is not None and value.flags & STATEFUL and isinstance(node.ops[0], ast.In | ast.NotIn):
                self.use(value, node.lineno)
        return None

    def _display(self, node: ast.List | ast.Tuple | ast.Set) -> Value | None:
        values = [self.evaluate(one) for one in node.elts]
        if isinstance(node, ast.Tuple) and all(value is not None and value.flags & IMMUTABLE for value in values):
            return CONSTANT if all(value is not None and value.flags & LITERAL for value in values) else NUMBER
        return self._kept(values)

    def _kept(self, values: list[Value | None]) -> Value | None:
        """A container; of literals only it is a literal itself, until it is changed."""
        kept = keep(values)
        if kept is not None and all(value is not None and value.flags & LITERAL for value in values):
            kept.flags |= LITERAL
        return kept

    def _dict(self, node: ast.Dict) -> Value | None:
        for key in node.keys:
            if key is not None:
                self.evaluate(key)
        return self._kept([self.evaluate(one) for one in node.values])

    def _formatted(self, node: ast.JoinedStr) -> Value | None:
        for one in node.values:
            self.evaluate(one)
        return NUMBER

    def _formatted_value(self, node: ast.FormattedValue) -> Value | None:
        value = self.evaluate(node.value)
        if value is not None and value.carries:
            self.escape(value, node.lineno, only=Instance)
        if node.format_spec is not None:
            self.evaluate(node.format_spec)
        return NUMBER

    def _conditional(self, node: ast.IfExp) -> Value | None:
        self.evaluate(node.test)
        self.path.maybe += 1
        value = join(self.evaluate(node.body), self.evaluate(node.orelse))
        self.path.maybe -= 1
        return value

    def _lambda(self, node: ast.Lambda) -> Value | None:
        kept = self.defaults(node.args)
        function = Function(node, self.cell, self.scope, self.scope.owner if self.scope is not None else None)
        return Value(carries=(function,), inner=kept.inner if kept is not None else frozenset())

    def defaults(self, arguments: ast.arguments) -> Value | None:
        """Defaults are evaluated where the function is made, and kept by it."""
        return keep([self.evaluate(one) for one in (*arguments.defaults, *arguments.kw_defaults) if one is not None])

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> Value | None:
        first = self.iterate(self.evaluate(node.generators[0].iter), node.lineno)
        outer, path = self.scope, self.path
        scope = Scope(set(), outer, kind="block", owner=outer.owner if outer is not None else None)
        if outer is not None and outer.kind == "class":
            scope.parent = outer.parent
        for name in walrus_names(node):
            if outer is not None and outer.kind == "class":
                break
            self.path.maybe += 1
            self.store(name, None, node.lineno)
            self.path.maybe -= 1
        self.scope = scope
        path.maybe += 1
        for at, generator in enumerate(node.generators):
            if at:
                first = self.iterate(self.evaluate(generator.iter), node.lineno)
            self._bind_local(scope, generator.target, first)
            for condition in generator.ifs:
                self.evaluate(condition)
        if isinstance(node, ast.DictComp):
            self.evaluate(node.key)
            value = self.evaluate(node.value)
        else:
            value = self.evaluate(node.elt)
        path.maybe -= 1
        self.scope = outer
        if isinstance(node, ast.GeneratorExp):
            return Value(carries=value.carries, flags=STATEFUL, inner=value.reach) if value is not None else ITERATOR
        return keep([value])

    def _bind_local(self, scope: Scope, target: ast.expr, value: Value | None) -> None:
        if isinstance(target, ast.Name):
            scope.local = {*scope.local, target.id}
            scope.values[target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            for one in target.elts:
                self._bind_local(scope, one, value)
        elif isinstance(target, ast.Starred):
            self._bind_local(scope, target.value, value)
        else:
            self.assign(target, value)

    def assign(self, target: ast.expr, value: Value | None) -> None:
        """Bind `target` to `value`."""
        raise NotImplementedError

    def _walrus(self, node: ast.NamedExpr) -> Value | None:
        value = self.evaluate(node.value)
        self.store(node.target.id, value, node.lineno)
        return value

    def _inner(self, node: ast.Starred | ast.Await) -> Value | None:
        return self.evaluate(node.value)

    def _slice(self, node: ast.Slice) -> Value | None:
        for bound in (node.lower, node.upper, node.step):
            if bound is not None:
                self.evaluate(bound)
        return None

    def _yield(self, node: ast.Yield | ast.YieldFrom) -> Value | None:
        if node.value is not None:
            value = self.evaluate(node.value)
            self.frame.returns = join(self.frame.returns, value)
        return None

    def iterate(self, value: Value | None, line: int) -> Value | None:
        """What a loop over `value` binds; looping over an iterator uses it up."""
        if value is None or value.flags & IMMUTABLE:
            return None
        if value.flags & STATEFUL:
            self.use(value, line)
        if value.carries:
            self.escape(value, line, only=Instance)
        if value.flags & IMPORTED or value.dotted:
            return None
        return Value(value.reach, value.carries, inner=value.inner) if value.reach or value.carries else None
