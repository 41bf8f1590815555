"""Puts nbkube into a running Jupyter server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.server.events import SCHEMA, SCHEMA_ID, Watcher
from nbkube.server.handlers import handlers
from nbkube.server.service import Service

if TYPE_CHECKING:
    from jupyter_server.serverapp import ServerApp

_THREADS = 8


def load(app: ServerApp) -> None:
    """Add the routes and the event schema; starts and reads nothing else."""
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="nbkube")
    app.event_logger.register_event_schema(SCHEMA)

    def emit(event: dict[str, Any]) -> None:
        app.event_logger.emit(schema_id=SCHEMA_ID, data=event)

    service = Service(Path(app.root_dir))
    watcher = Watcher(emit, threads)
    app.web_app.add_handlers(".*$", handlers(app.base_url, service, threads, watcher))
    app.log.info("nbkube: pipelines of notebooks under %snbkube/", app.base_url)
