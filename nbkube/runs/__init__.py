"""Runs: the frozen submission, what happened to it, and where that is kept."""

from __future__ import annotations

from nbkube.runs.model import (
    Live,
    Phase,
    Process,
    Run,
    RunEvent,
    RunNotes,
    RunQuery,
    RunRow,
    RunState,
    RunUnit,
    StepRun,
    row_of,
)
from nbkube.runs.shown import StepLog
from nbkube.runs.store import Recorder, RunStore, new_run_id
from nbkube.runs.watch import Seen

__all__ = [
    "Live",
    "Phase",
    "Process",
    "Recorder",
    "Run",
    "RunEvent",
    "RunNotes",
    "RunQuery",
    "RunRow",
    "RunState",
    "RunStore",
    "RunUnit",
    "Seen",
    "StepLog",
    "StepRun",
    "new_run_id",
    "row_of",
]
