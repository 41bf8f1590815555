"""Runs: the frozen submission, what happened to it, and where that is kept."""

from __future__ import annotations

from nbkube.runs.model import Live, Phase, Process, Run, RunEvent, RunNotes, RunState, RunUnit, StepRun
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
    "RunState",
    "RunStore",
    "RunUnit",
    "Seen",
    "StepRun",
    "new_run_id",
]
