"""What an engine is given and what it offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from nbkube.dataflow.model import Dependency
from nbkube.pipeline.model import StepOptions
from nbkube.runtime.program import StepProgram
from nbkube.state.model import OutputRef

Listener = Callable[[Mapping[str, Any]], None]
"""Receives progress as plain dicts, from any thread: see `nbkube.runs.RunEvent` for those that are kept."""


class UnitPlan(msgspec.Struct, frozen=True):
    """One unit of a submission: its program, its options, and the units that must have finished before it starts."""

    program: StepProgram
    options: StepOptions
    after: tuple[int, ...]


class Submission(msgspec.Struct, frozen=True):
    """A run as handed to an engine: frozen, complete, independent of the notebook file.

    `root` is the project's folder, `cwd` the notebook's place in it. `edges` are the data dependencies known before
    the run. `bindings` are variables that there are before the first unit: those of a live kernel. `adversarial` runs
    everything alone and ties in reverse order, to prove that order does not matter. `fuse` lets chains of steps that
    ask for the same share a pod.
    """

    run: str
    root: str
    cwd: str
    units: tuple[UnitPlan, ...]
    edges: tuple[Dependency, ...]
    use_cache: bool = True
    parallel: int = 2
    adversarial: bool = False
    bindings: dict[str, OutputRef] = {}
    fuse: bool = True

    def with_variables(self, variables: Mapping[str, str]) -> Submission:
        """Return the submission with environment variables for all steps; those of their options win."""

        def added(unit: UnitPlan) -> UnitPlan:
            program = msgspec.structs.replace(unit.program, env={**variables, **unit.program.env})
            return msgspec.structs.replace(unit, program=program)

        return msgspec.structs.replace(self, units=tuple(added(unit) for unit in self.units))


class Engine(Protocol):
    """Where runs are carried out. All methods are synchronous; `cancel` may come from another thread."""

    def submit(self, submission: Submission, listener: Listener) -> RunHandle:
        """Start a run and return at once."""


class RunHandle(Protocol):
    """A run in progress."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end; False if it has not come within `timeout` seconds."""

    def cancel(self) -> None:
        """End every process of the run; what is finished is kept."""
