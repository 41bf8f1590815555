"""The models that steps name by their option `model`: registered when a run has succeeded, before it is told to end."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.engines.model import Submission
from nbkube.runs import Phase, RunStore
from nbkube.storage.model import ObjectStore

if TYPE_CHECKING:
    from nbkube.models.publish import Exporter

Listener = Callable[[Mapping[str, Any]], None]


def registering(store: ObjectStore, submission: Submission, tell: Listener, *, soon: bool = False) -> Listener:
    """Return a listener that passes events on to `tell`; before a run's successful end its models are registered.

    What cannot be registered is a warning of the run. `soon`: the process that exports a step's model is started with
    the step, whose end need then not wait until it has imported large libraries.
    """
    wanted = {one.program.unit: one.options.model for one in submission.units if one.options.model}
    programs = {one.program.unit: one.program for one in submission.units}
    exporters: dict[str, Exporter] = {}

    def listen(event: Mapping[str, Any]) -> None:
        kind, step = event.get("event"), event.get("step", "")
        if soon and kind == "started" and step in wanted and step not in exporters:
            from nbkube.models.publish import Exporter

            with contextlib.suppress(OSError):  # then it is started when it is needed
                exporters[step] = Exporter(programs[step])
        if kind == "run-ended":
            if wanted and event.get("phase") == Phase.SUCCEEDED:
                register(event.get("metrics", {}))
            for exporter in exporters.values():
                exporter.close()
        tell(event)

    def register(metrics: Mapping[str, Any]) -> None:
        from nbkube.models.publish import register_all

        state = msgspec.structs.replace(RunStore(store).load(submission.run), metrics=dict(metrics))
        for message in register_all(store, state, wanted, programs, submission.cwd, exporters):
            tell({"event": "warning", "message": f"not registered: {message}"})

    return listen
