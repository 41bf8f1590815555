"""Pipelines as JSON: the whole (`to_json`, `from_json`) and what people and programs look at (`describe`)."""

from __future__ import annotations

from typing import Any

import msgspec

from nbkube import decoding
from nbkube.pipeline.model import Observed, Pipeline, Step, StepOptions
from nbkube.pipeline.parameters import fit

_RESOURCES = ("cpu", "memory", "gpu", "gpu-type")


def to_json(pipeline: Pipeline) -> bytes:
    """Return a pipeline as JSON."""
    return msgspec.json.encode(pipeline, enc_hook=repr)


def from_json(data: bytes | str) -> Pipeline:
    """Return the pipeline that `to_json` wrote.

    Raises:
        msgspec.ValidationError: the JSON is no pipeline.
    """
    pipeline = decoding.from_json(data, Pipeline)
    parameters = tuple(
        msgspec.structs.replace(one, default=tuple(one.default)) if one.type == "tuple" and one.default else one
        for one in pipeline.parameters
    )
    known = {one.name: one for one in parameters}
    values = {name: fit(known[name], value) if name in known else value for name, value in pipeline.values.items()}
    return msgspec.structs.replace(pipeline, parameters=parameters, values=values)


def describe(pipeline: Pipeline) -> dict[str, Any]:
    """Return what `show --json` prints: plain data, one row per step even where it is continued later."""
    rows: dict[str, list[Step]] = {}
    for step in pipeline.steps:
        rows.setdefault(step.step, []).append(step)
    step_of = {step.name: step.step for step in pipeline.steps}
    parameters = [
        {"name": one.name, "type": one.type, "default": one.default, "help": one.help} for one in pipeline.parameters
    ]
    return {
        "name": pipeline.name,
        "parameters": msgspec.json.decode(msgspec.json.encode(parameters)),
        "metrics": list(pipeline.metrics),
        "steps": [_row(name, parts, step_of) for name, parts in rows.items()],
        "diagnostics": [msgspec.to_builtins(one) for one in pipeline.diagnostics],
    }


def _row(name: str, parts: list[Step], step_of: dict[str, str]) -> dict[str, Any]:
    after = dict.fromkeys(step_of[one] for part in parts for one in part.after if step_of[one] != name)
    inputs = dict.fromkeys(
        (variable, step_of[producer])
        for part in parts
        for variable, producer in part.inputs.items()
        if step_of[producer] != name
    )
    options = options_as_json(parts[0].options)
    seen = [(step_of[part.name], part.observed) for part in parts if part.observed is not None]
    return {
        "name": name,
        "cells": [cell.number for part in parts for cell in part.unit.cells],
        "after": list(after),
        "inputs": [{"name": variable, "from": producer} for variable, producer in inputs],
        "outputs": sorted({output for part in parts for output in part.outputs}),
        "resources": {key: value for key, value in options.items() if key in _RESOURCES},
        "options": {key: value for key, value in options.items() if key not in _RESOURCES},
        "observed": _seen([one for _, one in seen], step_of) if seen else None,
    }


def _seen(parts: list[Observed], step_of: dict[str, str]) -> dict[str, Any]:
    """Return what is known of a step from a run; of one that is continued later, the largest amounts."""
    largest = max(parts, key=lambda one: one.peak_memory)
    return {
        "run": parts[0].run,
        "files": [{"path": path, "from": step_of[maker]} for one in parts for path, maker in one.files.items()],
        "seconds": sum(one.seconds for one in parts),
        "cpu_seconds": sum(one.cpu_seconds for one in parts),
        "peak_memory": largest.peak_memory,
        "proposed": {"cpu": largest.cpu, "memory": largest.memory},
    }


def options_as_json(options: StepOptions) -> dict[str, Any]:
    """Return the options that are set, as plain data under their names."""
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(options))
    return plain
