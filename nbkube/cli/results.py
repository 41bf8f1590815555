"""Looking at runs: lists, states, logs, what was made, the report."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.cli import tables
from nbkube.cli.arguments import suggestion
from nbkube.cli.faults import CANCELLED
from nbkube.cli.terminal import one_line, safe, tell, write
from nbkube.cli.tracebacks import shortened
from nbkube.errors import NbkubeError, NotFoundError
from nbkube.runs.model import Phase, RunState, StepRun
from nbkube.state.summary import is_code

if TYPE_CHECKING:
    from nbkube.client import Client

LAST = "last"
_MOST_PROPOSALS = 20
_DONE = (Phase.SUCCEEDED, Phase.CACHED)


def run_names(client: Client) -> list[str]:
    """Return the ids of all runs, the newest first."""
    return [state.run.id for state in client.runs()]


def found(client: Client, name: str) -> RunState:
    """Return the run that a person means: by id, by the beginning or end of one, or the last one.

    Raises:
        NotFoundError: there is none, or more than one; names those that look alike.
    """
    known = run_names(client)
    if not known:
        raise NotFoundError("There are no runs yet. Fix: start one with nbkube run NOTEBOOK.")
    if name == LAST:
        return client.status(known[0])
    if name in known:
        return client.status(name)
    meant = [one for one in known if name and (one.startswith(name) or one.endswith(name))]
    if len(meant) == 1:
        return client.status(meant[0])
    if meant:
        raise NotFoundError(f"{name!r} fits {len(meant)} runs: {', '.join(meant[:5])}. Fix: give more of the id.")
    raise NotFoundError(f"There is no run {name!r}.{suggestion(name, known)}")


def exit_code(phase: Phase) -> int:
    """Return the exit code that a run's phase stands for."""
    return {Phase.FAILED: 1, Phase.CANCELLED: CANCELLED}.get(phase, 0)


def summary(state: RunState) -> dict[str, Any]:
    """Return a run as the JSON that `run --json` and `status --json` promise."""
    return {
        "run": state.run.id,
        "phase": state.phase.value,
        "seconds": round(state.seconds, 3),
        "metrics": state.metrics,
        "steps": {
            step.name: {"phase": step.phase.value, "seconds": round(step.seconds, 3), "cached": step.cached}
            for step in state.steps
        },
    }


def as_json(value: object) -> str:
    """Return any result as one line of JSON."""
    return msgspec.json.encode(value, enc_hook=repr).decode()


# -- lists and states ----------------------------------------------------------------------------------------------


def list_runs(client: Client, *, limit: int, experiment: str, json: bool) -> None:
    """Print the newest runs."""
    states = [one for one in client.runs() if not experiment or one.run.experiment == experiment][:limit]
    if json:
        write(as_json([summary(one) for one in states]))
        return
    if not states:
        tell("There are no runs yet. Start one with: nbkube run NOTEBOOK")
        return
    columns = ("run", "notebook", "state", "started", "time", "steps", "experiment")
    drawn = tables.table(columns, right=("time", "steps"), wide=("notebook", "experiment"))
    for one in states:
        done = sum(step.phase in _DONE for step in one.steps)
        drawn.add_row(
            one.run.id,
            one_line(one.run.notebook),
            tables.state(one.phase),
            tables.moment(one.started or one.run.created),
            tables.seconds(one.seconds),
            f"{done}/{len(one.steps)}",
            one_line(one.run.experiment),
            style=tables.style(one.phase),
        )
    tables.draw(drawn)


def show_status(client: Client, name: str, *, json: bool) -> int:
    """Print where a run stands; return the exit code for it."""
    state = found(client, name)
    if json:
        write(as_json(summary(state)))
        return exit_code(state.phase)
    started = tables.moment(state.started or state.run.created)
    facts = [tables.state(state.phase), started, tables.seconds(state.seconds)]
    write(f"{one_line(state.run.notebook)}, run {state.run.id}: {', '.join(one for one in facts if one)}")
    if state.reason:
        write(one_line(state.reason))
    if state.run.begins:
        write(f"Begun at step {one_line(state.run.begins)} with the variables of a live kernel.")
    if state.run.parameters:
        given = [f"{one_line(name)}={tables.number(value)}" for name, value in state.run.parameters.items()]
        write(f"Parameters: {', '.join(given)}")
    write()
    draw_steps(state)
    if state.metrics:
        write()
    draw_metrics(state.metrics)
    _draw_proposals(state)
    _tell_failures(state)
    return exit_code(state.phase)


def draw_steps(state: RunState) -> None:
    """Print the steps of a run as a table."""
    drawn = tables.table(("step", "state", "time", "peak memory", ""), right=("time", "peak memory"), wide=("",))
    for step in state.steps:
        drawn.add_row(
            one_line(step.name),
            tables.state(step.phase),
            "cached" if step.cached else tables.seconds(step.seconds) if step.ended else "",
            tables.memory(step.peak_memory),
            one_line(step.reason),
            style=tables.style(step.phase),
        )
    tables.draw(drawn)


def _draw_proposals(state: RunState) -> None:
    """Print what larger steps used and what to ask for."""
    from nbkube.runs.usage import is_worth_telling, proposal

    found = [one for one in map(proposal, state.steps) if one is not None and is_worth_telling(one)]
    if found:
        write()
    for one in found[:_MOST_PROPOSALS]:
        write(one_line(str(one)))


def draw_metrics(metrics: dict[str, Any]) -> None:
    """Print metrics as a table; nothing for none."""
    if not metrics:
        return
    drawn = tables.table(("metric", "value"), right=("value",), wide=("value",))
    for name, value in metrics.items():
        drawn.add_row(one_line(name), tables.number(value))
    tables.draw(drawn)


