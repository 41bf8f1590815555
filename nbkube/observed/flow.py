"""A pipeline as earlier runs have seen it: edges, names that analysis could not know, and what its steps need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from nbkube.dataflow.model import Dependency
from nbkube.errors import Diagnostic, Place
from nbkube.observed.record import UnitRecord
from nbkube.pipeline.model import Observed, Pipeline, Step
from nbkube.pipeline.quantities import quantity
from nbkube.runs.usage import proposed_cpu, proposed_memory

_MIB = 1 << 20


def with_record(pipeline: Pipeline, records: Mapping[int, UnitRecord]) -> Pipeline:
    """Return a pipeline with what is known of its units laid over what analysis says.

    Args:
        pipeline: as analysis sees it.
        records: what is known, by the place of the unit.
    """
    if not records:
        return pipeline
    edges, files = _edges(pipeline, records)
    steps = tuple(_step(pipeline, at, edges[at], files[at], records.get(at)) for at in range(len(pipeline.steps)))
    flow = replace(
        pipeline.flow,
        edges=tuple(Dependency(maker, at, name) for at, found in enumerate(edges) for name, maker in found.items()),
    )
    resolved = [one for one in pipeline.diagnostics if not _is_resolved(one, pipeline, records)]
    return replace(pipeline, steps=steps, flow=flow, diagnostics=(*resolved, *_too_small(pipeline, steps)))


def _edges(pipeline: Pipeline, records: Mapping[int, UnitRecord]) -> tuple[list[dict[str, int]], list[dict[str, int]]]:
    """Return, by unit, name -> the unit that made what it reads, and the same for files."""
    makers: dict[str, int] = {}
    writers: dict[str, int] = {}
    edges: list[dict[str, int]] = []
    files: list[dict[str, int]] = []
    for at, unit in enumerate(pipeline.flow.units):
        record = records.get(at)
        if record is not None and record.reads is not None:
            # As analysis has them, in the order of the code; then what only the run has shown.
            known = [name for name in (*unit.reads, *unit.optional_reads) if name in record.reads]
            edges.append({name: makers[name] for name in (*known, *sorted(record.reads)) if name in makers})
        else:
            static = {edge.name: edge.producer for edge in pipeline.flow.edges if edge.consumer == at}
            # A name that only an observed unit is known to bind.
            seen = {name: makers[name] for name in (*unit.reads, *unit.optional_reads) if name in makers}
            edges.append({**seen, **static})
        read = record.files_read if record is not None else frozenset()
        files.append({path: writers[path] for path in sorted(read) if path in writers})
        _note(at, unit.publishes, frozenset(unit.deletes), record, makers, writers)
    return edges, files


def _note(
    at: int,
    publishes: frozenset[str],
    deletes: frozenset[str],
    record: UnitRecord | None,
    makers: dict[str, int],
    writers: dict[str, int],
) -> None:
    if record is not None:
        publishes = publishes if record.writes is None else record.writes
        deletes = deletes if record.deletes is None else record.deletes
        writers.update(dict.fromkeys(record.files_changed, at))
    makers.update(dict.fromkeys(publishes, at))
    for name in deletes - publishes:
        makers.pop(name, None)


def _step(
    pipeline: Pipeline, at: int, edges: Mapping[str, int], files: Mapping[str, int], record: UnitRecord | None
) -> Step:
    step, names = pipeline.steps[at], [one.name for one in pipeline.steps]
    earlier = {*step.after, *(names[maker] for maker in (*edges.values(), *files.values()))}
    known: dict[str, Any] = {
        "inputs": {name: names[maker] for name, maker in edges.items()},
        "after": tuple(name for name in names[:at] if name in earlier),
    }
    if record is not None:
        known["observed"] = _observed(step, record, {path: names[maker] for path, maker in files.items()})
        if record.writes is not None:
            known["outputs"] = tuple(sorted(record.writes))
    return replace(step, **known)


def _observed(step: Step, record: UnitRecord, files: dict[str, str]) -> Observed:
    return Observed(
        run=record.run,
        files=files,
        seconds=record.seconds,
        cpu_seconds=record.cpu_seconds,
        peak_memory=record.peak_memory,
        cpu="" if step.options.cpu else proposed_cpu(record.seconds, record.cpu_seconds),
        memory="" if step.options.memory else proposed_memory(record.peak_memory),
    )


def _is_resolved(one: Diagnostic, pipeline: Pipeline, records: Mapping[int, UnitRecord]) -> bool:
    """Tell whether a warning is about a name that was found when the same code ran."""
    if one.code != "undefined-name" or one.severity == "error":
        return False
    for at, record in records.items():
        names = {use.name for use in pipeline.flow.units[at].uses if use.place == one.place}
        if names and record.reads is not None and record.writes is not None:
            return names <= record.reads | record.writes
    return False


def _too_small(pipeline: Pipeline, steps: Sequence[Step]) -> list[Diagnostic]:
    """Return a warning for every step that asks for less memory than it took."""
    found = []
    for step in steps:
        seen = step.observed
        if seen is None or not step.options.memory or quantity(step.options.memory) >= seen.peak_memory:
            continue
        place = Place(pipeline.notebook.path, step.unit.cells[0].number, step.unit.cells[0].id)
        took = f"{seen.peak_memory / _MIB:.0f}Mi"
        message = f"step {step.name} asks for memory {step.options.memory} and took {took} in run {seen.run}"
        hint = f"write memory={proposed_memory(seen.peak_memory)}"
        found.append(Diagnostic("warning", "too-little-memory", place, message, hint))
    return found
