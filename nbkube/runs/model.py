"""What a run is and what happened to it. `Run` is frozen at submission; everything after it is an event."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from nbkube.dataflow.model import Dependency
from nbkube.runtime.program import Failure


class Phase(enum.StrEnum):
    """Where a run or step is. Unknown means that contact was lost, which is not failure."""

    PENDING = "Pending"
    RUNNING = "Running"
    PAUSED = "Paused"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    CACHED = "Cached"
    SKIPPED = "Skipped"
    UNKNOWN = "Unknown"

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come."""
        return self not in (Phase.PENDING, Phase.RUNNING, Phase.PAUSED, Phase.UNKNOWN)


class Process(msgspec.Struct, frozen=True, omit_defaults=True):
    """A process of a machine, told apart from a later one with the same number by its start."""

    pid: int
    start: str = ""
    boot: str = ""
    host: str = ""


class RunUnit(msgspec.Struct, frozen=True, omit_defaults=True):
    """One unit of the frozen submission: its program's digest, what it waits for, its cells' numbers, its options."""

    name: str
    step: str = ""
    kind: str = "step"
    program: str = ""
    after: tuple[str, ...] = ()
    cells: tuple[int, ...] = ()
    options: dict[str, Any] = {}


class Run(msgspec.Struct, frozen=True, omit_defaults=True):
    """A submission as it was made; never changed. `notebook` is relative to `root`, `created` seconds since 1970.

    On a cluster `submission` is the digest of what its pods were given, `workflow` the Workflow's name.
    A run that began with the variables of a live kernel names the step it began with in `begins`.
    """

    id: str
    created: float
    notebook: str
    notebook_digest: str = ""
    name: str = ""
    parameters: dict[str, Any] = {}
    units: tuple[RunUnit, ...] = ()
    edges: tuple[Dependency, ...] = ()
    engine: str = "local"
    experiment: str = ""
    profile: str = ""
    root: str = ""
    use_cache: bool = True
    version: str = ""
    submission: str = ""
    workflow: str = ""
    begins: str = ""


class RunEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that happened, at `time` (seconds since 1970). `event` is one of

    run-started (process, or workflow), run-paused, run-resumed, run-ended (phase, metrics, reason)
    started, cell (cell, state, seconds), memory (bytes)              an attempt at a step
    step-ended (phase and all that is known of the result)            the step's result stands, for now
    again (reason), retry (reason)                                    the step goes back to Pending
    fused (with_steps, reason)                                        steps that one process runs together
    alive                                                             a pod has nothing new to say, and lives
    warning (message)                                                 something a person should know
    asked (state: stop, pause or resume)                              what a person wants; the supervisor acts on it

    `attempt` counts the attempts at a step in this run from 1 (0: none was needed).
    """

    event: str
    time: float = 0.0
    step: str = ""
    attempt: int = 0
    phase: Phase | None = None
    reason: str = ""
    message: str = ""
    cell: int | None = None
    state: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    gpus: int = 0
    bytes: int = 0
    cached: bool = False
    manifest: str = ""
    executed: str = ""
    log: str = ""
    observed: str = ""
    failure: Failure | None = None
    metrics: dict[str, Any] = {}
    with_steps: tuple[str, ...] = msgspec.field(default=(), name="with")
    process: Process | None = None
    workflow: str = ""


class Live(msgspec.Struct, frozen=True, omit_defaults=True):
    """A piece of what a step shows while it runs: text of `stream`, or a notebook `output`, of a cell (None: none).

    `step` is not kept with each piece: the record's name has it.
    """

    time: float = 0.0
    event: str = "log"
    step: str = ""
    stream: str = ""
    text: str = ""
    cell: int | None = None
    output: dict[str, Any] | None = None
    update: Any = None
    wait: bool = False


class StepRun(msgspec.Struct, frozen=True, omit_defaults=True):
    """What has become of one unit in a run.

    `cell` is the cell being run, `cells_done` those finished. `manifest` names the record of the result, `executed`
    and `log` are digests. `attempts` counts processes started in this run. `observed` is the digest of what an attempt
    that failed was seen to do (JSON: `StepManifest`); nobody finds it as a result. `gpus` and `gpu_memory` (bytes) are
    the most that NVIDIA's driver has told of at a time; 0 where it tells nothing.
    """

    name: str
    step: str = ""
    kind: str = "step"
    phase: Phase = Phase.PENDING
    reason: str = ""
    started: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    gpus: int = 0
    cached: bool = False
    attempts: int = 0
    cell: int | None = None
    cells_done: tuple[int, ...] = ()
    manifest: str = ""
    executed: str = ""
    log: str = ""
    observed: str = ""
    failure: Failure | None = None
    fused: tuple[str, ...] = ()


class RunState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run and what is known of it now; `last_seen` is the time of the newest event."""

    run: Run
    phase: Phase
    reason: str = ""
    started: float = 0.0
    ended: float = 0.0
    last_seen: float = 0.0
    steps: tuple[StepRun, ...] = ()
    metrics: dict[str, Any] = {}
    process: Process | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def seconds(self) -> float:
        """Seconds from start to end (to the newest event while it goes on)."""
        return max(0.0, (self.ended or self.last_seen) - self.started) if self.started else 0.0

    @property
    def peak_memory(self) -> int:
        """The largest peak of any step, in bytes."""
        return max((step.peak_memory for step in self.steps), default=0)

    @property
    def repeated(self) -> tuple[str, ...]:
        """The steps that a resumed run looks at anew: those that failed, and those that ran because of a failure."""
        failed = False
        found = []
        for unit, step in zip(self.run.units, self.steps, strict=True):
            rescue = failed and step.phase.ended and bool(unit.options.get("after-failure"))
            if step.phase is Phase.FAILED or rescue:
                found.append(step.name)
            failed = failed or step.phase is Phase.FAILED
        return tuple(found)

    def step(self, name: str) -> StepRun | None:
        """Return a unit by its name."""
        return next((step for step in self.steps if step.name == name), None)


