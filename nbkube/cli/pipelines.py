"""Drawing a pipeline: a table of its steps and what flows between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nbkube.cli import arguments
from nbkube.cli.tables import draw, drawable, memory, seconds, table
from nbkube.cli.terminal import one_line, write
from nbkube.errors import NotebookError
from nbkube.pipeline.model import Pipeline, Step, StepOptions

if TYPE_CHECKING:
    from nbkube.client import Client

_NAMES_SHOWN = 4
# Faults of what was typed, not of the notebook: there is nothing to show then.
_OF_ARGUMENTS = ("bad-parameter", "unknown-parameter", "derived-parameter")


def built(
    client: Client,
    notebook: Path,
    texts: Sequence[str] | None,
    file: Path | None,
    settings: Sequence[str] | None,
) -> Pipeline:
    """Return the pipeline of a notebook with parameters and options as typed; its faults are in it.

    Raises:
        NotebookError: the file is no notebook, or a parameter that was given does not fit.
    """
    path = arguments.existing_notebook(notebook)
    # What is typed wins over the file. The pipeline reads texts by the types of its parameters.
    given = arguments.parameter_file(file) | arguments.assignments(texts or (), "-p")
    pipeline = client.show(path, parameters=given, options=arguments.step_options(settings or ()))
    if any(one.code in _OF_ARGUMENTS for one in pipeline.diagnostics):
        raise NotebookError(diagnostics=pipeline.diagnostics)
    return pipeline


def is_broken(pipeline: Pipeline) -> bool:
    """Tell whether a pipeline has errors and cannot run."""
    return any(one.severity == "error" for one in pipeline.diagnostics)


def as_json(pipeline: Pipeline) -> str:
    """Return the pipeline as the JSON that `show --json` promises."""
    from nbkube.pipeline import describe

    return msgspec.json.encode(describe(pipeline)).decode()


def counted(pipeline: Pipeline) -> str:
    """Return how large a pipeline is: 5 steps, 12 code cells."""
    cells = sum(len(step.unit.cells) for step in pipeline.steps)
    return f"{_count(len(_rows(pipeline.steps)), 'step')}, {_count(cells, 'code cell')}"


def draw_pipeline(pipeline: Pipeline) -> None:
    """Print parameters, steps, metrics and the flow of a pipeline."""
    rows = _rows(pipeline.steps)
    write(f"{one_line(pipeline.name)}: {counted(pipeline)}")
    _draw_parameters(pipeline)
    _draw_steps(rows, _stages(pipeline))
    _draw_observed(pipeline)
    if pipeline.metrics:
        write(f"\nMetrics: {', '.join(map(one_line, pipeline.metrics))}")
    flow = flow_lines(pipeline)
    if flow:
        write("\nFlow")
        for line in flow:
            write(drawable(line))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _rows(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Group units by the step they belong to: a step continued later is one row."""
    rows: dict[str, list[Step]] = defaultdict(list)
    for step in steps:
        rows[step.step].append(step)
    return rows


def _draw_parameters(pipeline: Pipeline) -> None:
    if not pipeline.parameters:
        return
    drawn = table(("parameter", "type", "default", "help"), wide=("default", "help"))
    for one in pipeline.parameters:
        drawn.add_row(one_line(one.name), one.type, one_line(repr(one.default), 60), one_line(one.help))
    write()
    draw(drawn)


def _draw_steps(rows: dict[str, list[Step]], stages: dict[str, int]) -> None:
    drawn = table(("step", "stage", "cells", "after", "options"), right=("stage",), wide=("cells", "after", "options"))
    for name, units in rows.items():
        own = {unit.name for unit in units}
        after = [one for unit in units for one in unit.after if one not in own]
        drawn.add_row(
            one_line(name),
            ", ".join(str(stages[unit.name]) for unit in units),
            cell_ranges([cell.number for unit in units for cell in unit.unit.cells]),
            ", ".join(dict.fromkeys(one_line(one) for one in after)),
            options_text(units[0].options),
        )
    write()
    draw(drawn)


