"""The worker's seam to stored values: a namespace that loads on first use, and what it publishes."""

from __future__ import annotations

from typing import Any

from nbkube.runtime.program import StepProgram
from nbkube.state.model import OutputRef


class Values:
    """The namespace of one step process and what becomes of it."""

    def __init__(self, bindings: dict[str, OutputRef], store: str, root: str) -> None:
        self.namespace: dict[str, Any] = {}

    def begin(self, program: StepProgram) -> None:
        """Note the state before the cells of a unit run (set-up statements have been replayed)."""

    def rebind(self, bindings: dict[str, OutputRef]) -> None:
        """Let names that this process has neither loaded nor bound come from newer results."""

    def publish(self) -> dict[str, str]:
        """Store what has been bound or changed; return what could not be stored: name -> reason."""
        return {}

    def into(self, result: dict[str, Any]) -> None:
        """Add what was read and published to the fields of a `StepResult`."""
        result.update(outputs={}, reads={}, touched=(), draws=())