class RunNotes(msgspec.Struct, frozen=True, omit_defaults=True):
    """What people have written on a run."""

    labels: tuple[str, ...] = ()
    note: str = ""


class RunRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """A run as lists show it.

    `root` is its project's folder, `current` the steps that are running, `done` of `total` steps have a result, `steps`
    has phase and cell of those that have begun; `seconds` and `created` are as in `RunState` and `Run`.
    """

    id: str
    phase: Phase
    created: float
    notebook: str = ""
    root: str = ""
    name: str = ""
    reason: str = ""
    started: float = 0.0
    seconds: float = 0.0
    done: int = 0
    total: int = 0
    current: str = ""
    steps: dict[str, str] = {}
    experiment: str = ""
    place: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    labels: tuple[str, ...] = ()
    note: str = ""


class RunQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs: older than `before`, at most `limit`; "" fits all. `text` is sought in names, notes and values."""

    before: str = ""
    limit: int = 100
    text: str = ""
    phase: str = ""
    experiment: str = ""
    notebook: str = ""

    @property
    def is_open(self) -> bool:
        """Whether every run fits."""
        return not (self.text.strip() or self.phase or self.experiment or self.notebook)


def row_of(state: RunState, notes: RunNotes) -> RunRow:
    """Return a run as a row."""
    run = state.run
    return RunRow(
        id=state.id,
        phase=state.phase,
        created=run.created,
        notebook=run.notebook,
        root=run.root,
        name=run.name,
        reason=state.reason,
        started=state.started,
        seconds=state.seconds,
        done=sum(step.phase in ("Succeeded", "Cached") for step in state.steps),
        total=len(state.steps),
        current=", ".join(step.name for step in state.steps if step.phase == "Running"),
        steps={
            step.name: f"{step.phase.value} {step.cell or ''}".strip()
            for step in state.steps
            if step.phase is not Phase.PENDING
        },
        experiment=run.experiment,
        place=run.profile or run.engine,
        parameters=run.parameters,
        metrics=state.metrics,
        labels=notes.labels,
        note=notes.note,
    )
