"""Calls: what is called, with what, and what of it belongs to the notebook."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from nbkube.dataflow.definitions import Definitions
from nbkube.dataflow.escapes import PLACEHOLDER
from nbkube.dataflow.values import (
    STATEFUL,
    Bound,
    Class,
    Function,
    Instance,
    Value,
)


class Calls(Definitions):
    """Calls of functions, classes, methods and library code."""

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
            return self.definitions(callee, values, named, line)
        if callee is not None and callee.dotted:
            return self.library(callee, node, values, named)
        if method:
            return self.foreign_method(receiver, method, node, values, named)
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
