"""A submission made ready for the cluster: what is known already, the files and programs in the store, the Workflow."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from nbkube.engines.argo.graph import Graph
from nbkube.engines.argo.launch import Launch, freeze
from nbkube.engines.argo.standing import Standing, metrics, view_at
from nbkube.engines.argo.target import Target
from nbkube.engines.argo.workflow import workflow
from nbkube.engines.model import Submission
from nbkube.engines.registering import registering
from nbkube.engines.results import Result, Results, ended
from nbkube.engines.schedule import Schedule, State
from nbkube.runs import Recorder, Run, RunStore, RunUnit
from nbkube.state.snapshot import FileView
from nbkube.storage.model import ObjectStore

Uploading = Callable[[int, int], None]


class Prepared(msgspec.Struct, frozen=True):
    """A run about to start: its record, and the Workflow to send (None: all results are known)."""

    run: Run
    manifest: dict[str, Any] | None


def prepare(
    submission: Submission, run: Run, view: FileView, store: ObjectStore, target: Target, uploading: Uploading
) -> Prepared:
    """Record a run, with the results that are known of its beginning, and return the Workflow for the rest.

    Raises:
        NotebookError: an option cannot be part of a Workflow.
        DataflowError: steps that have to share a process cannot share a pod.
        RunError: there is a run with this id.
        StorageError: the store cannot be reached.
    """
    submission = _reordered(submission, store)
    results = Results(store, submission)
    plan = _known(results, submission, view)
    known = next((first for first, one in sorted(plan.groups.items()) if one.state is State.PENDING), len(plan.units))
    graph = Graph.of(submission, results.all_remembered(), known)
    digest, launch = freeze(submission, run, view, store, chain=graph.chain, tell=uploading)
    workflow_name = run.id if graph.nodes else ""
    run = replace(launch.run, id=run.id, created=run.created or time.time(), submission=digest, workflow=workflow_name)
    # Refused options are told before anything is recorded.
    fuse = submission.fuse and not submission.adversarial
    manifest = workflow(graph, digest, target, run=run.id, name=run.id, fuse=fuse) if graph.nodes else None
    RunStore(store).create(run)
    _tell_known(plan, known, submission, run, store)
    return Prepared(run, manifest)


def exported(
    submission: Submission,
    run: Run,
    view: FileView,
    store: ObjectStore,
    target: Target,
    uploading: Uploading,
    name: str,
) -> dict[str, Any]:
    """Put everything into the store and return a Workflow of which each creation is a run of its own.

    Raises what `prepare` does.
    """
    submission = _reordered(submission, store)
    graph = Graph.of(submission, Results(store, submission).all_remembered())
    digest, _ = freeze(submission, run, view, store, chain=graph.chain, tell=uploading)
    return workflow(graph, digest, target, name=name, fuse=submission.fuse)


def again(submission: Submission, run: Run, store: ObjectStore, target: Target, name: str) -> dict[str, Any] | None:
    """Return the Workflow with which a run that did not succeed goes on; None if nothing is left to do."""
    Standing(store, submission).forget_failures()
    plan = Standing(store, submission).load()
    known = next((first for first, one in sorted(plan.groups.items()) if one.state is State.PENDING), len(plan.units))
    if not Launch.load(store, run.submission).chain:
        known = 0  # what ran early is judged again
    graph = Graph.of(submission, Results(store, submission).all_remembered(), known)
    if not graph.nodes:
        return None
    return workflow(graph, run.submission, target, run=run.id, name=name, fuse=submission.fuse)


def plain_run(submission: Submission) -> Run:
    """Return the record of a run of which only the submission is known."""
    names = [unit.program.unit for unit in submission.units]
    units = tuple(
        RunUnit(
            name=unit.program.unit,
            kind=unit.program.kind,
            program=unit.program.digest,
            after=tuple(names[one] for one in unit.after),
            cells=tuple(cell.number for cell in unit.program.cells),
            options=msgspec.to_builtins(unit.options),
        )
        for unit in submission.units
    )
    notebook = submission.units[0].program.filename if submission.units else ""
    return Run(submission.run, time.time(), notebook, units=units, edges=submission.edges, engine="argo")


def _reordered(submission: Submission, store: ObjectStore) -> Submission:
    """Return the submission with the order that earlier runs of this code have shown to be needed."""
    return replace(submission, units=Results(store, submission).reordered())


def _known(results: Results, submission: Submission, view: FileView) -> Schedule[Result]:
    """Look up results from the first unit on, as far as they go without a gap."""
    plan: Schedule[Result] = Schedule(submission.units, submission.edges, submission.bindings)
    at = 0
    while at < len(plan.units):
        group = plan.groups[at]
        last = results.remembered(group)
        plan.join(group.first, last)
        wanted = plan.wanted(group.first, group.last)
        found = results.find(group, plan.bindings(group.first), view_at(plan, view, group.first), wanted)
        if found is None:
            break
        group.state, group.outcome = State.DONE, found
        at = group.last + 1
    return plan


def _tell_known(plan: Schedule[Result], known: int, submission: Submission, run: Run, store: ObjectStore) -> None:
    recorder = Recorder(store, run)
    standing = Standing(store, submission)
    recorder({"event": "run-started", "workflow": run.workflow})
    for first in sorted(plan.groups):
        group = plan.groups[first]
        if group.state is State.DONE and group.outcome is not None:
            standing.keep(group, 0, group.outcome)
            for event in ended(submission, group, group.outcome):
                recorder(event)
    if known == len(plan.units):
        tell = registering(store, submission, recorder)
        tell({"event": "run-ended", "phase": "Succeeded", "metrics": metrics(plan), "reason": ""})
