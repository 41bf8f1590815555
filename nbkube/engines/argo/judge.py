"""Do the results of steps that ran beside each other hold in the notebook's order? The same question as on a laptop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import msgspec

from nbkube.engines.argo.standing import Standing, metrics
from nbkube.engines.argo.unit import outdated, rescued, was_stopped
from nbkube.engines.model import Submission
from nbkube.engines.results import Result, Results
from nbkube.engines.schedule import Group, Schedule, State
from nbkube.runs.store import RunStore
from nbkube.runtime.cache import mismatch
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

NONE = "none"
SILENT = "its pod ended without a word: its memory ran out, it was evicted or deleted, or its image could not be had"


def judge(
    store: ObjectStore, submission: Submission, base: FileView, tell: Callable[[Mapping[str, Any]], None]
) -> tuple[str, bool]:
    """Judge a run whose pods have all ended, and tell of its end if that is what it has come to.

    Returns:
        The number of the first unit that has to run again, in notebook order with all after it, or "none"; and whether
        the run is not a failure.
    """
    plan = Standing(store, submission).load()

    def keep() -> None:
        Results(store, submission).keep_observed(list(plan.groups.values()))

    while plan.final < len(plan.units):
        group = plan.groups[plan.final]
        if group.outcome is None:
            # The reason is not known here: the Workflow fails, and what follows finds it.
            return NONE, False
        if outdated(plan, base, group.first, _seen_from_here(submission, group, group.outcome)):
            return str(group.first), True
        if group.state is State.FAILED:
            keep()
            if not rescued(submission, group.last):
                tell(_end(plan, "Failed", ""))
            return NONE, False
        plan.final = group.last + 1
    keep()
    tell(_end(plan, "Succeeded", ""))
    return NONE, True


def _seen_from_here(submission: Submission, group: Group[Result], result: Result) -> Result:
    """Leave out what only the step's own pod can see: files of its image and of its volumes.

    Nobody can have changed them meanwhile but a step before it that has the same volume; then it has to look again.
    """
    own = _claims(submission, group.first, group.last + 1)
    if own & _claims(submission, 0, group.first):
        return result
    return replace(result, files=msgspec.structs.replace(result.files, outside={}))


def _claims(submission: Submission, start: int, end: int) -> set[str]:
    return {one.claim for unit in submission.units[start:end] for one in unit.options.volume if one.claim}


def closing(store: ObjectStore, submission: Submission, status: str) -> dict[str, Any]:
    """Return the event that ends a run whose Workflow did not succeed: what its pods could not tell themselves.

    Args:
        store: where the run's results lie.
        submission: with the run's id.
        status: the Workflow's phase in Argo's words.
    """
    plan = Standing(store, submission).load()
    if was_stopped(RunStore(store).events(submission.run)):
        return _end(plan, "Cancelled", "")
    first = next((one for one in sorted(plan.groups) if plan.groups[one].state is not State.DONE), None)
    # A step that ran too early and was to run again tells nothing, whether it went well or not.
    early = _early(plan, len(plan.units) - 1 if first is None else first)
    if early is not None:
        first = early
    elif first is None:
        return _end(plan, "Succeeded", "")
    elif plan.groups[first].state is State.FAILED:
        return _end(plan, "Failed", "")
    name = submission.units[first].program.unit
    what = "it was to run again after steps beside it, and " if early is not None else ""
    return _end(plan, "Failed", f"step {name}: {what}{SILENT} (the Workflow is {status})")


def _early(plan: Schedule[Result], last: int) -> int | None:
    """Return the first group up to `last` whose result was made from variables that are others in its place."""
    for first in sorted(plan.groups):
        outcome = plan.groups[first].outcome
        if first <= last and outcome is not None and mismatch(outcome.reads, outcome.touched, plan.bindings(first)):
            return first
    return None


def _end(plan: Schedule[Result], phase: str, reason: str) -> dict[str, Any]:
    return {"event": "run-ended", "phase": phase, "metrics": metrics(plan), "reason": reason}
