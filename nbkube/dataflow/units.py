"""One unit after the other in notebook order: what each reads, binds, changes and leaves to be replayed."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from nbkube.dataflow import replay, tables
from nbkube.dataflow.commands import CONFIGURING, Commands, is_literal_environment
from nbkube.dataflow.escapes import PLACEHOLDER, Escape
from nbkube.dataflow.model import Replay, Unit
from nbkube.dataflow.normal import inspects_source
from nbkube.dataflow.parse import Parsed, parse_quietly
from nbkube.dataflow.paths import Path, join_reads, meet
from nbkube.dataflow.values import IMPORTED, CallEffect, Mark, Place, Read
from nbkube.notebook.model import Cell


@dataclass(eq=False, slots=True)
class UnitFacts:
    """What was found in one unit. `bound` holds the state of every name at its end, `imported` those that a replayed
    import binds; `gone` are uses of deleted names, `module_changes` changes of modules that no replay repeats."""

    bound: dict[str, int] = field(default_factory=dict)
    imported: set[str] = field(default_factory=set)
    reads: dict[str, Read] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    replay: list[Replay] = field(default_factory=list)
    effects: int = 0
    gone: list[tuple[str, Place]] = field(default_factory=list)
    module_changes: list[tuple[str, Place]] = field(default_factory=list)
    marks: tuple[Mark, ...] = ()


class Analysis(Commands):
    """Goes through units; knowledge of names carries over from one to the next."""

    def __init__(self) -> None:
        super().__init__()
        self.cells: list[Cell] = []
        self.unparsed: list[Parsed] = []
        self.facts = UnitFacts()
        self.conditional = False

    def unit(self, unit: Unit) -> UnitFacts:
        """Analyse the next unit."""
        self.facts = facts = UnitFacts()
        self.path = path = Path()
        self.frame = CallEffect()
        self.gone, self.module_changes = facts.gone, facts.module_changes
        self.conditional = bool(unit.when)
        if unit.when:
            self._only_when(unit)
        else:
            for cell in unit.cells:
                self._cell(cell)
        facts.bound, facts.reads = path.bound, path.reads
        facts.changed, facts.effects = self.frame.changed, self.frame.effects
        facts.changed = {name for name in facts.changed if name[0] != "\0"}
        facts.marks = tuple(self.frame.marks)
        if facts.imported:
            values = self.values
            facts.imported = {name for name in facts.imported if name in values and values[name].flags & IMPORTED}
        return facts

    def _only_when(self, unit: Unit) -> None:
        """Cells that run only under a condition: what they bind may be there or not, and older values may stay."""
        self.cell = len(self.cells)
        outer = self.path
        self.guarded += 1  # a name that nobody makes is told as a fault of the option
        self.evaluate(ast.parse(unit.when, mode="eval").body)
        self.guarded -= 1
        self.path = inside = Path(outer)
        for cell in unit.cells:
            self._cell(cell)
        self.path = outer
        join_reads(outer, [inside, Path(outer)])
        # Imports are made again in later steps whether the condition held or not.
        known = {name: state for name, state in inside.bound.items() if name in self.facts.imported}
        meet(outer, [inside.bound, known])

    def imported(self, name: str) -> None:
        """A replayed import has bound `name`."""
        self.facts.imported.add(name)

    def _cell(self, cell: Cell) -> None:
        parsed = parse_quietly(cell)
        self.cell = len(self.cells)
        self.cells.append(cell)
        if parsed.tree is None:
            self.unparsed.append(parsed)
            self.frame.effects |= tables.DYNAMIC | tables.FILES
            return
        if inspects_source(cell.source):
            self.frame.effects |= tables.INSPECTS
        self.escapes = parsed.escapes
        try:
            self._statements_of(parsed, parsed.tree)
        except RecursionError:
            self._coarse(parsed.tree)

    def _statements_of(self, parsed: Parsed, tree: ast.Module) -> None:
        outer = self.path
        self.open_heads(parsed.heads)
        if any(head.name == "timeit" for head in parsed.heads):
            self.in_own_scope(tree.body, 1)
        elif "raises-exception" in parsed.cell.tags:
            # The notebook goes on after an exception here: nothing in it is certain.
            self.path = inside = Path(outer)
            self.guarded += 1
            self.block(tree.body)
            self.guarded -= 1
            self.path = outer
            join_reads(outer, [inside])
            meet(outer, [inside.bound, {}])
        else:
            for statement in tree.body:
                self._top(statement, parsed)
                outer.end = ""

    def _top(self, statement: ast.stmt, parsed: Parsed) -> None:
        """A top-level statement: import, configuration, or any other."""
        kind = type(statement)
        if kind is ast.Import or kind is ast.ImportFrom:
            self._replay_import(statement, parsed)  # type: ignore[arg-type]
            return
        if kind is ast.Expr:
            call = statement.value  # type: ignore[attr-defined]
            if type(call) is ast.Call:
                if type(call.func) is ast.Name and call.func.id == PLACEHOLDER:
                    self._replay_magic(call)
                elif self._may_configure(call.func) and self._configures(statement, parsed):
                    return
        elif kind is ast.Assign or kind is ast.AugAssign:
            target = statement.targets[0] if kind is ast.Assign else statement.target  # type: ignore[attr-defined]
            if type(target) is not ast.Name and self._may_configure(target) and self._configures(statement, parsed):
                return
        elif kind is ast.FunctionDef and statement.decorator_list:  # type: ignore[attr-defined]
            self._replay_registration(statement, parsed)  # type: ignore[arg-type]
        method = self.statements.get(kind)
        if method is not None:
            method(statement)
        else:
            self.block((statement,))

    def _may_configure(self, node: ast.expr) -> bool:
        """Whether `node` is something of an imported thing, of the shell, or of a name that may be a logger."""
        kind = type(node)
        while kind is ast.Attribute or kind is ast.Subscript or kind is ast.Call:
            node = node.func if kind is ast.Call else node.value  # type: ignore[attr-defined]
            kind = type(node)
        if kind is not ast.Name:
            return False
        value = self.values.get(node.id)  # type: ignore[attr-defined]
        if value is None:
            return bool(node.id == "get_ipython")  # type: ignore[attr-defined]
        return value.flags & IMPORTED > 0 or value.made == "logging.getLogger"

    def _replay_import(self, statement: ast.Import | ast.ImportFrom, parsed: Parsed) -> None:
        future = isinstance(statement, ast.ImportFrom) and statement.module == "__future__"
        binds = tuple(
            alias.asname or (alias.name if isinstance(statement, ast.ImportFrom) else alias.name.partition(".")[0])
            for alias in statement.names
            if alias.name != "*"
        )
        self._add(
            Replay("future" if future else "import", *self._source(statement, parsed), binds=() if future else binds)
        )
        self.block((statement,))

    def _configures(self, statement: ast.stmt, parsed: Parsed) -> bool:
        """Note a configuration statement; whether `statement` is one that later units run again."""
        needs = None if self.conditional else replay.needs(statement, self.values)
        if needs is None:
            return False
        self._add(Replay("config", *self._source(statement, parsed), needs=needs))
        effects = self.frame.effects
        self.configuring = True
        self.block((statement,))
        self.configuring = False
        # What a replayed statement does to the process is done again where it matters.
        self.frame.effects = effects | (self.frame.effects & (tables.SEEDS | tables.INSPECTS | tables.DYNAMIC))
        return True

    def _replay_magic(self, call: ast.Call) -> None:
        argument = call.args[0]
        escape = self.escapes[argument.value] if isinstance(argument, ast.Constant) else None  # type: ignore[index]
        if escape is not None and escape.kind == "magic" and _is_configuring(escape) and not self.conditional:
            cell = self.cells[self.cell]
            line = escape.line + cell.first_line - 1
            self._add(Replay("magic", cell.number, line, f"%{escape.name} {escape.text}".strip()))

    def _replay_registration(self, definition: ast.FunctionDef, parsed: Parsed) -> None:
        """A function that its decorator makes a magic is one only in the process that defines it."""
        needs = replay.magic_needs(definition, self.values)
        if needs is not None and not self.conditional:
            first = definition.decorator_list[0].lineno
            # The cell's own text: the tree has placeholders for magics and shell lines in the body.
            lines = parsed.cell.source.split("\n")[first - 1 : definition.end_lineno]
            line = first + parsed.cell.first_line - 1
            self._add(Replay("config", parsed.cell.number, line, "\n".join(lines), needs, (definition.name,)))

    def _add(self, one: Replay) -> None:
        self.facts.replay.append(one)

    def _source(self, statement: ast.stmt, parsed: Parsed) -> tuple[int, int, str]:
        """Cell number, line and text of a statement."""
        cell = parsed.cell
        line = statement.lineno + cell.first_line - 1
        first, last = statement.lineno, statement.end_lineno or statement.lineno
        if not parsed.source.isascii() or "\f" in parsed.source or "\r" in parsed.source:
            return cell.number, line, ast.get_source_segment(parsed.source, statement) or ast.unparse(statement)
        lines = parsed.source.split("\n")[first - 1 : last]
        lines[-1] = lines[-1][: statement.end_col_offset]
        lines[0] = lines[0][statement.col_offset :]
        return cell.number, line, "\n".join(lines)

    def _coarse(self, tree: ast.Module) -> None:
        """Code nested too deeply to follow: it may read and bind every name in it and do anything."""
        for one in ast.walk(tree):
            if isinstance(one, ast.Name):
                self.path.maybe = 1
                if isinstance(one.ctx, ast.Load):
                    self.load_global(one.id, one.lineno, definite=False)
                else:
                    self.store_global(one.id, None)
        self.path.maybe = 0
        self.scope, self.looked, self.depth, self.configuring, self.loops = None, None, 0, False, []
        self.frame.effects |= tables.FILES | tables.DYNAMIC | tables.RANDOM


def _is_configuring(escape: Escape) -> bool:
    return not escape.assigned and (escape.name in CONFIGURING or is_literal_environment(escape))
