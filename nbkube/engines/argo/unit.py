"""One step in a pod: find its result or make it, publish it, and tell."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nbkube.engines.argo import cgroup
from nbkube.engines.argo.needs import suffices, together
from nbkube.engines.argo.prefetch import expected, prefetch
from nbkube.engines.argo.standing import RESCUE, Standing, metrics, view_at
from nbkube.engines.model import Submission, UnitPlan
from nbkube.engines.results import Result, Results, ended
from nbkube.engines.schedule import Group, Outcome, Schedule, State
from nbkube.errors import NbkubeError, StateError
from nbkube.runs.model import RunEvent
from nbkube.runs.store import RunStore
from nbkube.runtime import cache
from nbkube.runtime.attempt import Attempt, Executed, Finished
from nbkube.runtime.program import Failure, StepResult, StepTask
from nbkube.runtime.spawning import Ahead
from nbkube.state.model import FileDiff, FileReads, OutputRef
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import remove_tree
from nbkube.storage.model import ObjectStore

DONE, FAILED, TRANSIENT, AGAIN, TIMEOUT, STOPPED = 0, 1, 75, 76, 124, 143
"""How a pod ends: its result is there; failed for good; the store or the machine failed, to be tried again; failed,
and the step asked for another try; took too long; was asked to stop. 137 is the kernel's, never ours."""

RETRY_KINDS = frozenset({"error", "killed", "timeout", "exit"})
HOLE = "HoleError"
BROKEN = "a step before it has failed"
FIRST_BACKOFF = 1.0
_WAIT_FOR_OTHERS = 3600.0

Tell = Callable[[Mapping[str, Any]], None]


def outdated(plan: Schedule[Result], base: FileView, unit: int, outcome: Outcome) -> str | None:
    """Tell whether a unit would see something else now than what its outcome was made from; None if it would not."""
    bindings = plan.bindings(unit)
    return cache.mismatch(outcome.reads, outcome.touched, bindings) or matches(outcome.files, view_at(plan, base, unit))


def rescued(submission: Submission, failed: int) -> bool:
    """Tell whether steps run after the failure of a unit."""
    return any(unit.options.after_failure for unit in submission.units[failed + 1 :])


def was_stopped(events: Iterable[RunEvent]) -> bool:
    """Tell whether somebody has asked the run to end since it was started, or resumed, last."""
    stopped = False
    for event in events:
        stopped = event.event == "asked" and event.state == "stop" or (stopped and event.event != "run-started")
    return stopped