def _draw_observed(pipeline: Pipeline) -> None:
    """Print what steps with this code took in an earlier run, and the requests that follow from it."""
    seen = [(step, step.observed) for step in pipeline.steps if step.observed is not None]
    if not seen:
        return
    drawn = table(("seen in a run", "time", "CPU", "peak memory", "proposed"), right=("time", "CPU", "peak memory"))
    for step, one in seen:
        proposed = {"cpu": one.cpu, "memory": one.memory}
        used = f"{one.cpu_seconds / one.seconds:.1f}" if one.seconds > 0 else ""
        drawn.add_row(
            one_line(step.name),
            seconds(one.seconds),
            used,
            memory(one.peak_memory),
            " ".join(f"{name}={value}" for name, value in proposed.items() if value),
        )
    write()
    draw(drawn)


def _stages(pipeline: Pipeline) -> dict[str, int]:
    """Number each unit by its longest way from the start: units of one stage may run beside each other."""
    stages: dict[str, int] = {}
    for step in pipeline.steps:
        stages[step.name] = 1 + max((stages.get(one, 0) for one in step.after), default=0)
    return stages


def cell_ranges(numbers: Sequence[int]) -> str:
    """Return cell numbers as ranges: 1-3, 5."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def options_text(options: StepOptions) -> str:
    """Return a step's options as they are typed: cpu=2 memory=4Gi."""
    chosen = msgspec.to_builtins(options)
    return " ".join(one_line(f"{name}={_option_value(value)}", 60) for name, value in chosen.items())


def _option_value(value: object) -> str:
    if isinstance(value, dict):
        return ",".join(f"{name}={one}" for name, one in value.items())
    if isinstance(value, list):
        return ",".join(_option_value(one) for one in value)
    return "yes" if value is True else "no" if value is False else str(value)


def flow_lines(pipeline: Pipeline) -> list[str]:
    """Return the edges as text, by producer, each named by what it carries."""
    carried: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for step in pipeline.steps:
        files = step.observed.files if step.observed is not None else {}
        for name, producer in (*step.inputs.items(), *files.items()):
            carried[producer][step.name].append(name)
        for earlier in step.after:
            # Order without data: shown only where no data edge says it already.
            carried[earlier].setdefault(step.name, [])
    lines: list[str] = []
    width = max((len(one_line(step.name)) for step in pipeline.steps), default=0)
    for step in pipeline.steps:
        consumers = _direct(carried.get(step.name, {}), pipeline)
        for position, (consumer, names) in enumerate(consumers):
            last = position == len(consumers) - 1
            start = one_line(step.name).rjust(width) if position == 0 else " " * width
            joint = "──" if len(consumers) == 1 else "┬─" if position == 0 else "└─" if last else "├─"
            lines.append(f"  {start} {joint} {_label(names)} ─▸ {one_line(consumer)}")
    return lines


def _direct(consumers: dict[str, list[str]], pipeline: Pipeline) -> list[tuple[str, list[str]]]:
    """Leave out pure order edges that a longer way implies."""
    after = {step.name: set(step.after) for step in pipeline.steps}

    def implied(consumer: str) -> bool:
        return any(between in consumers or _reaches(between, consumers, after) for between in after[consumer])

    return [(name, names) for name, names in consumers.items() if names or not implied(name)]


def _reaches(unit: str, targets: dict[str, list[str]], after: dict[str, set[str]]) -> bool:
    seen: set[str] = set()
    waiting = [unit]
    while waiting:
        for earlier in after.get(waiting.pop(), ()):
            if earlier in targets:
                return True
            if earlier not in seen:
                seen.add(earlier)
                waiting.append(earlier)
    return False


def _label(names: Sequence[str]) -> str:
    if not names:
        return "(order)"
    shown = ", ".join(one_line(name, 40) for name in names[:_NAMES_SHOWN])
    return f"{shown} +{len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else shown
