"""Widgets for notebooks: forms and pictures that nest in `VBox`, can be observed and linked, and give a value.

    from nbkube.widgets import PipelineGraph, ResourceRequest, RunProgress, ServeModel, StorageBrowser

Forms are made of ipywidgets' own controls; what is drawn shares its code with the panel in JupyterLab. In a terminal
each shows itself as plain text. They need `pip install 'nbkube[lab]'`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.widgets.graph import PipelineGraph
    from nbkube.widgets.progress import RunProgress
    from nbkube.widgets.request import ResourceRequest
    from nbkube.widgets.serving import ServeModel
    from nbkube.widgets.storage import StorageBrowser

__all__ = ["PipelineGraph", "ResourceRequest", "RunProgress", "ServeModel", "StorageBrowser"]
_HOMES = {
    "PipelineGraph": "nbkube.widgets.graph",
    "ResourceRequest": "nbkube.widgets.request",
    "RunProgress": "nbkube.widgets.progress",
    "ServeModel": "nbkube.widgets.serving",
    "StorageBrowser": "nbkube.widgets.storage",
}


def __getattr__(name: str) -> object:
    """Import a widget on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name not in ("anywidget", "ipywidgets"):
            raise
        raise NbkubeError(f"{name} needs {error.name}: pip install 'nbkube[lab]'") from error
