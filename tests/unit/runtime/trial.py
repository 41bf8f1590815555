"""Runs cells in a real step process, in a small project."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbkube.runtime.attempt import Attempt, Executed, Finished
from nbkube.runtime.program import CellProgram, Failure, ReplayProgram, StepProgram, StepTask
from nbkube.state.model import OutputRef
from nbkube.state.snapshot import snapshot
from nbkube.storage import LocalStore

Output = dict[str, Any]


@dataclass
class Outcome:
    """What came of one unit."""

    executed: Executed
    finished: Finished
    events: list[dict[str, Any]]
    notebook: dict[str, Any]
    log: str

    @property
    def failure(self) -> Failure:
        failure = self.executed.failure
        assert failure is not None
        return failure

    def outputs(self, cell: int = 1) -> list[Output]:
        outputs: list[Output] = self.notebook["cells"][cell - 1]["outputs"]
        return outputs

    def text(self, cell: int = 1, stream: str = "stdout") -> str:
        return "".join(one["text"] for one in self.outputs(cell) if one.get("name") == stream)

    def value(self, cell: int = 1) -> str:
        found = [one["data"]["text/plain"] for one in self.outputs(cell) if one["output_type"] == "execute_result"]
        assert len(found) == 1, self.outputs(cell)
        return str(found[0])


@dataclass
class Trial:
    """A project, a store and a place for workspaces below one folder."""

    folder: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.project = self.folder / "project"
        self.project.mkdir()
        self.store = LocalStore(self.project / ".nbkube")

    def program(self, *cells: str | CellProgram, **options: Any) -> StepProgram:
        programs = tuple(
            cell if isinstance(cell, CellProgram) else CellProgram(number, number, f"id{number}", cell)
            for number, cell in enumerate(cells, 1)
        )
        return StepProgram("unit", "digest", programs, filename="note.ipynb", **options)

    def attempt(
        self, program: StepProgram, bindings: dict[str, OutputRef] | None = None, settle: float = 30.0, cwd: str = "."
    ) -> Attempt:
        place = self.folder / f"work{next(self.numbers)}"
        task = StepTask(
            program, place.name, bindings or {}, self.store.url, str(place / "project"), str(self.project), cwd
        )
        return Attempt(task, snapshot(self.project), self.store, self.events.append, settle=settle)

    def run(
        self,
        *cells: str | CellProgram,
        timeout: float | None = 60,
        settle: float = 30.0,
        cwd: str = ".",
        replay: tuple[ReplayProgram, ...] = (),
        bindings: dict[str, OutputRef] | None = None,
        **options: Any,
    ) -> Outcome:
        """Run cells to the end; the outcome may be a failure."""
        self.events.clear()
        attempt = self.attempt(self.program(*cells, replay=replay, **options), bindings, settle, cwd)
        executed = attempt.execute(timeout)
        finished = attempt.finish()
        return self.outcome(executed, finished)

    def outcome(self, executed: Executed, finished: Finished) -> Outcome:
        notebook = json.loads(self.store.get(finished.result.executed))
        log = self.store.get(finished.log).decode()
        return Outcome(executed, finished, list(self.events), notebook, log)

    def good(self, *cells: str | CellProgram, **options: Any) -> Outcome:
        """Run cells that must succeed."""
        outcome = self.run(*cells, **options)
        assert outcome.executed.failure is None, outcome.executed.failure
        assert outcome.finished.result.failure is None
        return outcome
