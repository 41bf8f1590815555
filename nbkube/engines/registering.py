"""The models that steps name by their option `model`: registered when a run has succeeded, before it is told to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from nbkube.engines.model import Submission
from nbkube.runs import Phase, RunStore
from nbkube.storage.model import ObjectStore

Listener = Callable[[Mapping[str, Any]], None]


def registering(store: ObjectStore, submission: Submission, tell: Listener) -> Listener:
    """Return a listener that passes events on to `tell`; before a run's successful end its models are registered.

    What cannot be registered is a warning of the run.
    """

    def listen(event: Mapping[str, Any]) -> None:
        if event.get("event") == "run-ended" and event.get("phase") == Phase.SUCCEEDED:
            _register(store, submission, event.get("metrics", {}), tell)
        tell(event)

    return listen


def _register(store: ObjectStore, submission: Submission, metrics: Mapping[str, Any], tell: Listener) -> None:
    units = submission.units
    wanted = {one.program.unit: one.options.model for one in units if one.options.model}
    if not wanted:
        return
    from nbkube.models.publish import register_all

    state = msgspec.structs.replace(RunStore(store).load(submission.run), metrics=dict(metrics))
    programs = {one.program.unit: one.program for one in units}
    for message in register_all(store, state, wanted, programs, submission.cwd):
        tell({"event": "warning", "message": f"not registered: {message}"})
