"""What a step process is told and what it answers: data, passed as JSON.

The same types serve the laptop and a pod. Nothing here names a machine, an image or a platform except `StepTask`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from nbkube.state.model import FileDiff, FileReads, OutputRef

SCHEMA = 1
"""Version of everything stored; part of every cache key."""


class CellProgram(msgspec.Struct, frozen=True, omit_defaults=True):
    """One cell to run: `source` is the exact text (IPython syntax); numbers and `first_line` as in Cell."""

    number: int
    code_number: int
    id: str
    source: str
    raises: bool = False
    first_line: int = 1


class ReplayProgram(msgspec.Struct, frozen=True, omit_defaults=True):
    """A statement of an earlier cell that runs again before the cells; loads `needs` first."""

    source: str
    kind: str = "import"
    needs: tuple[str, ...] = ()
    cell: int = 0
    line: int = 0


class StepProgram(msgspec.Struct, frozen=True, omit_defaults=True):
    """A unit as data. `digest` covers all that can change the result: normalised sources, replay, env, flags.

    `reads`: names expected to be loaded (a hint for prefetch and for the cache key; the truth is observed).
    `metrics`: names whose values at the end are the run's metrics. `seeded`: random state travels because a cell up
    to this one seeds it. `history`: `_`, `Out`, `In` travel. `env`: environment variables of the step's options.
    `filename`: notebook path relative to the project, for tracebacks. `when`: the condition without which the cells are
    not run ("": none), an expression of names and literals that calls nothing.
    """

    unit: str
    digest: str
    cells: tuple[CellProgram, ...]
    replay: tuple[ReplayProgram, ...] = ()
    reads: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    env: dict[str, str] = {}
    seeded: bool = False
    history: bool = False
    filename: str = ""
    kind: str = "step"
    when: str = ""


class StepTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """One attempt at a unit, as given to the step process on this machine.

    `workspace`: folder prepared for this attempt; `root`: path at which the user code is to see it (the project's own
    path; reached by a mount namespace, else `workspace` itself is used and paths are translated); `cwd` relative to
    it. `store`: URL of the object store. `scratch`: private folder for sockets, temporary and HOME-like things.
    `memory_group`: the entrance of the control group that limits the step's memory ("": none does).
    """

    program: StepProgram
    attempt: str
    bindings: dict[str, OutputRef]
    store: str
    workspace: str
    root: str
    cwd: str = "."
    scratch: str = ""
    memory_group: str = ""
    hash_seed: str = "0"


class Opening(msgspec.Struct, frozen=True):
    """How a template process begins; the fields are those of `StepTask`, `private` a folder of its own."""

    workspace: str
    root: str
    cwd: str
    store: str
    private: str


class Failure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a unit did not finish. `kind`: error | exit | killed | timeout | oom | unstorable | internal |
    input."""

    kind: str
    message: str
    cell: int | None = None
    cell_id: str = ""
    line: int | None = None
    type: str = ""
    traceback: str = ""
    exit_code: int = 1


class StepResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the step process observed and published; files are taken by its parent after it has ended.

    `reads`: name -> version used ("" = looked up and not there). `touched`: blobs whose loaded objects were
    changed in place. `modules`: top-level modules loaded; `module_files`: files of loaded modules outside
    site-packages and the standard library. `opened`, `listed`, `missed`: absolute paths as seen by the audit hook;
    `replaced`: files opened so that their old content went before any of it was read. `draws`: global generators of
    random numbers that were drawn from; `seeded`: a cell has set a seed at run time. `contacted`: hosts that Python
    code of the process has connected to. `skipped`: the units, counted from 0 in their process, whose condition did
    not hold, so that no cell of theirs was run.
    """

    outputs: dict[str, OutputRef] = {}
    reads: dict[str, str] = {}
    touched: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    module_files: tuple[str, ...] = ()
    opened: tuple[str, ...] = ()
    listed: tuple[str, ...] = ()
    missed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    wrote_outside: tuple[str, ...] = ()
    metrics: dict[str, Any] = {}
    executed: str = ""
    failure: Failure | None = None
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    gpus: int = 0
    draws: tuple[str, ...] = ()
    seeded: bool = False
    contacted: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()


class StepManifest(msgspec.Struct, frozen=True, omit_defaults=True):
    """The commit point of a unit: `steps/<key>/<proof>.json`, written create-only after all it names is durable.

    The key finds candidates; the proof (`reads`, `files`, `distributions`) must match the present for a hit.
    `executed`: digest of the executed cells as notebook JSON; `log`: digest of the captured output. `units`: the
    units this result stands for (more than one where unstorable values fused them); `skipped` those of them, counted
    from 0, that were not run since their condition did not hold.
    """

    schema: int
    key: str
    units: tuple[str, ...]
    attempt: str
    outputs: dict[str, OutputRef]
    reads: dict[str, str]
    touched: tuple[str, ...]
    files: FileReads
    diff: FileDiff
    distributions: dict[str, str]
    metrics: dict[str, Any] = {}
    executed: str = ""
    log: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    gpus: int = 0
    started: float = 0.0
    wrote_outside: tuple[str, ...] = ()
    draws: tuple[str, ...] = ()
    seeded: bool = False
    contacted: tuple[str, ...] = ()
    skipped: tuple[int, ...] = ()
