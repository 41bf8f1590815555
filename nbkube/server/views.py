"""What `Client` returns, as the types that go over the wire."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.errors import Diagnostic
from nbkube.runs import row_of
from nbkube.server import model

if TYPE_CHECKING:
    from nbkube.cluster.capacity import Capacity, NodeCapacity
    from nbkube.pipeline.model import Pipeline, Step
    from nbkube.profiles import Profile
    from nbkube.runs import Live, RunNotes, RunRow, RunState, RunUnit, StepRun
    from nbkube.runtime.program import Failure
    from nbkube.storage.preview import RecordHead

_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_TABLES = (".csv", ".tsv")
_TEXTS = (".txt", ".md", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".log", ".py", ".xml", ".html", ".svg", ".tex")
_MOST_CHARACTERS = 100_000


def doing(event: Mapping[str, Any]) -> str:
    """Return what an event tells of the time before a run begins; "" if it is about something else."""
    match event.get("event"):
        case "image":
            return f"image: {event.get('message', '')}"[:500]
        case "uploading":
            return f"project files in the store: {event.get('done')} of {event.get('total')}"
    return ""


def problems(found: Iterable[Diagnostic]) -> tuple[model.Problem, ...]:
    """Return findings, errors first."""
    ordered = sorted(found, key=lambda one: ("error", "warning", "info").index(one.severity))
    return tuple(
        model.Problem(
            severity=one.severity,
            code=one.code,
            message=one.message,
            hint=one.hint,
            cell=one.place.cell,
            cell_id=one.place.cell_id,
            line=one.place.line,
        )
        for one in ordered
    )


# -- pipelines -----------------------------------------------------------------------------------------------------


def pipeline_view(pipeline: Pipeline) -> model.PipelineView:
    """Return a pipeline with one row per step, also where it is continued later."""
    parts: dict[str, list[Step]] = {}
    for step in pipeline.steps:
        parts.setdefault(step.step, []).append(step)
    step_of = {step.name: step.step for step in pipeline.steps}
    return model.PipelineView(
        name=pipeline.name,
        digest=pipeline.notebook.digest,
        ready=not any(one.severity == "error" for one in pipeline.diagnostics),
        steps=tuple(_step(name, rows, step_of) for name, rows in parts.items()),
        edges=_edges(
            [step.step for step in pipeline.steps],
            [tuple(step_of[one] for one in step.after) for step in pipeline.steps],
            [
                (step_of[maker], step.step, name)
                for step in pipeline.steps
                for name, maker in step.inputs.items()
                if step_of[maker] != step.step
            ],
        ),
        parameters=tuple(
            model.PipelineParameter(name=one.name, type=one.type, default=plain(one.default), help=one.help)
            for one in pipeline.parameters
        ),
        metrics=pipeline.metrics,
        problems=problems(pipeline.diagnostics),
    )


def broken_view(path: str, found: Iterable[Diagnostic]) -> model.PipelineView:
    """Return the view of a notebook that cannot be read: nothing but its problems."""
    return model.PipelineView(
        name=Path(path).stem,
        digest="",
        ready=False,
        steps=(),
        edges=(),
        parameters=(),
        metrics=(),
        problems=problems(found),
    )


def _step(name: str, parts: list[Step], step_of: Mapping[str, str]) -> model.PipelineStep:
    inputs = {
        (variable, step_of[maker]): None
        for part in parts
        for variable, maker in part.inputs.items()
        if step_of[maker] != name
    }
    return model.PipelineStep(
        name=name,
        kind=parts[0].kind,
        cells=tuple(cell.number for part in parts for cell in part.unit.cells),
        after=tuple(dict.fromkeys(step_of[one] for part in parts for one in part.after if step_of[one] != name)),
        inputs=tuple(model.StepInput(name=variable, source=maker) for variable, maker in inputs),
        outputs=tuple(sorted({output for part in parts for output in part.outputs})),
        options=options(parts[0]),
    )


def options(step: Step) -> dict[str, Any]:
    """Return the options of a step that are set."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(step.options))
    return found


def _edges(
    names: list[str], after: list[tuple[str, ...]], carried: Iterable[tuple[str, str, str]]
) -> tuple[model.PipelineEdge, ...]:
    """Return the data edges, and those order edges that no other way implies."""
    links: dict[tuple[str, str], list[str]] = {}
    for producer, consumer, name in carried:
        known = links.setdefault((producer, consumer), [])
        if name not in known:
            known.append(name)
    position = {name: index for index, name in reversed(list(enumerate(names)))}
    reach: dict[str, set[str]] = {}
    for name, before in zip(names, after, strict=True):
        reached = reach.setdefault(name, set())
        data = {producer for producer, consumer in links if consumer == name}
        for earlier in sorted(data, key=position.__getitem__, reverse=True):
            reached |= {earlier} | reach.get(earlier, set())
        for earlier in sorted(set(before) - {name}, key=position.__getitem__, reverse=True):
            if earlier not in reached:
                links.setdefault((earlier, name), [])
            reached |= {earlier} | reach.get(earlier, set())
    return tuple(
        model.PipelineEdge(producer=producer, consumer=consumer, names=tuple(found))
        for (producer, consumer), found in sorted(links.items(), key=lambda one: [position[name] for name in one[0]])
        if position[producer] < position[consumer]
    )


# -- places --------------------------------------------------------------------------------------------------------


def place(profile: Profile) -> model.Place:
    """Return a profile as a place to run at."""
    detail = "this machine; each step in a process of its own"
    if profile.engine != "local":
        where = f"context {profile.context}" if profile.context else "the current context"
        detail = f"Kubernetes, {where}, namespace {profile.namespace or 'of the context'}"
    return model.Place(name=profile.name, engine=profile.engine, detail=detail)


