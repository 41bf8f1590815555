"""The local engine: every unit in a process of its own, in notebook order or in parallel where that is the same."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from nbkube.engines.model import Listener, Submission
from nbkube.engines.schedule import Group, Outcome, Schedule, State
from nbkube.errors import NbkubeError
from nbkube.runtime import cache
from nbkube.runtime.attempt import Attempt, Executed, Finished
from nbkube.runtime.commit import commit, distributions, installed_versions
from nbkube.runtime.program import SCHEMA, Failure, StepManifest, StepProgram, StepTask
from nbkube.state.model import FileDiff, OutputRef
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import remove_tree
from nbkube.storage.model import ObjectStore

RETRY_KINDS = frozenset({"error", "killed", "timeout", "exit"})
FIRST_BACKOFF = 1.0


@dataclass(frozen=True)
class Result(Outcome):
    """An outcome with what a run shows of it."""

    manifest: str = ""
    cached: bool = False
    seconds: float = 0.0
    peak_memory: int = 0
    cpu_seconds: float = 0.0
    metrics: Mapping[str, Any] | None = None
    executed: str = ""
    log: str = ""


class LocalEngine:
    """Runs submissions as processes of this machine; needs no server and no account."""

    def __init__(self, store: ObjectStore, work: Path, view: FileView) -> None:
        self._store = store
        self._work = work
        self._view = view

    def submit(self, submission: Submission, listener: Listener) -> LocalRun:
        """Start a run on threads of this process and return at once."""
        run = LocalRun(self._store, self._work, self._view, submission, listener)
        run.start()
        return run


class LocalRun:
    """One run in progress: a scheduler thread, and a thread for every group that is running."""

    def __init__(
        self, store: ObjectStore, work: Path, view: FileView, submission: Submission, listener: Listener
    ) -> None:
        self._store = store
        self._base = view
        self._submission = submission
        self._listener = listener
        self._work = work / submission.run
        self._schedule: Schedule[Result] = Schedule(submission.units, submission.edges)
        self._changed = threading.Condition()
        self._threads: dict[int, tuple[str, Attempt | None]] = {}
        self._waiting = 0
        self._cancelled = False
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

    def cancel(self) -> None:
        """End every process of the run; finished results are kept."""
        with self._changed:
            self._cancelled = True
            attempts = [attempt for _, attempt in self._threads.values() if attempt is not None]
            self._changed.notify_all()
        for attempt in attempts:
            attempt.cancel()

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
                self._cancel_running(lambda first: first > failed)
            limit = 1 if self._submission.adversarial else self._submission.parallel
            for group in list(plan.ready(reverse=self._submission.adversarial)):
                if len(self._threads) - self._waiting >= limit:
                    break
                self._launch(group)
        return bool(self._threads) or not (self._cancelled or self._fault is not None or self._settled())

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
                reason = self._outdated(group)
                if reason:
                    self._listener({"event": "again", "step": self._name(group.first), "reason": reason})
                    group.state, group.outcome = State.PENDING, None
                    return
            if group.state is State.FAILED:
                return
            plan.final = group.last + 1

    def _outdated(self, group: Group[Result]) -> str | None:
        outcome = group.outcome
        if outcome is None:
            return None
        bindings = self._schedule.bindings(group.first)
        return cache.mismatch(outcome.reads, outcome.touched, bindings) or matches(
            outcome.files, self._view_at(group.first)
        )

    def _launch(self, group: Group[Result]) -> None:
        plan = self._schedule
        self._follow_record(group)
        group.state = State.RUNNING
        group.early = plan.final < group.first
        group.runs += 1
        token = uuid.uuid4().hex[:12]
        self._threads[group.first] = (token, None)
        thread = threading.Thread(target=self._work_on, args=(group, token), name=self._name(group.first), daemon=True)
        thread.start()

    def _cancel_running(self, which: Any) -> None:
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
        group.outcome = result
        group.state = State.FAILED if result.failure else State.DONE
        self._report(group, result)

    def _produce(self, group: Group[Result], token: str) -> Result | None:
        """Find or make a group's result; None when it was cancelled."""
        with self._changed:
            bindings = self._schedule.bindings(group.first)
            view = self._view_at(group.first)
            wanted = self._schedule.wanted(group.first, group.last)
        hit = self._look_up(group, bindings, view, wanted)
        if hit is not None:
            return hit
        retries = self._submission.units[group.first].options.retries
        for number in range(retries + 1):
            result = self._attempt(group, token, bindings, view)
            failure = result.failure if result else None
            if failure is None or failure.kind not in RETRY_KINDS or number == retries:
                return result
            pause = FIRST_BACKOFF * 2**number
            self._listener(
                {"event": "retry", "step": self._name(group.first), "reason": failure.message, "seconds": pause}
            )
            with self._changed:
                if self._changed.wait_for(lambda: self._cancelled, pause):
                    return None
        return None

    def _programs(self, group: Group[Result]) -> list[StepProgram]:
        return [unit.program for unit in self._submission.units[group.first : group.last + 1]]

    def _key(self, group: Group[Result], bindings: Mapping[str, OutputRef]) -> str:
        units = self._submission.units[group.first : group.last + 1]
        private = not self._submission.use_cache or any(not unit.options.cache for unit in units)
        salt = self._submission.run if private else ""
        return cache.step_key([unit.program for unit in units], bindings, salt=salt)

    def _look_up(
        self, group: Group[Result], bindings: Mapping[str, OutputRef], view: FileView, wanted: set[str]
    ) -> Result | None:
        key = self._key(group, bindings)
        found = cache.find(self._store, key, bindings, lambda files: matches(files, view), installed_versions, wanted)
        if found is None:
            return None
        return _result(found, self._record_name(found), cached=True)

    def _attempt(
        self, group: Group[Result], token: str, bindings: dict[str, OutputRef], view: FileView
    ) -> Result | None:
        first = self._submission.units[group.first]
        place = self._work / f"{first.program.unit}-{token}-{group.runs}"
        task = StepTask(
            program=first.program,
            attempt=token,
            bindings=bindings,
            store=self._store.url,
            workspace=str(place / "project"),
            root=self._submission.root,
            cwd=self._submission.cwd,
            scratch=str(place / "scratch"),
        )
        name = self._name(group.first)
        attempt = Attempt(task, view, self._store, lambda event: self._listener({"step": name, **event}))
        with self._changed:
            if self._cancelled or self._threads.get(group.first, ("", None))[0] != token:
                return None
            self._threads[group.first] = (token, attempt)
        started = time.time()
        try:
            executed = self._execute(group, attempt, first.options.timeout)
            finished = attempt.finish()
        finally:
            remove_tree(place)
        with self._changed:
            if self._cancelled or self._threads.get(group.first, ("", None))[0] != token:
                return None
        failure = finished.result.failure or executed.failure
        if failure is not None and failure.kind == "cancelled":
            return None
        return self._publish(group, token, bindings, finished, failure, started)

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
            last = max(group.last, plan.last_reader(group.first, done, set(holes)))
            if last > group.last:
                for swallowed in plan.join(group.first, last):
                    _, running = self._threads.pop(swallowed.first, ("", None))
                    if running is not None:
                        running.cancel()
                self._remember(group)
                self._listener(
                    {
                        "event": "fused",
                        "step": self._name(group.first),
                        "with": [self._name(unit) for unit in range(group.first + 1, group.last + 1)],
                        "reason": "; ".join(f"{name} {why}" for name, why in sorted(holes.items())),
                    }
                )
            self._waiting += 1
            self._changed.notify_all()
            self._changed.wait_for(
                lambda: self._cancelled or plan.first_failure() is not None or plan.predecessors_done(group)
            )
            self._waiting -= 1
            return None if self._cancelled else group.last

    # -- results ---------------------------------------------------------------------------------------------------

    def _publish(
        self,
        group: Group[Result],
        token: str,
        bindings: dict[str, OutputRef],
        finished: Finished,
        failure: Failure | None,
        started: float,
    ) -> Result:
        result = finished.result
        versions = {} if failure else distributions(result.modules, result.module_files)
        key = self._key(group, bindings)
        manifest = StepManifest(
            schema=SCHEMA,
            key=key,
            units=tuple(program.unit for program in self._programs(group)),
            attempt=token,
            outputs={} if failure else result.outputs,
            reads=result.reads,
            touched=result.touched,
            files=finished.reads,
            diff=FileDiff() if failure else finished.diff,
            distributions=versions,
            metrics=result.metrics,
            executed=result.executed,
            log=finished.log,
            seconds=finished.seconds,
            cpu_seconds=result.cpu_seconds,
            peak_memory=result.peak_memory,
            started=started,
            wrote_outside=result.wrote_outside,
        )
        if failure is not None:
            return replace(_result(manifest, ""), failure=failure)
        proof = cache.step_proof(manifest.reads, manifest.files, manifest.distributions)
        winner = commit(self._store, key, proof, manifest)
        # A lost race: the steps after this one use what the manifest holds, never what this process made.
        return _result(winner, self._record_name(winner))

    def _record_name(self, manifest: StepManifest) -> str:
        proof = cache.step_proof(manifest.reads, manifest.files, manifest.distributions)
        return f"steps/{manifest.key}/{proof}.json"

    def _remember(self, group: Group[Result]) -> None:
        """Keep for the next run that these units belong together; advice only, so the last writer may win."""
        programs = self._programs(group)
        record = msgspec.json.encode([program.digest for program in programs])
        self._store.write(f"records/{programs[0].digest}.json", record)

    def _follow_record(self, group: Group[Result]) -> None:
        data = self._store.read(f"records/{self._programs(group)[0].digest}.json")
        if data is None or group.last > group.first:
            return
        known: list[str] = msgspec.json.decode(data, type=list[str])
        units = self._submission.units[group.first : group.first + len(known)]
        if [unit.program.digest for unit in units] != known:
            return
        last = group.first + len(known) - 1
        inside = [self._schedule.groups.get(index) for index in range(group.first + 1, last + 1)]
        if all(one is not None and one.state is State.PENDING and one.last == one.first for one in inside):
            self._schedule.join(group.first, last)

    def _view_at(self, unit: int) -> FileView:
        view = self._base
        for outcome in self._schedule.before(unit):
            view = view.with_diff(outcome.diff)
        return view

    # -- telling ---------------------------------------------------------------------------------------------------

    def _name(self, unit: int) -> str:
        return self._submission.units[unit].program.unit

    def _report(self, group: Group[Result], result: Result) -> None:
        phase = "Failed" if result.failure else ("Cached" if result.cached else "Succeeded")
        for unit in range(group.first, group.last + 1):
            self._listener(
                {
                    "event": "step-ended",
                    "step": self._name(unit),
                    "phase": phase,
                    "seconds": result.seconds,
                    "cpu_seconds": result.cpu_seconds,
                    "peak_memory": result.peak_memory,
                    "cached": result.cached,
                    "manifest": result.manifest,
                    "executed": result.executed,
                    "log": result.log,
                    "failure": msgspec.to_builtins(result.failure) if result.failure else None,
                }
            )

    def _phase(self) -> str:
        if self._cancelled:
            return "Cancelled"
        return "Succeeded" if self._fault is None and self._schedule.final >= len(self._schedule.units) else "Failed"

    def _summary(self) -> dict[str, Any]:
        fault = self._fault
        reason = str(fault) if isinstance(fault, NbkubeError) else (repr(fault) if fault else "")
        return {"metrics": self._metrics(), "reason": reason}

    def _metrics(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for outcome in self._schedule.before(len(self._submission.units)):
            found.update(outcome.metrics or {})
        return found


def _result(manifest: StepManifest, name: str, *, cached: bool = False) -> Result:
    return Result(
        outputs=manifest.outputs,
        diff=manifest.diff,
        reads=manifest.reads,
        touched=manifest.touched,
        files=manifest.files,
        manifest=name,
        cached=cached,
        seconds=0.0 if cached else manifest.seconds,
        peak_memory=manifest.peak_memory,
        cpu_seconds=manifest.cpu_seconds,
        metrics=manifest.metrics,
        executed=manifest.executed,
        log=manifest.log,
    )


def clean_work(work: Path, *, older_than: float = 86400.0) -> None:
    """Remove workspaces that runs which died have left behind, by age in seconds."""
    if not work.is_dir():
        return
    limit = time.time() - older_than
    for entry in work.iterdir():
        if entry.stat().st_mtime < limit:
            remove_tree(entry)


__all__ = ["LocalEngine", "LocalRun", "clean_work"]
