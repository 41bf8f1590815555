"""The worker's seam to stored values: a namespace that loads on first use, and what it publishes."""

from __future__ import annotations

from typing import Any

from nbkube.runtime.program import StepProgram
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace
from nbkube.state.process import Start, capture_process, restore_process, restore_random
from nbkube.state.publish import Published, publish
from nbkube.storage import open_store


class Values:
    """The namespace of one step process and what becomes of it."""

    def __init__(self, bindings: dict[str, OutputRef], store: str, root: str) -> None:
        self.namespace = Namespace(bindings, open_store(store), root=root)
        self._start = Start.now(root)
        self._program: StepProgram | None = None
        self._published = Published({})
        restore_process(self.namespace, self._start, replayed=False)

    def begin(self, program: StepProgram) -> None:
        """Note the state before the cells of a unit run (set-up statements have been replayed)."""
        if self._program is None:
            self.namespace.settle()
            restore_process(self.namespace, self._start, replayed=True)
            restore_random(self.namespace, self._start, seeded=program.seeded)
        self._program = program

    def rebind(self, bindings: dict[str, OutputRef]) -> None:
        """Let names that this process has neither loaded nor bound come from newer results."""
        self.namespace.rebind(bindings)

    def publish(self) -> dict[str, str]:
        """Store what has been bound or changed; return what could not be stored: name -> reason."""
        program = self._program
        seeded, history = (program.seeded, program.history) if program is not None else (False, False)
        extra = capture_process(self.namespace, self._start, seeded=seeded)
        self._published = publish(self.namespace, history=history, extra=extra)
        return self._published.holes

    def into(self, result: dict[str, Any]) -> None:
        """Add what was read and published to the fields of a `StepResult`."""
        outputs = self._published.outputs
        result.update(
            outputs=outputs,
            reads=dict(self.namespace.reads),
            touched=self._published.touched,
            draws=tuple(sorted(name for name in outputs if name in self._start.random)),
        )
