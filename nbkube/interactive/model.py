"""The frozen types of what goes between a run and a person's kernel."""

from __future__ import annotations

from pathlib import Path

import msgspec

from nbkube.dataflow.model import Replay
from nbkube.runtime.program import CellProgram, Failure, StepManifest, StepProgram
from nbkube.state.model import FileDiff, OutputRef


class StepInputs(msgspec.Struct, frozen=True):
    """What a step of a run began with, as the store holds it.

    `programs` end with the step's own; those before it ran in the same process because an unstorable value joins them.
    `tree` is the digest of the project's files as they were when the run was made, "" where they are not in the store;
    `diffs` are what earlier steps did to the project's files, in notebook order. `failure` is set where one of the
    step's cells failed; `record` is what the attempt was seen to do, None where the store does not say.
    """

    run: str
    step: str
    notebook: str
    root: str
    programs: tuple[StepProgram, ...]
    bindings: dict[str, OutputRef]
    diffs: tuple[FileDiff, ...]
    failure: Failure | None = None
    record: StepManifest | None = None
    executed: str = ""
    tree: str = ""

    @property
    def program(self) -> StepProgram:
        """The step's own program."""
        return self.programs[-1]

    @property
    def cells(self) -> tuple[CellProgram, ...]:
        """All cells of the process up to the step's last."""
        return tuple(cell for program in self.programs for cell in program.cells)


class Opened(msgspec.Struct, frozen=True):
    """A notebook written for a step: its `path`, the numbers of the cells that its first cell runs again, the cell to
    go on at (its number in the run's notebook, and its id, which it has in both), and why the state may not be what it
    was (`doubts`, one sentence each)."""

    path: Path
    run: str
    step: str
    replayed: tuple[int, ...]
    cell: int
    failed: bool
    doubts: tuple[str, ...] = ()
    cell_id: str = ""


class Restored(msgspec.Struct, frozen=True):
    """What a kernel was given: the `names` that are bound, the ones that could not be stored and why (`missing`), the
    cells run again, the folder it works in, and why the state may not be what it was."""

    names: tuple[str, ...]
    missing: dict[str, str]
    replayed: tuple[int, ...]
    cell: int
    folder: Path
    doubts: tuple[str, ...] = ()


class Live(msgspec.Struct, frozen=True):
    """What a live kernel gives to a run: its variables in the store, the statements that are replayed (as the kernel
    ran them), the unit to begin with, and where the kernel is not what the notebook says (`differences`)."""

    first: int
    bindings: dict[str, OutputRef]
    replay: tuple[Replay, ...]
    differences: tuple[str, ...] = ()


class Pulled(msgspec.Struct, frozen=True):
    """What was loaded into a kernel: `names` bound there; names that were there already and mean the same (`same`);
    definitions that differ from the kernel's and are found under `pulled` (`apart`); what could not be stored and why
    (`missing`)."""

    names: tuple[str, ...]
    same: tuple[str, ...] = ()
    apart: tuple[str, ...] = ()
    missing: dict[str, str] = {}
