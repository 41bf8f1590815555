"""Tags for a notebook that has none yet, from its headings, what its cells do, and what flows between them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

import msgspec

from nbkube.dataflow import Unit, UnitFlow, analyze, assigned_literals, parse_cell
from nbkube.notebook.headings import Heading
from nbkube.notebook.model import Cell, Notebook
from nbkube.notebook.names import BadNameError, slug, step_name
from nbkube.notebook.tags import is_structural
from nbkube.pipeline.metrics import metric_names

_MOST_WORDS = 3
_FILLERS = frozenset(
    """a an and are as at by for from how in into is it its let lets of on or our the them then this to up us we
    with you your""".split()  # noqa: SIM905 - a list of words is read best as words
)
_TASKS = (
    ("load", re.compile(r"\b(read_\w+|load_\w+|fetch_\w+|open|connect|download\w*)\(")),
    ("train", re.compile(r"\.(fit|fit_transform|fit_predict|train|compile)\(|\btrain_\w+\(")),
    ("evaluate", re.compile(r"\.(predict|predict_proba|score|evaluate)\(|\w+_(score|error|report|matrix)\(")),
    ("plot", re.compile(r"\b(plt|sns|px|fig|figure|axes|ax)\.\w+|\.(plot|hist|scatter)\b")),
    ("write", re.compile(r"\.(to_csv|to_parquet|to_json|to_excel|savefig|dump|save|write_text|write)\(")),
)
_HEAVY = ("train",)
_UNNAMED = "prepare"


class Suggestion(msgspec.Struct, frozen=True):
    """Tags proposed for a cell, and why."""

    number: int
    id: str
    tags: tuple[str, ...]
    reason: str


def suggest_tags(notebook: Notebook, headings: Sequence[Heading]) -> tuple[Suggestion, ...]:
    """Return tags that turn a notebook into steps. Cells that are tagged already keep their tags and are left out.

    Pure: the notebook is read, nothing of it runs. A part of the notebook below one heading becomes a step named after
    it; parts that train independently of each other become steps of their own; without headings the task that cells
    do (load, train, …) names them.
    """
    return _Suggestions(notebook, headings).all()


class _Suggestions:
    """One notebook on its way to suggestions."""

    def __init__(self, notebook: Notebook, headings: Sequence[Heading]) -> None:
        self._cells = [cell for cell in notebook.cells if _code(cell)]
        self._flows = analyze([Unit(f"c{cell.number}", (cell,)) for cell in self._cells], file=notebook.path).units
        self._headings = _of_parts(headings)
        self._taken = {tag.partition(":")[2] for cell in notebook.cells for tag in cell.tags if ":" in tag}
        self._found: list[Suggestion] = []

    def all(self) -> tuple[Suggestion, ...]:
        rest = self._set_up()
        last = self._ending(rest)
        for heading, cells in self._parts([cell for cell in rest if cell not in last]):
            self._part(heading, cells)
        return tuple(sorted(self._found, key=lambda one: one.number))

    def _propose(self, cell: Cell, tag: str, reason: str) -> None:
        if not _is_tagged(cell):
            self._found.append(Suggestion(cell.number, cell.id, (tag, *cell.tags), reason))

    def _set_up(self) -> list[Cell]:
        """Propose tags for the leading cells that only prepare; return the cells after them."""
        parameters = False
        for index, cell in enumerate(self._cells):
            kinds = _kinds(cell)
            if kinds and kinds <= {"import", "docstring"}:
                self._propose(cell, "imports", "holds only imports")
            elif kinds and kinds <= {"definition", "import", "docstring"}:
                self._propose(cell, "functions", "holds only definitions")
            elif kinds == {"literal"} and not parameters and assigned_literals(cell):
                parameters = True
                self._propose(cell, "parameters", "assigns plain values that the rest uses")
            elif not self._is_set_up(cell, kinds):
                return self._cells[index:]
        return []

    def _is_set_up(self, cell: Cell, kinds: set[str]) -> bool:
        """Tell whether a cell stays untagged set-up: it comes before the first part, or only configures."""
        if self._headings:
            return cell.number < self._headings[0].cell
        return bool(kinds) and kinds <= {"import", "docstring", "definition", "literal", "configuration"}

    def _ending(self, cells: Sequence[Cell]) -> list[Cell]:
        """Propose tags for cells that only show numbers at the end, or only check."""
        placed: list[Cell] = []
        for cell in cells:
            if _kinds(cell) == {"check"}:
                self._propose(cell, "checks", "holds only assertions")
                placed.append(cell)
        remaining = [cell for cell in cells if cell not in placed]
        if len(remaining) > 1 and metric_names([remaining[-1]]) and _only_shows(remaining[-1]):
            self._propose(remaining[-1], "pipeline-metrics", "shows values at the end")
            placed.append(remaining[-1])
        return placed

    def _parts(self, cells: Sequence[Cell]) -> Iterable[tuple[Heading | None, list[Cell]]]:
        """Yield the cells below each heading."""
        parts: list[tuple[Heading | None, list[Cell]]] = []
        for cell in cells:
            above = [one for one in self._headings if one.cell < cell.number]
            heading = above[-1] if above else None
            if not parts or parts[-1][0] != heading:
                parts.append((heading, []))
            parts[-1][1].append(cell)
        return parts

    def _part(self, heading: Heading | None, cells: list[Cell]) -> None:
        branches = self._branches(cells)
        if branches:
            for branch, name in branches:
                self._step(branch, name, "does not need the training beside it")
        elif heading is not None and _name_of(heading.text):
            self._step(cells[0], _name_of(heading.text), f"the heading “{heading.text[:60]}”")
        else:
            self._tasks(cells)

    def _branches(self, cells: Sequence[Cell]) -> list[tuple[Cell, str]]:
        """Return the cells of a part that train independently of each other, with the names of what they make."""
        if len(cells) < 2 or not all(_task(cell) in _HEAVY for cell in cells):
            return []
        flows = [self._flow(cell) for cell in cells]
        if any(set(later.reads) & earlier.publishes for earlier, later in pairwise(flows)):
            return []
        named = [(cell, slug(flow.writes[0])) for cell, flow in zip(cells, flows, strict=True) if flow.writes]
        distinct = {name for _, name in named if name}
        return named if len(distinct) == len(cells) else []

    def _tasks(self, cells: Sequence[Cell]) -> None:
        """Without a heading: a step begins where the task of the cells changes."""
        current = ""
        for cell in cells:
            task = _task(cell) or ("" if current else _UNNAMED)
            if task and task != current:
                self._step(cell, task, f"begins to {task}")
                current = task

    def _step(self, cell: Cell, name: str, reason: str) -> None:
        if _is_tagged(cell):
            return
        fresh, number = name, 1
        while fresh in self._taken:
            number += 1
            fresh = f"{name}-{number}"
        self._taken.add(fresh)
        self._propose(cell, f"step:{fresh}", reason)

    def _flow(self, cell: Cell) -> UnitFlow:
        return self._flows[self._cells.index(cell)]


def _of_parts(headings: Sequence[Heading]) -> list[Heading]:
    """Return the headings that divide the notebook: those of the highest level that occurs more than once."""
    for level in range(1, 7):
        if sum(one.level == level for one in headings) > 1:
            return [one for one in headings if one.level == level]
    return [one for one in headings if one.level > 1]


def _name_of(heading: str) -> str:
    """Return a step's name after a heading: its first words that say something, or ""."""
    words = [word for word in slug(re.sub(r"^[\d.\s]+", "", heading)).split("-") if word]
    telling = [word for word in words if word not in _FILLERS] or words
    name = "-".join(telling[:_MOST_WORDS])
    try:
        return step_name(name) if name else ""
    except BadNameError:
        return slug(f"{name}-step")


