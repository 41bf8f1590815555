"""Why the state of an opened step may not be what it was in the run."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from nbkube.dataflow.parse import parse_cell
from nbkube.interactive.model import StepInputs
from nbkube.notebook.model import Cell
from nbkube.runtime.program import CellProgram, StepManifest
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView

_CLOCKS = frozenset({
    "time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "monotonic_ns", "process_time", "now", "utcnow",
    "today", "localtime", "gmtime", "ctime",
})  # fmt: skip
_CLOCK_OWNERS = frozenset({"time", "datetime", "date", "Timestamp", "dt", "pd", "pandas"})
_DRAWS = frozenset({
    "uuid1", "uuid4", "urandom", "token_bytes", "token_hex", "token_urlsafe", "SystemRandom", "getrandbits",
})  # fmt: skip
_SEEDABLE = frozenset({"default_rng", "RandomState", "Generator"})


def doubts(inputs: StepInputs, replayed: Iterable[CellProgram], view: FileView) -> tuple[str, ...]:
    """Return why the state may differ, a sentence each; nothing where all that was observed holds.

    Files that the step read are compared with what is there now. Where cells are run again, what was observed of the
    network, of random numbers and of files elsewhere counts, too; clocks are told by the cells' text.
    """
    cells = list(replayed)
    record = inputs.record
    found: list[str] = []
    if record is not None:
        changed = matches(record.files, view)
        found += [f"{changed} since the run"] if changed else []
    if not cells:
        return tuple(found)
    if record is not None:
        found += _observed(record, inputs)
    return (*found, *_written(cells))


def awaits(cell: CellProgram) -> bool:
    """Tell whether a cell awaits something outside of its functions, which only the kernel's own loop can run."""
    tree = parse_cell(_as_cell(cell)).tree
    return tree is not None and any(
        isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) or _is_async_comprehension(node)
        for node in _outside_functions(tree)
    )


def _observed(record: StepManifest, inputs: StepInputs) -> Iterator[str]:
    if record.contacted:
        yield f"the step asked {_listed(record.contacted)}, which may answer otherwise now"
    known = any(name in inputs.bindings for name in record.draws)
    if record.draws and not (record.seeded or known or inputs.program.seeded):
        sources = [name.removeprefix("process:") for name in record.draws]
        yield f"random numbers were drawn without a seed ({_listed(sources)})"
    if record.wrote_outside:
        yield f"files outside the project were written: {_listed(record.wrote_outside)}"


def _written(cells: Iterable[CellProgram]) -> Iterator[str]:
    """Yield what the text of cells says about clocks and draws that no seed governs."""
    clocks: list[int] = []
    draws: list[int] = []
    for cell in cells:
        tree = parse_cell(_as_cell(cell)).tree
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)] if tree is not None else []
        if any(_is_clock(call) for call in calls):
            clocks.append(cell.number)
        if any(_is_draw(call) for call in calls):
            draws.append(cell.number)
    if clocks:
        yield f"{_cells(clocks)} the clock"
    if draws:
        yield f"{_cells(draws)} random numbers from the system"


def _is_clock(call: ast.Call) -> bool:
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in _CLOCKS:
        owner = function.value
        name = owner.attr if isinstance(owner, ast.Attribute) else owner.id if isinstance(owner, ast.Name) else ""
        return name in _CLOCK_OWNERS
    # `from time import time`: a bare name that says what it is.
    return isinstance(function, ast.Name) and function.id in _CLOCKS - {"now", "today"} and not call.args


def _is_draw(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in _DRAWS or (name in _SEEDABLE and not call.args and not call.keywords)


def _is_async_comprehension(node: ast.AST) -> bool:
    return isinstance(node, ast.comprehension) and bool(node.is_async)


def _outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += [
            one
            for one in ast.iter_child_nodes(node)
            if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        ]


def _as_cell(cell: CellProgram) -> Cell:
    return Cell(cell.number, cell.code_number, cell.id, cell.source, first_line=cell.first_line)


def _cells(numbers: list[int]) -> str:
    many = len(numbers) > 1
    return f"cell{'s' if many else ''} {', '.join(map(str, numbers))} {'read' if many else 'reads'}"


def _listed(names: Iterable[str]) -> str:
    known = list(names)
    return ", ".join(known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
