"""The Jupyter server extension: a thin, typed REST interface to `Client`, for the panel in JupyterLab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "nbkube.server"}]


def _load_jupyter_server_extension(app: ServerApp) -> None:
    from nbkube.server.extension import load

    load(app)
