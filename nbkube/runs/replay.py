"""Events -> the state of a run. Late, doubled and reordered events do no harm: what is finished stays finished until
the engine itself sends a step back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

from msgspec.structs import replace

from nbkube.runs.model import Phase, Process, Run, RunEvent, RunState, StepRun

Alive = Callable[[Process], bool | None]

_PATIENCE = 120.0  # seconds without news after which a run on another machine counts as lost


def replay(run: Run, events: Iterable[RunEvent], alive: Alive, now: float | None = None) -> RunState:
    """Return the state of a run.

    Args:
        run: the frozen submission.
        events: all events known, in their order.
        alive: tells whether a process still lives (None: cannot tell).
        now: present time, for events of machines that cannot be asked.
    """
    story = Story(run)
    for event in events:
        story.take(event)
    return story.state(alive, time.time() if now is None else now)


class Story:
    """A run while its events are taken in one by one."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._steps = {unit.name: StepRun(unit.name, unit.step or unit.name, unit.kind) for unit in run.units}
        self._phase = Phase.PENDING
        self._reason = ""
        self._started = 0.0
        self._ended = 0.0
        self._last = 0.0
        self._metrics: dict[str, Any] = {}
        self._process: Process | None = None

    def take(self, event: RunEvent) -> None:
        """Take in the next event."""
        self._last = max(self._last, event.time)
        if not event.step:
            self._take_run(event)
        elif event.event == "fused":
            for name in (event.step, *event.with_steps):
                others = tuple(one for one in (event.step, *event.with_steps) if one != name)
                self._change(name, fused=others)
        elif event.step in self._steps:
            self._take_step(event, self._steps[event.step])

    def _take_run(self, event: RunEvent) -> None:
        if event.event == "run-started":
            # Also after an end: an interrupted run that is taken up again.
            self._phase, self._reason, self._ended = Phase.RUNNING, "", 0.0
            self._started = self._started or event.time
            self._process = event.process
        elif event.event == "run-ended" and event.phase is not None:
            self._phase, self._reason, self._ended = event.phase, event.reason, event.time
            self._metrics = event.metrics
        elif event.event == "run-paused" and self._phase is Phase.RUNNING:
            self._phase, self._reason = Phase.PAUSED, event.reason
        elif event.event == "run-resumed" and self._phase is Phase.PAUSED:
            self._phase, self._reason = Phase.RUNNING, ""

    def _take_step(self, event: RunEvent, step: StepRun) -> None:
        if event.attempt < step.attempts and event.attempt:
            return  # news of an attempt that has been given up
        newer = event.attempt > step.attempts
        if event.event == "started":
            if newer or not step.phase.ended:
                self._steps[step.name] = StepRun(
                    step.name, step.step, step.kind, Phase.RUNNING,
                    started=event.time, attempts=max(event.attempt, step.attempts), fused=step.fused,
                )  # fmt: skip
        elif event.event == "step-ended":
            self._end_step(event, step)
        elif event.event in ("again", "retry"):
            self._steps[step.name] = StepRun(
                step.name, step.step, step.kind, reason=event.reason, attempts=step.attempts, fused=step.fused
            )
        elif not step.phase.ended:
            self._take_progress(event, step)

    def _end_step(self, event: RunEvent, step: StepRun) -> None:
        if event.phase is None or step.phase.ended:
            return
        failure = event.failure
        self._change(
            step.name,
            phase=event.phase,
            reason=event.reason or (failure.message if failure else ""),
            started=step.started or event.time,
            ended=event.time,
            seconds=event.seconds,
            cpu_seconds=event.cpu_seconds,
            peak_memory=max(event.peak_memory, step.peak_memory),
            gpu_memory=event.gpu_memory,
            gpus=event.gpus,
            cached=event.cached,
            cell=failure.cell if failure else None,
            manifest=event.manifest,
            executed=event.executed,
            log=event.log,
            observed=event.observed,
            failure=failure,
        )

    def _take_progress(self, event: RunEvent, step: StepRun) -> None:
        if event.event == "memory":
            self._change(step.name, peak_memory=max(step.peak_memory, event.bytes))
        elif event.event == "cell" and event.cell is not None:
            if event.state == "started":
                self._change(step.name, cell=event.cell)
            elif event.state == "finished" and event.cell not in step.cells_done:
                self._change(step.name, cells_done=(*step.cells_done, event.cell))

    def _change(self, name: str, **values: Any) -> None:
        if name in self._steps:
            self._steps[name] = replace(self._steps[name], **values)

    @property
    def ended(self) -> bool:
        """Whether the run's end has been told, and no new beginning after it."""
        return self._phase.ended

    def state(self, alive: Alive, now: float) -> RunState:
        """Return the state of the run as far as it has been told."""
        phase, reason = self._phase, self._reason
        if not phase.ended:
            lost = self._lost(alive, now)
            if lost:
                phase, reason = Phase.UNKNOWN, lost
        steps = tuple(_settled(step, phase) for step in self._steps.values())
        return RunState(
            self._run, phase, reason, self._started, self._ended, self._last, steps, self._metrics, self._process
        )

    def _lost(self, alive: Alive, now: float) -> str:
        """Return why a run that has not ended is not going on either; "" if it is."""
        seen = time.strftime("%H:%M", time.localtime(self._last or self._run.created))
        if self._run.engine != "local":
            silent = now - max(self._last, self._run.created) > _PATIENCE
            return f"no news from the cluster since {seen}; it may still be running there." if silent else ""
        if self._process is None:
            silent = now - self._run.created > _PATIENCE
            return "it was never started. `nbkube resume` starts it." if silent else ""
        living = alive(self._process)
        if living is None:
            where = self._process.host.partition("/")[0]
            silent = now - self._last > _PATIENCE
            return f"no news from {where} since {seen}; it may still be running there." if silent else ""
        if not living:
            gone = f"interrupted: its process is gone (last seen {seen})."
            return f"{gone} Finished steps are kept; `nbkube resume` goes on."
        return ""


def _settled(step: StepRun, run: Phase) -> StepRun:
    """Return a step as it stands once the run has ended or been lost."""
    if step.phase.ended or not (run.ended or run is Phase.UNKNOWN):
        return step
    if step.phase is Phase.RUNNING:
        return replace(step, phase=Phase.UNKNOWN if run is Phase.UNKNOWN else Phase.CANCELLED)
    if run.ended:
        why = "the run was cancelled" if run is Phase.CANCELLED else "an earlier step failed"
        return replace(step, phase=Phase.SKIPPED, reason=step.reason or why)
    return step