def capacity(found: Capacity, name: str) -> model.Capacity:
    """Return what is free, with the most that one node has."""
    names = sorted({resource for node in found.nodes for resource in node.allocatable})
    visible = any(node.free is not None for node in found.nodes)
    return model.Capacity(
        place=name,
        source=found.source,
        total={resource: found.largest(resource) for resource in names},
        free={resource: round(found.largest(resource, free=True), 2) for resource in names} if visible else {},
        nodes=tuple(_node(node) for node in found.nodes),
        quotas=tuple(
            model.QuotaRoom(name=quota.name, resource=resource, used=quota.used.get(resource, 0.0), hard=hard)
            for quota in found.quotas
            for resource, hard in sorted(quota.hard.items())
        ),
        storage_classes=tuple(one.name for one in found.storage_classes or ()),
        hidden=found.hidden,
    )


def _node(node: NodeCapacity) -> model.NodeRoom:
    notes = ["not ready"] if not node.ready else ["closed for new pods"] if not node.open else []
    notes += [f"taint {taint}" for taint in node.taints]
    return model.NodeRoom(name=node.name, total=node.allocatable, free=node.free, note=", ".join(notes))


# -- runs ----------------------------------------------------------------------------------------------------------


def summary(row: RunRow, path: str) -> model.RunSummary:
    """Return a row of a list of runs; `path` is its notebook as Jupyter names it, "" if it lies outside."""
    return model.RunSummary(
        id=row.id,
        notebook=row.notebook,
        path=path,
        name=row.name,
        phase=row.phase.value,
        reason=row.reason,
        created=row.created,
        started=row.started,
        seconds=row.seconds,
        done=row.done,
        total=row.total,
        current=row.current,
        experiment=row.experiment,
        place=row.place,
        labels=row.labels,
        note=row.note,
        parameters=plain(row.parameters),
        metrics=plain(row.metrics),
    )


def detail(state: RunState, notes: RunNotes, path: str, waiting: Mapping[str, str]) -> model.RunDetail:
    """Return a run with its steps and what can be done with it; `waiting`: what steps wait for, in a sentence."""
    units = state.run.units
    names = [unit.name for unit in units]
    return model.RunDetail(
        summary=summary(row_of(state, notes), path),
        steps=tuple(
            _step_run(step, unit, waiting.get(step.name, "")) for step, unit in zip(state.steps, units, strict=True)
        ),
        edges=_edges(
            names,
            [unit.after for unit in units],
            [(names[edge.producer], names[edge.consumer], edge.name) for edge in state.run.edges],
        ),
        actions=_actions(state),
    )


def _actions(state: RunState) -> tuple[str, ...]:
    match state.phase.value:
        case "Pending" | "Running":
            return ("stop", "pause")
        case "Paused":
            return ("stop", "resume")
        case "Failed" | "Cancelled" | "Unknown":
            return ("resume", "delete")
        case _:
            return ("delete",)


def _step_run(step: StepRun, unit: RunUnit, waits: str) -> model.StepRunView:
    return model.StepRunView(
        name=step.name,
        step=step.step or step.name,
        kind=step.kind,
        phase=step.phase.value,
        reason=step.reason or waits,
        started=step.started,
        seconds=step.seconds,
        cpu_seconds=step.cpu_seconds,
        peak_memory=step.peak_memory,
        cached=step.cached,
        attempts=step.attempts,
        cell=step.cell,
        cells=unit.cells,
        cells_done=step.cells_done,
        after=unit.after,
        failure=_failure(step.failure) if step.failure else None,
    )


def _failure(failure: Failure) -> model.FailureView:
    place = f"cell {failure.cell}" if failure.cell else ""
    place += f", line {failure.line}" if place and failure.line else ""
    what = f"{failure.type}: {failure.message}" if failure.type else failure.message
    return model.FailureView(
        sentence=f"{what.rstrip('.')} ({place})." if place else what,
        kind=failure.kind,
        type=failure.type,
        cell=failure.cell,
        cell_id=failure.cell_id,
        line=failure.line,
        traceback=failure.traceback,
    )


def log_piece(piece: Live) -> model.LogPiece | None:
    """Return what a step has shown as text; None for what has no text, such as cleared outputs."""
    text, stream = piece.text, piece.stream
    if not text and piece.output:
        data = piece.output.get("data")
        found = data.get("text/plain", "") if isinstance(data, dict) else piece.output.get("text", "")
        text = "".join(map(str, found)) if isinstance(found, list) else str(found)
        text, stream = (f"{text}\n" if text else ""), "output"
    if not text:
        return None
    return model.LogPiece(time=piece.time, stream=stream or "stdout", text=text, cell=piece.cell)


def file_kind(path: str) -> tuple[str, str]:
    """Return how a file can be shown, and the media type of an image."""
    suffix = Path(path).suffix.lower()
    if suffix in _IMAGES:
        return "image", _IMAGES[suffix]
    return ("table" if suffix in _TABLES else "text" if suffix in _TEXTS else "other"), ""


def record_rows(records: Sequence[RecordHead]) -> tuple[tuple[str, ...], ...]:
    """Return the records of a TFRecord file as a table: a column for each feature, in the order of their names."""
    names = sorted({feature.name for record in records for feature in record.features})
    if not names:
        return ()
    texts = [{feature.name: feature.text for feature in record.features} for record in records]
    return (tuple(names), *(tuple(text.get(name, "") for name in names) for text in texts))


def plain(value: Any) -> Any:
    """Return a value that browsers can read: numbers that JSON does not have, and anything else odd, as text."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, str) else repr(value)[:_MOST_CHARACTERS]
