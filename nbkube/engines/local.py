"""The local engine: every unit in a process of its own, in notebook order or in parallel where that is the same."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from nbkube.engines.budget import Budget, MemoryLimit, machine
from nbkube.engines.model import Listener, Submission
from nbkube.engines.results import Result, Results, ended
from nbkube.engines.schedule import Group, Outcome, Schedule, State
from nbkube.engines.warming import Warming
from nbkube.errors import NbkubeError
from nbkube.runtime import cache
from nbkube.runtime.attempt import Attempt, Executed
from nbkube.runtime.program import Failure, StepTask
from nbkube.runtime.spawning import TemplateProcess
from nbkube.state.model import OutputRef
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import remove_tree
from nbkube.storage.model import ObjectStore

RETRY_KINDS = frozenset({"error", "killed", "timeout", "exit"})
FIRST_BACKOFF = 1.0
HOLE = "HoleError"
BROKEN = "a step before it has failed"


class LocalEngine:
    """Runs submissions as processes of this machine; needs no server and no account.

    `ahead` is a process for the template of its first run, which has been started already.
    """

    def __init__(self, store: ObjectStore, work: Path, view: FileView, ahead: TemplateProcess | None = None) -> None:
        self._store = store
        self._work = work
        self._view = view
        self._ahead = ahead

    def submit(self, submission: Submission, listener: Listener) -> LocalRun:
        """Start a run on threads of this process and return at once."""
        ahead, self._ahead = self._ahead, None
        run = LocalRun(self._store, self._work, self._view, submission, listener, ahead)
        run.start()
        return run


class LocalRun:
    """One run in progress: a scheduler thread, and a thread for every group that is running."""

    def __init__(
        self,
        store: ObjectStore,
        work: Path,
        view: FileView,
        submission: Submission,
        listener: Listener,
        ahead: TemplateProcess | None = None,
    ) -> None:
        self._store = store
        self._base = view
        self._submission = submission
        self._listener = listener
        self._work = work / submission.run
        self._results = Results(store, submission, self._tell_damage)
        self._warming = Warming(submission, view, store, self._work / "template", ahead)
        self._schedule: Schedule[Result] = Schedule(self._results.reordered(), submission.edges, submission.bindings)
        self._budget = Budget(submission.units, machine())
        self._changed = threading.Condition()
        self._threads: dict[int, tuple[str, Attempt | None]] = {}
        self._waiting = 0
        self._cancelled = False
        self._why_cancelled = ""
        self._paused = False
        self._fault: BaseException | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._drive, name=f"run-{submission.run}", daemon=True)

    # -- what callers see ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the scheduler thread."""
        self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if it has not come in time. Raises what made the engine itself fail."""
        ended = self._ended.wait(timeout)
        if ended and self._fault is not None:
            raise self._fault
        return ended

    def cancel(self, reason: str = "") -> None:
        """End every process of the run; finished results are kept."""
        with self._changed:
            self._why_cancelled = self._why_cancelled or reason
            self._cancelled = True
            attempts = [attempt for _, attempt in self._threads.values() if attempt is not None]
            self._changed.notify_all()
        for attempt in attempts:
            attempt.cancel()

    def pause(self) -> None:
        """Start no step and no further attempt at one; what is running goes on to its end."""
        self._set_paused(True)

    def unpause(self) -> None:
        """Go on after `pause`."""
        self._set_paused(False)

    def _set_paused(self, paused: bool) -> None:
        with self._changed:
            if self._paused is paused or self._cancelled or self._ended.is_set():
                return
            self._paused = paused
            self._listener({"event": "run-paused" if paused else "run-resumed"})
            self._changed.notify_all()

    def bindings(self) -> dict[str, OutputRef]:
        """Return the variables at the notebook's end, as far as the run has come."""
        with self._changed:
            return self._schedule.bindings(len(self._submission.units))

    def files(self) -> FileView:
        """Return the project's files at the notebook's end, as far as the run has come."""
        with self._changed:
            return self._view_at(len(self._submission.units))

    def metrics(self) -> dict[str, Any]:
        """Return the metrics of the steps that have finished."""
        with self._changed:
            return self._metrics()

    def failure(self) -> Failure | None:
        """Return why the run failed, where the reason is a step."""
        with self._changed:
            failed = self._schedule.first_failure()
            outcome = None if failed is None else self._schedule.groups[failed].outcome
            return outcome.failure if outcome else None

    # -- scheduling ------------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        try:
            with self._changed:
                while self._advance():
                    self._changed.wait()
        except BaseException as fault:  # noqa: BLE001 - handed to the thread that waits
            self._fault = fault
        finally:
            phase = self._phase()
            self._results.keep_observed(list(self._schedule.groups.values()))
            self._warming.close()
            remove_tree(self._work)
            self._listener({"event": "run-ended", "phase": phase, **self._summary()})
            self._ended.set()

    def _advance(self) -> bool:
        """Judge, start what can start; False when the run is over."""
        plan = self._schedule
        if self._fault is not None:
            self._cancel_running(lambda _: True)
        elif not self._cancelled:
            self._judge()
            failed = plan.first_failure()
            if failed is not None:
                self._cancel_running(lambda first: first > failed and not plan.group_of(first).rescue)
                if plan.broken is None and plan.final == failed and not self._threads:
                    plan.broken = failed
            limit = 1 if self._submission.adversarial else self._submission.parallel
            while not self._paused and len(self._threads) - self._waiting < limit:
                # Asked anew each time: starting one group may take others into it.
                group = self._next_group()
                if group is None:
                    break
                self._launch(group)
        return bool(self._threads) or not (self._cancelled or self._fault is not None or self._settled())

    def _next_group(self) -> Group[Result] | None:
        """Return a group that can start now: its predecessors have finished and its requests fit."""
        groups = self._schedule.groups
        idle = len(self._threads) == self._waiting  # what waits may wait for this one
        running = [] if idle else [(first, groups[first].last) for first in self._threads if first in groups]
        ready = self._schedule.ready(reverse=self._submission.adversarial)
        return next((one for one in ready if self._budget.fits(one.first, one.last, running)), None)

    def _settled(self) -> bool:
        plan = self._schedule
        return plan.final >= len(plan.units) or next(iter(plan.ready()), None) is None

    def _judge(self) -> None:
        """Move the line below which everything is final; send back what used an old version."""
        plan = self._schedule
        while plan.final < len(plan.units):
            group = plan.groups[plan.final]
            if group.state not in (State.DONE, State.FAILED) or group.outcome is None:
                return
            if group.early:
                group.early = False
                reason = self._outdated(group.first, group.outcome)
                if reason:
                    self._listener({"event": "again", "step": self._name(group.first), "reason": reason})
                    group.state, group.outcome = State.PENDING, None
                    return
            if group.state is State.FAILED:
                return
            plan.final = group.last + 1

    def _outdated(self, unit: int, outcome: Outcome) -> str | None:
        """Tell whether a unit would see something else now than what its outcome was made from."""
        bindings = self._schedule.bindings(unit)
        return cache.mismatch(outcome.reads, outcome.touched, bindings) or matches(outcome.files, self._view_at(unit))

    def _launch(self, group: Group[Result]) -> None:
        plan = self._schedule
        if not group.rescue:
            self._follow_record(group)
        elif group.runs:
            self._listener({"event": "again", "step": self._name(group.first), "reason": BROKEN})
        group.state = State.RUNNING
        group.early = plan.final < group.first and not group.rescue
        group.runs += 1
        token = uuid.uuid4().hex[:12]
        self._threads[group.first] = (token, None)
        thread = threading.Thread(target=self._work_on, args=(group, token), name=self._name(group.first), daemon=True)
        thread.start()

    def _follow_record(self, group: Group[Result]) -> None:
        """Run units together that an earlier run had to."""
        last = self._results.remembered(group)
        later = [self._schedule.groups.get(index) for index in range(group.last + 1, last + 1)]
        if later and all(one is not None and one.state is State.PENDING for one in later):
            self._schedule.join(group.first, last)

    def _cancel_running(self, which: Callable[[int], bool]) -> None:
        for first, (_, attempt) in self._threads.items():
            if attempt is not None and which(first):
                attempt.cancel()

    # -- one group -------------------------------------------------------------------------------------------------

    def _work_on(self, group: Group[Result], token: str) -> None:
        fault: BaseException | None = None
        result: Result | None = None
        try:
            result = self._produce(group, token)
        except BaseException as raised:  # noqa: BLE001 - handed to the thread that waits
            fault = raised
        with self._changed:
            current = self._threads.get(group.first, ("", None))[0] == token
            if current:
                del self._threads[group.first]
                self._settle(group, result, fault)
            self._changed.notify_all()

    def _settle(self, group: Group[Result], result: Result | None, fault: BaseException | None) -> None:
        if fault is not None and self._fault is None and not self._cancelled:
            self._fault = fault
        if result is None:
            group.state = State.PENDING
            return
        holes = result.failure is not None and result.failure.type == HOLE and not group.rescue
        if holes and self._join_to_maker(group, result):
            return
        self._warming.served(group.first, group.last)
        group.outcome = result
        group.state = State.FAILED if result.failure else State.DONE
        self._report(group, result)

    def _join_to_maker(self, group: Group[Result], result: Result) -> bool:
        """A step has looked up a value that could not be stored: run it again in the process that makes the value."""
        plan = self._schedule
        bindings = plan.bindings(group.first)
        holes = {name for name in result.reads if name in bindings and bindings[name].kind == "hole"}
        makers = [
            first for first, one in plan.groups.items() if one.outcome and holes.intersection(one.outcome.outputs)
        ]
        makers = [first for first in makers if first < group.first]
        if not makers:
            return False
        maker = plan.groups[min(makers)]
        self._fuse_groups(maker, group.last, {name: bindings[name].reason for name in holes})
        maker.state, maker.outcome = State.PENDING, None
        plan.final = min(plan.final, maker.first)
        return True

    def _fuse_groups(self, group: Group[Result], last: int, holes: Mapping[str, str]) -> None:
        for swallowed in self._schedule.join(group.first, last):
            _, running = self._threads.pop(swallowed.first, ("", None))
            if running is not None:
                running.cancel()
        self._results.remember(group)
        self._listener(
            {
                "event": "fused",
                "step": self._name(group.first),
                "with": [self._name(unit) for unit in range(group.first + 1, group.last + 1)],
                "reason": "; ".join(f"{name} {why}" for name, why in sorted(holes.items())),
            }
        )

    def _produce(self, group: Group[Result], token: str) -> Result | None:
        """Find or make a group's result; None when it was cancelled."""
        with self._changed:
            bindings = self._schedule.bindings(group.first)
            view = self._view_at(group.first)
            wanted = self._schedule.wanted(group.first, group.last)
        found = self._results.find(group, bindings, view, wanted)
        retries = 0 if found else self._submission.units[group.first].options.retries
        number = 0
        while found is None or (number < retries and self._is_worth_retrying(group, found, number)):
            found = self._attempt(group, token, bindings, view)
            if found is None or found.failure is None:
                break
            number += 1
        return found

    def _is_worth_retrying(self, group: Group[Result], result: Result, number: int) -> bool:
        """Wait a while before the next attempt; False if the failure came from starting too early."""
        failure = result.failure
        if failure is None or failure.kind not in RETRY_KINDS:
            return False
        pause = FIRST_BACKOFF * 2**number
        with self._changed:
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._cancelled or group.rescue or self._schedule.final >= group.first)
            self._waiting -= 1
            if self._cancelled or (group.early and self._outdated(group.first, result)):
                return False
            group.early = False
            self._listener(
                {"event": "retry", "step": self._name(group.first), "reason": failure.message, "seconds": pause}
            )
            over = self._changed.wait_for(lambda: self._cancelled, pause)
            return (
                not over and self._changed.wait_for(lambda: self._cancelled or not self._paused) and not self._cancelled
            )

    def _attempt(
        self, group: Group[Result], token: str, bindings: dict[str, OutputRef], view: FileView
    ) -> Result | None:
        with MemoryLimit(self._submission.units[group.first : group.last + 1]) as limit:
            return self._limited_attempt(group, token, bindings, view, limit)

    def _limited_attempt(
        self, group: Group[Result], token: str, bindings: dict[str, OutputRef], view: FileView, limit: MemoryLimit
    ) -> Result | None:
        first = self._submission.units[group.first]
        place = self._work / f"{first.program.unit}-{token}-{uuid.uuid4().hex[:6]}"
        task = StepTask(
            program=first.program,
            attempt=token,
            bindings=bindings,
            store=self._store.url,
            workspace=str(place / "project"),
            root=self._submission.root,
            cwd=self._submission.cwd,
            scratch=str(place / "scratch"),
            memory_group=limit.entrance,
        )
        name = self._name(group.first)

        def listen(event: Mapping[str, Any]) -> None:
            self._listener({"step": name, **event})
            limit.watch(event, attempt)
            if event["event"] == "started":
                self._warming.served(group.first, group.last)

        with self._changed:
            if not self._is_current(group, token):
                return None
            warm = self._warming.template(group.first, self._pending())
            attempt = Attempt(task, view, self._store, listen, warm=warm)
            self._threads[group.first] = (token, attempt)
        started = time.time()
        try:
            executed = self._execute(group, attempt, first.options.timeout)
            finished = attempt.finish()
        finally:
            remove_tree(place)
        with self._changed:
            if not self._is_current(group, token):
                return None
        failure = limit.judged(finished.result.failure or executed.failure)
        if failure is None:
            return self._results.commit(group, token, bindings, finished, started)
        if failure.kind == "cancelled":
            return None
        return self._results.failed(group, token, bindings, finished, failure, started)

    def _pending(self) -> list[int]:
        return [first for first, group in self._schedule.groups.items() if group.state is State.PENDING]

    def _is_current(self, group: Group[Result], token: str) -> bool:
        """Tell whether a thread's group is still its own: not cancelled, not swallowed by another."""
        return not self._cancelled and self._threads.get(group.first, ("", None))[0] == token

    def _execute(self, group: Group[Result], attempt: Attempt, timeout: float | None) -> Executed:
        """Run the first unit, and the following ones in the same process as long as an unstorable value joins them."""
        executed = attempt.execute(timeout)
        done = group.first
        while executed.failure is None:
            last = self._fuse(group, done, executed.holes)
            if last is None or done >= last:
                break
            done += 1
            unit = self._submission.units[done]
            with self._changed:
                bindings = self._schedule.bindings(group.first)
            executed = attempt.extend(unit.program, bindings, unit.options.timeout)
        return executed

    def _fuse(self, group: Group[Result], done: int, holes: Mapping[str, str]) -> int | None:
        """Return the unit up to which the living process must go on; None when cancelled. Waits for what it needs."""
        with self._changed:
            plan = self._schedule
            read = plan.wanted(group.first, done)
            last = max(group.last, plan.last_reader(group.first, done, set(holes)))
            if last > group.last and not group.rescue:
                self._fuse_groups(group, last, {name: why for name, why in holes.items() if name in read})
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._cancelled or plan.first_failure() is not None or plan.predecessors_done(group)
            )
            self._waiting -= 1
            return None if self._cancelled else group.last

    def _view_at(self, unit: int) -> FileView:
        view = self._base
        for outcome in self._schedule.before(unit):
            view = view.with_diff(outcome.diff)
        return view

    # -- telling ---------------------------------------------------------------------------------------------------

    def _tell_damage(self, what: str) -> None:
        self._listener({"event": "warning", "message": f"{what}; what it held is made again"})

    def _name(self, unit: int) -> str:
        return self._submission.units[unit].program.unit

    def _report(self, group: Group[Result], result: Result) -> None:
        for event in ended(self._submission, group, result):
            self._listener(event)

    def _phase(self) -> str:
        if self._cancelled:
            return "Cancelled"
        return "Succeeded" if self._fault is None and self._schedule.final >= len(self._schedule.units) else "Failed"

    def _summary(self) -> dict[str, Any]:
        fault = self._fault
        reason = str(fault) if isinstance(fault, NbkubeError) else (repr(fault) if fault else self._why_cancelled)
        return {"metrics": self._metrics(), "reason": reason}

    def _metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for outcome in self._schedule.before(len(self._submission.units)):
            found.update(outcome.metrics or {})
        return found


__all__ = ["LocalEngine", "LocalRun"]
