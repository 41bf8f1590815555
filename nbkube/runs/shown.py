"""What a step shows, read on from where the last look ended."""

from __future__ import annotations

from collections.abc import Callable

from nbkube.errors import NotFoundError
from nbkube.runs.lines import live_folder, whole_lines
from nbkube.runs.model import Live, Phase, RunState
from nbkube.storage.model import ObjectStore

_MOST = 5000
"""Pieces given at once: a long log comes in parts, so that its reader sees the first ones soon."""


class StepLog:
    """What a step shows in its newest attempt, or showed when the result was made that was taken over."""

    def __init__(self, store: ObjectStore, load: Callable[[], RunState], step: str) -> None:
        """Take the store, what tells the state of the run, and the step's name.

        Raises:
            NotFoundError: the run has no such step.
        """
        self._store = store
        self._load = load
        self._step = step
        state = load()
        self._run = state.id
        unit = state.step(step)
        if unit is None:
            raise NotFoundError(f"run {state.id} has no step {step!r}.")
        self._name = ""
        self._offset = 0
        self._count = 0
        self._ready: list[Live] = []
        self._digest = unit.log if unit.cached else ""

    def read(self) -> tuple[list[Live], int, bool]:
        """Return what is new, the number of pieces up to there, and whether no more will come."""
        if not self._ready:
            self._look()
        ended = False
        if not self._ready:
            # What was shown before the end stands in the record by now: one more look finds it.
            ended = self._has_ended()
            if ended:
                self._look()
        pieces, self._ready = self._ready[:_MOST], self._ready[_MOST:]
        self._count += len(pieces)
        return pieces, self._count, ended and not self._ready

    def _look(self) -> None:
        if self._digest:
            text = self._store.get(self._digest).decode("utf-8", "replace")
            self._ready, self._digest = [Live(text=text, stream="stdout")], ""
            return
        names = list(self._store.list(live_folder(self._run, self._step)))
        if names and names[-1] != self._name:  # a new attempt begins from the top
            self._name, self._offset, self._count = names[-1], 0, 0
        if self._name:
            self._ready, size = whole_lines(self._store.read(self._name, self._offset) or b"", Live)
            self._offset += size

    def _has_ended(self) -> bool:
        state = self._load()
        unit = state.step(self._step)
        if unit is not None and unit.cached and unit.log and not self._name and not self._count:
            self._digest = unit.log
        return unit is None or unit.phase.ended or state.phase.ended or state.phase is Phase.UNKNOWN