# -- how a run has ended -------------------------------------------------------------------------------------------


def tell_outcome(state: RunState, notebook: Path, *, metrics: bool) -> None:
    """Say how a run has ended: the metrics to stdout (unless they are printed otherwise), all else to stderr."""
    if metrics:
        tell()
        draw_metrics(state.metrics)
    cached = sum(step.cached for step in state.steps)
    ran = sum(step.phase is Phase.SUCCEEDED and not step.cached for step in state.steps)
    took = tables.seconds(state.seconds)
    tell()
    if state.phase is Phase.SUCCEEDED:
        tell(f"Succeeded in {took}: {_steps(ran)} run, {cached} known already. Run {state.run.id}.")
        return
    _tell_failures(state)
    if state.phase is Phase.CANCELLED:
        tell(f"Cancelled after {took}.")
    elif state.phase is not Phase.FAILED or not _failed(state):
        tell(f"{state.phase} after {took}: {one_line(state.reason)}")
    kept = [step.name for step in state.steps if step.phase in _DONE]
    if kept:
        names = ", ".join(map(one_line, kept[:6])) + (" …" if len(kept) > 6 else "")
        tell(f"Kept: {_steps(len(kept))} ({names}); what is kept is not run again.")
    tell("Next:")
    again = f"resume {state.run.id}" if state.phase is not Phase.FAILED else f"run {one_line(str(notebook))}"
    commands = {f"nbkube {again}": "goes on from what is kept"}
    for step in _failed(state)[:1]:
        named = f"{state.run.id} {one_line(step.name)}"
        open_ = {f"nbkube open {named}": "a notebook that goes on at the cell that failed"} if step.failure else {}
        commands = {f"nbkube logs {named}": "all that the step has printed", **open_, **commands}
    width = max(map(len, commands))
    for command, use in commands.items():
        tell(f"  {command:<{width}}   {use}")


def _failed(state: RunState) -> list[StepRun]:
    return [step for step in state.steps if step.phase is Phase.FAILED]


def _tell_failures(state: RunState) -> None:
    for step in _failed(state):
        failure = step.failure
        if failure is None:
            tell(f"{tables.drawable('✗', sys.stderr)} step {one_line(step.name)} failed: {one_line(step.reason)}")
            continue
        place = f" in cell {failure.cell}" if failure.cell else ""
        place += f" ({one_line(failure.cell_id)})" if failure.cell and failure.cell_id else ""
        place += f", line {failure.line}" if failure.line else ""
        what = "check" if step.kind == "checks" else "step"
        tell(f"{tables.drawable('✗', sys.stderr)} {what} {one_line(step.name)} failed{place}:")
        for line in shortened(failure.traceback) or [f"{failure.type or failure.kind}: {failure.message}"]:
            tell(f"  {safe(line)}")


def _steps(count: int) -> str:
    return f"{count} step" if count == 1 else f"{count} steps"


# -- what was made -------------------------------------------------------------------------------------------------


def list_artifacts(client: Client, name: str, *, json: bool) -> None:
    """Print the variables, files and metrics of a run."""
    state = found(client, name)
    made = client.artifacts(state.run.id)
    variables = {
        step: [
            {"name": variable, "type": ref.type, "summary": ref.summary or ref.reason, "size": ref.size}
            for variable, ref in sorted(refs.items())
            if ":" not in variable and ref.kind != "deleted"
        ]
        for step, refs in made.variables.items()
    }
    if json:
        files = [{"path": one.path, "size": one.size, "sha256": one.digest} for one in made.files]
        write(as_json({"run": state.run.id, "variables": variables, "files": files, "metrics": made.metrics}))
        return
    if not (any(variables.values()) or made.files or made.metrics):
        tell(f"Run {state.run.id} has made nothing.")
    _draw_variables(variables)
    if made.files:
        drawn = tables.table(("file", "size"), right=("size",), wide=("file",))
        for one in made.files:
            drawn.add_row(one_line(one.path), tables.memory(one.size) if one.kind == "file" else one.kind)
        write()
        tables.draw(drawn)
    if made.metrics:
        write()
    draw_metrics(made.metrics)


def _draw_variables(variables: dict[str, list[dict[str, Any]]]) -> None:
    if not any(variables.values()):
        return
    drawn = tables.table(("step", "variable", "type", "size", ""), right=("size",), wide=("type", ""))
    for step, found in variables.items():
        rows = [row for row in found if not is_code(row["type"])]
        if code := len(found) - len(rows):
            said = f"and {code} imported or defined (modules, functions, classes)"
            rows.append({"name": "", "type": "", "size": 0, "summary": said})
        for position, row in enumerate(rows):
            drawn.add_row(
                one_line(step) if position == 0 else "",
                one_line(row["name"]),
                one_line(row["type"], 40),
                tables.memory(row["size"]),
                one_line(row["summary"], 60),
            )
    tables.draw(drawn)


def export_files(client: Client, name: str, folder: Path, *, json: bool) -> None:
    """Copy the files of a run to a folder."""
    state = found(client, name)
    paths: Sequence[Path] = client.export_files(state.run.id, folder)
    if json:
        write(as_json({"run": state.run.id, "files": [str(one) for one in paths]}))
    else:
        for one in paths:
            write(safe(str(one)))


def write_report(client: Client, name: str, output: Path | None, *, json: bool) -> None:
    """Write the HTML report of a run."""
    from nbkube.report import render_report

    state = found(client, name)
    target = output or Path(f"{state.run.id}.html")
    if target.is_dir():
        raise NbkubeError(f"{target} is a folder. Fix: give a file, such as --output {target / 'report.html'}.")
    target.write_text(render_report(client.report(state.run.id)), encoding="utf-8")
    write(as_json({"run": state.run.id, "report": str(target)}) if json else safe(str(target)))
