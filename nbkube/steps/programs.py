"""Pipeline and parameter values -> one `StepProgram` per unit.

A program's digest is the part of the cache key that stands for the code: two programs with one digest do the same on
the same inputs. Cell numbers, ids, step names and comments are left out of it; everything that can change a result
is in it.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from nbkube.dataflow.model import Replay, UnitFlow
from nbkube.dataflow.normal import normalise
from nbkube.dataflow.parameters import substitute
from nbkube.notebook.model import Cell
from nbkube.pipeline.model import Pipeline, Step
from nbkube.runtime.program import SCHEMA, CellProgram, ReplayProgram, StepProgram

_WORD = re.compile(r"\b[^\W\d]\w*")
PARAMETER_TAGS = frozenset({"parameters", "pipeline-parameters"})


def build_programs(
    pipeline: Pipeline,
    values: Mapping[str, Any],
    *,
    cwd: str = ".",
    filename: str = "",
    first: int = 0,
    instead: Sequence[Replay] = (),
) -> tuple[StepProgram, ...]:
    """Return the programs of all units in notebook order.

    Args:
        pipeline: a pipeline without error diagnostics.
        values: parameters that were given a value; each replaces the assignment in the parameters cell.
        cwd: the notebook's folder relative to the project root, POSIX.
        filename: the notebook's path relative to the project root, for tracebacks.
        first: the unit to begin with; those before it get no program.
        instead: what is replayed in place of the statements of the units before the first.
    """
    history = any(unit.effects.history for unit in pipeline.flow.units)
    inspects = any(unit.effects.inspects_source for unit in pipeline.flow.units)
    words = _Words(pipeline)
    replay: list[tuple[Replay, Step]] = []
    seeded = False
    texts: list[str] = []
    programs = []
    for index, (step, flow) in enumerate(zip(pipeline.steps, pipeline.flow.units, strict=True)):
        seeded = seeded or flow.effects.seeds
        again = [*instead, *(one for one, origin in replay if words.wants(index, one, origin))]
        # What earlier cells define may be looked at here, too: then even their comments count.
        texts += [normalise(cell, exact=True) for cell in step.unit.cells] if inspects else []
        seen = list(texts) if flow.effects.inspects_source else None
        if index >= first:
            programs.append(_program(step, flow, again, values, pipeline.metrics, cwd, filename, seeded, history, seen))
            replay.extend((one, step) for one in flow.replay)
    return tuple(programs)


class _Words:
    """Which names the cells mention, to tell who uses an import."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._by_step = [Counter(_WORD.findall(_source(step))) for step in pipeline.steps]
        self._total: Counter[str] = sum(self._by_step, Counter())

    def wants(self, index: int, one: Replay, origin: Step) -> bool:
        """Tell whether unit `index` runs an earlier statement again.

        Imports of set-up cells always: they may be done for their effect. A module that a step imports is imported
        again by the steps that mention it, by all if nobody does (then it is for its effect); where only a function
        of that step uses it, it travels with the function's other names.
        """
        if one.kind != "import" or origin.kind == "setup" or not one.binds:
            return True
        return any(self._by_step[index][name] for name in one.binds) or all(self._total[name] < 2 for name in one.binds)


def _source(step: Step) -> str:
    return "\n".join(cell.source for cell in step.unit.cells)


def _program(
    step: Step,
    flow: UnitFlow,
    replay: Sequence[Replay],
    values: Mapping[str, Any],
    metrics: tuple[str, ...],
    cwd: str,
    filename: str,
    seeded: bool,
    history: bool,
    texts: list[str] | None,
) -> StepProgram:
    cells = [_with_parameters(cell, values) for cell in step.unit.cells]
    wanted = metrics if step.kind == "metrics" else ()
    digest = _digest(
        {
            "schema": SCHEMA,
            "cells": [[_text(cell, flow), "raises-exception" in cell.tags] for cell in cells],
            "numbers": [cell.code_number for cell in cells] if history else None,
            "replay": [[one.kind, one.source, list(one.needs)] for one in replay],
            "env": dict(sorted(step.options.env.items())),
            "device": sorted(step.options.gpu),
            "texts": texts,
            "metrics": list(wanted),
            **({"when": step.options.when} if step.options.when else {}),
            "seeded": seeded,
            "cwd": cwd,
        }
    )
    return StepProgram(
        unit=step.name,
        digest=digest,
        cells=tuple(_cell(cell) for cell in cells),
        replay=tuple(ReplayProgram(one.source, one.kind, one.needs, one.cell, one.line) for one in replay),
        reads=tuple(sorted({*flow.reads, *flow.optional_reads})),
        metrics=wanted,
        env=dict(step.options.env),
        seeded=seeded,
        history=history,
        filename=filename,
        kind=step.kind,
        when=step.options.when,
    )


def _with_parameters(cell: Cell, values: Mapping[str, Any]) -> Cell:
    if values and PARAMETER_TAGS.intersection(cell.tags):
        return substitute(cell, values)
    return cell


def _text(cell: Cell, flow: UnitFlow) -> str:
    # Code that looks at its own source can tell a comment from none.
    return normalise(cell, exact=flow.effects.inspects_source)


def _cell(cell: Cell) -> CellProgram:
    return CellProgram(
        cell.number, cell.code_number, cell.id, cell.source, "raises-exception" in cell.tags, cell.first_line
    )


def _digest(parts: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