def _is_tagged(cell: Cell) -> bool:
    return cell.magic is not None or any(is_structural(tag) for tag in cell.tags)


def _code(cell: Cell) -> bool:
    return any(line.strip() and not line.lstrip().startswith("#") for line in cell.source.splitlines())


def _task(cell: Cell) -> str:
    return next((task for task, pattern in _TASKS if pattern.search(cell.source)), "")


def _kinds(cell: Cell) -> set[str]:
    """Return what sorts of statements a cell has; empty for one that is no Python."""
    tree = parse_cell(cell).tree
    return {_kind(statement) for statement in tree.body} if tree else set()


def _kind(statement: ast.stmt) -> str:
    match statement:
        case ast.Import() | ast.ImportFrom():
            return "import"
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return "definition"
        case ast.Assert():
            return "check"
        case ast.Expr(value=ast.Constant()):
            return "docstring"
        case (
            ast.Assign(targets=[ast.Name()], value=value) | ast.AnnAssign(target=ast.Name(), value=ast.expr() as value)
        ):
            return "literal" if _is_literal(value) else "other"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()], value=value) if _is_literal(value):
            return "configuration"
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name() | ast.Attribute()), args=arguments)):
            return "configuration" if all(_is_literal(one) for one in arguments) else "other"
        case _:
            return "other"


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True


def _only_shows(cell: Cell) -> bool:
    """Tell whether a cell shows values, and at most names them before."""
    tree = parse_cell(cell).tree
    kinds = {type(one) for one in tree.body} if tree else set()
    return ast.Expr in kinds and kinds <= {ast.Expr, ast.Assign}
