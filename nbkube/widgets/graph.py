"""The steps of a notebook and what flows between them."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import traitlets

from nbkube.client import Client
from nbkube.server.model import PipelineView
from nbkube.server.views import pipeline_view
from nbkube.widgets.drawn import Drawn


class PipelineGraph(Drawn):
    """The pipeline of a notebook as a graph; `value` is the step that is selected, "" for none.

    Args:
        notebook: its file. `refresh()` reads it again.

    Raises:
        NotebookError: the file cannot be read as a notebook.
    """

    kind = traitlets.Unicode("graph").tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    pipeline = traitlets.Dict().tag(sync=True)
    value = traitlets.Unicode().tag(sync=True)

    def __init__(self, notebook: str | os.PathLike[str], **more: object) -> None:
        super().__init__(**more)
        self._path = Path(notebook)
        self.refresh()

    def refresh(self) -> None:
        """Read the notebook's file again."""
        view = pipeline_view(Client(self._path.parent).show(self._path))
        self.pipeline = msgspec.to_builtins(view)
        self.text = _text(view)
        if self.value not in {step.name for step in view.steps}:
            self.value = ""


def _text(view: PipelineView) -> str:
    lines = [f"{view.name}: {len(view.steps)} steps"]
    for step in view.steps:
        given = ", ".join(f"{one.name} from {one.source}" for one in step.inputs)
        lines.append(f"  {step.name}" + (f" <- {given}" if given else ""))
    lines += [f"  {one.severity}: {one.message}" for one in view.problems if one.severity != "info"]
    return "\n".join(lines)
