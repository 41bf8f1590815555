"""What calls of library code do and return, by the tables."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterable
from typing import Literal

from nbkube.dataflow import tables
from nbkube.dataflow.names import Names
from nbkube.dataflow.values import (
    IMMUTABLE,
    IMPORTED,
    KEEPER,
    NUMBER,
    SEEDED,
    STATEFUL,
    Carried,
    Mark,
    Place,
    Value,
    keep,
)

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
    unittest.main doctest.testmod pytest.main
    builtins.exec builtins.eval builtins.globals builtins.locals builtins.vars builtins.dir builtins.compile
    builtins.__import__
""")
_ABSOLUTE = re.compile(r"(?:/(?!dev/null$)|~|[A-Za-z]:[\\/])[^:]*$")
_RANDOM_STATE = frozenset({"random_state", "seed", "rng", "generator", "random_seed"})


class Library(Names):
    """Calls of imported things, and methods of objects that are not the notebook's."""

    def escape(self, value: Value, line: int, only: type[Carried] | None = None) -> None:
        """Definitions given to code that is not known: they may be called."""
        raise NotImplementedError

    def library(
        self, callee: Value, node: ast.Call, values: list[Value | None], named: dict[str | None, Value | None]
    ) -> Value | None:
        """Call the imported thing `callee`."""
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
            if kept is None:
                return None
            same = frozenset() if dotted in tables.CONTAINERS or flags & STATEFUL else kept.inner
            return Value(same, kept.carries, flags=flags | KEEPER, made=dotted, inner=kept.inner)
        carries = tuple(one for value in everything if value is not None for one in value.carries)
        if tables.keeps_arguments(dotted):
            roots: set[str] = set()
            for value in everything:
                if value is not None and value.flags & KEEPER:
                    roots |= value.reach
            return Value(carries=carries, flags=flags | KEEPER, made=dotted, inner=frozenset(roots))
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

    def foreign_method(
        self,
        receiver: Value | None,
        name: str,
        node: ast.Call,
        values: list[Value | None],
        named: dict[str | None, Value | None],
    ) -> Value | None:
        """Call a method that no class of the notebook defines."""
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
        elif receiver.reach and self._changes_receiver(name, node):
            self.change(receiver.roots if name in tables.SHALLOW else receiver.reach, line)
            if receiver.flags & KEEPER and name not in _READING_ONLY:
                for value in (*values, *named.values()):
                    if value is not None and not value.flags & (IMMUTABLE | IMPORTED):
                        self.link(receiver.roots, value.reach)
                        if value.carries:
                            self.carry(receiver.roots, value.carries)
        if name == "shuffle" and receiver.flags & STATEFUL and values and values[0] is not None:
            self.change(values[0].roots, line)
        out = named.get("out")
        if out is not None:
            self.change(out.roots, line)
        if receiver.carries:
            self.escape(receiver, line)
        if name in tables.SHARING:
            return Value(receiver.reach, receiver.carries, flags=receiver.flags & KEEPER, inner=receiver.inner)
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


def _is_seeded(node: ast.Call) -> bool:
    """Whether a random state is given."""
    for one in node.keywords:
        if one.arg in _RANDOM_STATE and not (isinstance(one.value, ast.Constant) and one.value.value is None):
            return True
    return False
