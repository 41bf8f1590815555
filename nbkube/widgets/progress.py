"""A run as it goes on."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec
import traitlets

from nbkube.client import Client
from nbkube.errors import NbkubeError
from nbkube.server.model import RunDetail
from nbkube.server.views import detail
from nbkube.widgets.drawn import Drawn

_LOOK_SECONDS = 0.5


class RunProgress(Drawn):
    """A run with its steps, followed until it ends; `value` is its phase, as `nbkube status` names it.

    Args:
        run: its id, a unique part of it, or `last`.
        project: a folder of the project; by default the working directory.
        profile: whose runs are meant; by default the project's own.

    Raises:
        NotFoundError: there is no such run.
    """

    kind = traitlets.Unicode("run").tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    run = traitlets.Dict().tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)
    fault = traitlets.Unicode().tag(sync=True)

    def __init__(
        self, run: str = "last", *, project: str | os.PathLike[str] | None = None, profile: str = "", **more: object
    ) -> None:
        super().__init__(**more)
        self._client = Client(Path(project) if project is not None else None, profile=profile)
        self.id = self._client.status(run).id
        self._ended = threading.Event()
        self.on_msg(self._asked)
        self.refresh()
        if not self._ended.is_set():
            threading.Thread(target=self._follow, name=f"nbkube-{self.id}", daemon=True).start()

    def refresh(self) -> None:
        """Look at the run now."""
        state = self._client.status(self.id)
        found = detail(state, self._client.notes(state.id), "", self._client.waiting(state))
        with self.hold_trait_notifications():
            self.run = msgspec.to_builtins(found)
            self.text = _text(found)
            self.value = found.summary.phase
        if state.phase.ended:
            self._ended.set()

    def wait(self, timeout: float | None = None) -> str:
        """Wait until the run has ended (at most `timeout` seconds) and return its phase."""
        self._ended.wait(timeout)
        return str(self.value)

    def stop(self) -> None:
        """Cancel the run; what is finished is kept."""
        self._client.stop(self.id)

    def close(self) -> None:
        """Follow the run no longer; it goes on."""
        self._ended.set()
        super().close()

    def _follow(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            try:
                self.refresh()
                self.fault = ""
            except (NbkubeError, OSError) as error:
                self.fault = str(error)  # contact is lost, which says nothing about the run

    def _asked(self, _: object, content: dict[str, str], __: object) -> None:
        if content.get("act") == "stop":
            try:
                self.stop()
            except NbkubeError as error:
                self.fault = str(error)


def _text(run: RunDetail) -> str:
    summary = run.summary
    lines = [f"run {summary.id}: {summary.phase}, {summary.done}/{summary.total} steps, {summary.seconds:.1f} s"]
    width = max((len(step.name) for step in run.steps), default=0)
    for step in run.steps:
        took = f"{step.seconds:8.1f} s" if step.seconds else " " * 10
        lines.append(f"  {step.name:<{width}}  {step.phase:<9} {took}  {step.reason}".rstrip())
    return "\n".join(lines)