class UnitRun:
    """One unit's turn in one pod. `run` from one thread, `stop` from any (a signal's handler, too).

    Args:
        store: where everything lies.
        submission: with the run's id, and this pod's place of the project as its root.
        base: the project's files.
        tell: takes events.
        chain: results hold for good, for every unit has waited for all before it.
        turn: 0 for the graph's pass, 1 for the repetition in notebook order, 2 for what runs after a failure.
        ahead: a step process that was started early; it is used for the first attempt, or ended.
    """

    def __init__(
        self,
        store: ObjectStore,
        submission: Submission,
        base: FileView,
        tell: Tell,
        *,
        chain: bool,
        turn: int,
        ahead: Ahead | None = None,
    ) -> None:
        self._store = store
        self._submission = submission
        self._base = base
        self._tell = tell
        self._chain = (chain or turn > 0) and turn != RESCUE
        self._turn = turn
        self._ahead = ahead
        self._place = Path(submission.root).parent
        self._results = Results(store, submission)
        self._standing = Standing(store, submission)
        self._plan: Schedule[Result] = Schedule(submission.units, submission.edges, submission.bindings)
        self._attempt: Attempt | None = None
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the step's processes; what is finished is kept."""
        self._stopped.set()
        if self._attempt is not None:
            self._attempt.cancel()

    def run(self, unit: int) -> int:
        """Carry out a unit and return how the pod is to end.

        Raises:
            StorageError: the store cannot be reached; another try may go better.
        """
        try:
            return self._run(unit)
        finally:
            if self._ahead is not None:
                self._ahead.close()

    def _run(self, unit: int) -> int:
        self._plan = self._standing.load()
        group = self._plan.group_of(unit)
        if self._turn == RESCUE:
            return self._rescue(group)
        if group.state is State.DONE and group.runs > self._turn:
            return DONE  # by an earlier try of this pod, or by another that ran both in one process
        if group.state is not State.PENDING and group.outcome is not None:
            if self._turn == 0:
                return FAILED
            reason = outdated(self._plan, self._base, group.first, group.outcome)
            if not reason:
                return self._stands(group, group.outcome)
            self._tell({"event": "again", "step": self._name(group.first), "reason": reason})
            group.state, group.outcome = State.PENDING, None
        else:
            self._follow_record(group)
        return self._produce(group)

    def _rescue(self, group: Group[Result]) -> int:
        """Run a unit after the failure of the run, on what was there above the step that failed."""
        plan = self._plan
        failed = next((first for first in sorted(plan.groups) if plan.groups[first].state is not State.DONE), None)
        if failed is None or group.first <= failed or (group.rescue and group.state is State.DONE):
            return DONE
        if was_stopped(RunStore(self._store).events(self._submission.run)):
            return DONE
        if group.outcome is not None:
            self._tell({"event": "again", "step": self._name(group.first), "reason": BROKEN})
        plan.broken, group.rescue = failed, True
        group.state, group.outcome = State.PENDING, None
        return self._produce(group)

    def _stands(self, group: Group[Result], result: Result) -> int:
        """An earlier result holds also in its place in the order."""
        self._standing.keep(group, self._turn, result)
        if result.failure is not None:
            self._end_run("Failed")
            return FAILED
        self._end_if_last(group)
        return DONE

    def _follow_record(self, group: Group[Result]) -> None:
        """Run units together that an earlier run had to, where this pod can hold them."""
        last = self._results.remembered(group)
        if last > group.last and self._fits(group.first, last):
            self._plan.join(group.first, last)

    # -- a result --------------------------------------------------------------------------------------------------

    def _produce(self, group: Group[Result]) -> int:
        while True:
            bindings = self._plan.bindings(group.first)
            view = view_at(self._plan, self._base, group.first)
            wanted = self._plan.wanted(group.first, group.last)
            found = self._results.find(group, bindings, view, wanted)
            result = found or self._try(group, bindings, view)
            if result is None:
                return STOPPED
            maker = self._maker(group, result)
            if maker is None:
                return self._settle(group, result)
            group = maker

    def _settle(self, group: Group[Result], result: Result) -> int:
        failure = result.failure
        if failure is not None and self._is_worth_retrying(group, failure):
            return AGAIN
        result = self._standing.keep(group, self._turn, result)
        group.state, group.outcome = (State.FAILED if failure else State.DONE), result
        for event in ended(self._submission, group, result):
            self._tell(event)
        if failure is None:
            self._end_if_last(group)
            return DONE
        if self._chain:
            self._end_run("Failed")
        return TIMEOUT if failure.kind == "timeout" else FAILED

    def _is_worth_retrying(self, group: Group[Result], failure: Failure) -> bool:
        number = self._standing.tries(group, self._turn)
        if failure.kind not in RETRY_KINDS or number >= self._submission.units[group.first].options.retries:
            return False
        self._standing.note_try(group, self._turn, uuid.uuid4().hex[:12])
        pause = FIRST_BACKOFF * 2**number
        name = self._name(group.first)
        self._tell({"event": "retry", "step": name, "reason": failure.message, "seconds": pause})
        return True

    def _end_if_last(self, group: Group[Result]) -> None:
        if self._chain and group.last == len(self._submission.units) - 1:
            self._end_run("Succeeded")

    def _end_run(self, phase: str) -> None:
        self._results.keep_observed(list(self._plan.groups.values()))
        failed = self._plan.first_failure()
        if phase == "Failed" and failed is not None and rescued(self._submission, failed):
            return  # the exit hook tells of the end
        self._tell({"event": "run-ended", "phase": phase, "metrics": metrics(self._plan), "reason": ""})

    # -- one attempt -----------------------------------------------------------------------------------------------

    def _try(self, group: Group[Result], bindings: dict[str, OutputRef], view: FileView) -> Result | None:
        """Run a group's cells; None when the pod was asked to stop."""
        token = uuid.uuid4().hex[:12]
        prefetch(self._store, expected(self._unit(group.first).program.reads, bindings))
        task = StepTask(
            program=self._unit(group.first).program,
            attempt=token,
            bindings=bindings,
            store=self._store.url,
            workspace=self._submission.root,
            root=self._submission.root,
            cwd=self._submission.cwd,
            scratch=str(self._place / "scratch"),
        )
        remove_tree(Path(self._submission.root))
        name = self._name(group.first)
        ahead, self._ahead = self._ahead, None
        self._attempt = Attempt(task, view, self._store, lambda event: self._tell({"step": name, **event}), ahead=ahead)
        if self._stopped.is_set():
            self._attempt.cancel()
        started, before = time.time(), cgroup.memory()
        try:
            executed = self._execute(group, self._attempt)
            finished = self._attempt.finish()
        except StateError as error:
            executed = Executed(Failure("internal", str(error), type=type(error).__name__), {})
            finished = Finished(StepResult(), FileReads(), FileDiff(), "", 0.0, mounted=False)
        failure = finished.result.failure or executed.failure
        if failure is None:
            return self._results.commit(group, token, bindings, finished, started)
        if failure.kind == "cancelled":
            return None
        failure = cgroup.explained(failure, before, cgroup.memory())
        return self._results.failed(group, token, bindings, finished, failure, started)

    def _execute(self, group: Group[Result], attempt: Attempt) -> Executed:
        """Run the first unit, and the following ones in the same process as long as an unstorable value joins them."""
        executed = attempt.execute(self._unit(group.first).options.timeout)
        done = group.first
        while executed.failure is None and not self._stopped.is_set():
            problem = self._fuse(group, done, executed.holes)
            if problem is not None:
                return Executed(problem, {})
            if done >= group.last:
                break
            done += 1
            unit = self._unit(done)
            executed = attempt.extend(unit.program, self._plan.bindings(group.first), unit.options.timeout)
        return executed

    # -- values that cannot be stored ------------------------------------------------------------------------------

    def _fuse(self, group: Group[Result], done: int, holes: Mapping[str, str]) -> Failure | None:
        """Take into the group what reads a value that cannot be stored; a failure if this pod cannot run it."""
        plan = self._plan
        read = plan.wanted(group.first, done)
        reasons = {name: why for name, why in holes.items() if name in read}
        last = max(group.last, plan.last_reader(group.first, done, set(holes)))
        if last > group.last and not group.rescue:
            if not self._fits(group.first, last):
                return self._misfit(group, last, reasons)
            self._join(group, last, reasons)
        return self._wait_for_others(group) if done < group.last else None

    def _join(self, group: Group[Result], last: int, reasons: Mapping[str, str]) -> None:
        self._plan.join(group.first, last)
        self._results.remember(group)
        self._tell(
            {
                "event": "fused",
                "step": self._name(group.first),
                "with": [self._name(unit) for unit in range(group.first + 1, group.last + 1)],
                "reason": "; ".join(f"{name} {why}" for name, why in sorted(reasons.items())),
            }
        )

    def _maker(self, group: Group[Result], result: Result) -> Group[Result] | None:
        """Return the group to run if a step has looked up a value that could not be stored: from its maker on."""
        if result.failure is None or result.failure.type != HOLE or group.rescue:
            return None
        plan = self._plan
        bindings = plan.bindings(group.first)
        holes = {name for name in result.reads if name in bindings and bindings[name].kind == "hole"}
        makers = [
            first
            for first, one in plan.groups.items()
            if first < group.first and one.outcome and holes.intersection(one.outcome.outputs)
        ]
        if not makers or not self._fits(min(makers), group.last, pod=group.first):
            return None
        maker = plan.groups[min(makers)]
        self._join(maker, group.last, {name: bindings[name].reason for name in holes})
        maker.state, maker.outcome = State.PENDING, None
        return maker

    def _fits(self, first: int, last: int, pod: int | None = None) -> bool:
        """Tell whether the pod of one unit gives all that a range of units asks for."""
        units = self._submission.units[first : last + 1]
        own = self._unit(first if pod is None else pod).options
        try:
            wanted = together([unit.options for unit in units], [unit.program.unit for unit in units])
        except NbkubeError:
            return False
        return suffices(own, wanted)

    def _misfit(self, group: Group[Result], last: int, reasons: Mapping[str, str]) -> Failure:
        names = [self._name(unit) for unit in range(group.first, last + 1)]
        what = "; ".join(f"{name} {why}" for name, why in sorted(reasons.items()))
        cell = self._unit(group.first).program.cells[-1]
        message = (
            f"{what}. Steps {names[0]} and {names[-1]} would have to share a pod for it, and this pod does not give "
            f"all that they ask for. Give steps {', '.join(names)} the same options, or make the value in {names[-1]}."
        )
        return Failure("unstorable", message, cell=cell.number, cell_id=cell.id, type="UnstorableError")

    def _wait_for_others(self, group: Group[Result]) -> Failure | None:
        """Wait until what the group's later units need is there; it may be made in other pods at this moment."""
        needed = {
            one for unit in range(group.first, group.last + 1) for one in self._unit(unit).after if one < group.first
        }
        deadline = time.monotonic() + _WAIT_FOR_OTHERS
        while missing := [one for one in sorted(needed) if self._plan.group_of(one).state is not State.DONE]:
            if time.monotonic() > deadline or self._stopped.wait(1.0):
                return Failure("internal", f"step {self._name(missing[0])}, which it needs, has not finished")
            self._take_news(group)
        return None

    def _take_news(self, group: Group[Result]) -> None:
        for first, news in self._standing.load().groups.items():
            known = self._plan.groups.get(first)
            if news.last < group.first and news.state is State.DONE and known is not None:
                self._plan.join(first, news.last)
                known.state, known.outcome = news.state, news.outcome

    # -- names -----------------------------------------------------------------------------------------------------

    def _unit(self, index: int) -> UnitPlan:
        return self._submission.units[index]

    def _name(self, index: int) -> str:
        return self._submission.units[index].program.unit


__all__ = ["AGAIN", "DONE", "FAILED", "STOPPED", "TIMEOUT", "TRANSIENT", "UnitRun", "outdated"]
