"""Watching a run's Workflow and pods: what they wait for is told, and what they could not record is recorded."""

from __future__ import annotations

import threading
import time
from typing import Any

import msgspec

from nbkube.engines.argo.judge import closing
from nbkube.engines.argo.news import Contact, Death, PodNews, WorkflowNews, Workflows
from nbkube.engines.model import Listener, Submission
from nbkube.errors import NbkubeError
from nbkube.runs import Phase, Recorder, RunState, RunStore
from nbkube.runtime.program import Failure
from nbkube.storage.model import ObjectStore

_LAST_WORDS = 3.0
"""Seconds in which what a pod wrote at its end may still come in after its Workflow has ended."""

_PAUSE = 2.0


class Watcher:
    """Follows one Workflow. `run` until the run has ended; it never fails: the store alone decides what happened."""

    def __init__(self, store: ObjectStore, submission: Submission, workflows: Workflows, listener: Listener) -> None:
        self._store = store
        self._submission = submission
        self._workflows = workflows
        self._listener = listener
        self._runs = RunStore(store)
        self._closed = threading.Event()
        self._told: dict[str, tuple[str, str]] = {}
        self._deaths: dict[str, Death] = {}

    def close(self) -> None:
        """The run has ended: nothing more is to be told."""
        self._closed.set()

    def run(self) -> None:
        """Watch until the Workflow has ended, over whatever loss of contact."""
        while not self._closed.is_set():
            try:
                workflow = workflow_of(self._runs, self._submission.run)
                if not workflow or self._watch(workflow):
                    return  # all results were known, or the end has come
            except NbkubeError as error:
                self._tell({"event": "contact", "lost": True, "reason": str(error)})
            self._closed.wait(_PAUSE)

    def _watch(self, workflow: str) -> bool:
        """Pass on the news of a Workflow; return whether there is nothing more to come."""
        ended: WorkflowNews | None = None
        for news in self._workflows.watch(workflow):
            if self._closed.is_set():
                return True
            if isinstance(news, PodNews):
                self._pod(news)
            elif isinstance(news, Contact):
                self._tell({"event": "contact", "lost": news.lost, "reason": news.reason})
            elif isinstance(news, WorkflowNews) and news.ended:
                ended = news
        if ended is not None:
            self._finish(ended)
        return ended is not None

    def _pod(self, news: PodNews) -> None:
        if news.death is not None:
            self._deaths[news.step] = news.death
        if self._told.get(news.step) != (news.phase, news.reason):
            self._told[news.step] = (news.phase, news.reason)
            self._tell({"event": "pod", "step": news.step, "pod": news.pod, "phase": news.phase, "reason": news.reason})

    def _tell(self, event: dict[str, Any]) -> None:
        if not self._closed.is_set():
            self._listener(event)

    # -- what pods could not tell ----------------------------------------------------------------------------------

    def _finish(self, news: WorkflowNews) -> None:
        """Record the end of a run whose Workflow has ended, if nobody else has."""
        if self._closed.wait(_LAST_WORDS):
            return
        finish(self._store, self._submission, news, self._deaths)


def workflow_of(runs: RunStore, run_id: str) -> str:
    """Return the Workflow that carries a run out now: a run that was resumed has had several."""
    names = [event.workflow for event in runs.events(run_id) if event.workflow]
    return names[-1] if names else runs.run(run_id).workflow


def finish(store: ObjectStore, submission: Submission, news: WorkflowNews, deaths: dict[str, Death]) -> None:
    """Record what pods that died without a word could not, and the end of the run, unless it has been told.

    Args:
        store: where the run's record lies.
        submission: with the run's id.
        news: the Workflow's end.
        deaths: by step, how its last pod died.
    """
    runs = RunStore(store)
    state = runs.load(submission.run)
    if state.phase.ended:
        return
    recorder = Recorder(store, state.run, {step.name: step.attempts for step in state.steps})
    end = closing(store, submission, news.phase)
    if end["phase"] == Phase.FAILED:
        dead = _attributed(deaths, state)
        for step in state.steps:
            death = dead.get(step.name)
            if death is None and step.name in news.failed:
                death = Death("", f"its pod failed: {news.failed[step.name]}")
            if death is not None and not step.phase.ended:
                failure = Failure("killed", death.message, type=death.reason, exit_code=death.exit_code)
                told = {"phase": "Failed", "failure": msgspec.to_builtins(failure), "time": time.time()}
                recorder({"event": "step-ended", "step": step.name, **told})
                end = {**end, "reason": f"step {step.name}: {death.message}"}
        if news.phase == "Gone":
            end = {**end, "reason": "its Workflow has been deleted"}
    recorder(end)


def _attributed(deaths: dict[str, Death], state: RunState) -> dict[str, Death]:
    """Return by step how its pod died: a pod bears the name of its first step, and another may have been at work."""
    found = dict(deaths)
    steps = list(state.steps)
    for at, step in enumerate(steps):
        if step.name in deaths and step.phase in (Phase.SUCCEEDED, Phase.CACHED):
            running = next((one for one in steps[at + 1 :] if one.phase is Phase.RUNNING), None)
            if running is not None:
                found.setdefault(running.name, found.pop(step.name))
    return found
