"""Tells browsers that a run has moved on, through Jupyter's own event stream: names and phases, nothing else.

A thread looks at the runs that go on, and only while somebody uses nbkube: with no run going on and no request for a
minute it looks at nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from nbkube.client import Client
from nbkube.errors import NbkubeError
from nbkube.runs import RunQuery, RunRow

SCHEMA_ID = "urn:nbkube:run"
SCHEMA = {
    "$id": SCHEMA_ID,
    "version": "1",
    "title": "A run of nbkube has moved on",
    "personal-data": False,
    "type": "object",
    "properties": {
        "run": {"title": "Run", "description": "its id", "type": "string"},
        "notebook": {"title": "Notebook", "description": "relative to the project", "type": "string"},
        "phase": {"title": "Phase", "description": "of the run", "type": "string"},
        "done": {"title": "Done", "description": "steps that are done", "type": "integer"},
        "total": {"title": "Total", "description": "steps in all", "type": "integer"},
        "steps": {
            "title": "Steps",
            "description": "phase and cell of each step that has begun",
            "type": "object",
            "additionalProperties": {"type": "string"},
        },
    },
    "required": ["run", "notebook", "phase", "done", "total", "steps"],
}
_BUSY, _IDLE = 0.1, 1.0
"""Seconds between two looks; at a bucket, where each costs requests, it is always the longer time."""
_QUIET_AFTER = 60.0
_NEWEST = 20

Emit = Callable[[dict[str, Any]], None]


class Watcher:
    """Follows the runs of every project that somebody has asked about."""

    def __init__(self, emit: Emit, threads: ThreadPoolExecutor) -> None:
        self._emit = emit
        self._threads = threads
        self._projects: dict[Path, dict[str, dict[str, Any]]] = {}
        self._asked = 0.0
        self._task: asyncio.Task[None] | None = None

    def ask(self, project: Path) -> None:
        """Follow a project's runs from now on; called by every request."""
        self._asked = time.monotonic()
        self._projects.setdefault(project, {})
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._follow())

    async def stop(self) -> None:
        """Follow nothing any more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            pause = _IDLE
            going = False
            for project, known in list(self._projects.items()):
                moved, near = await loop.run_in_executor(self._threads, _moved, project, known)
                for event in moved:
                    self._emit(event)
                if any(one["phase"] in ("Pending", "Running", "Paused") for one in known.values()):
                    going, pause = True, _BUSY if near else pause
            if not going and time.monotonic() - self._asked > _QUIET_AFTER:
                return
            await asyncio.sleep(pause)


def _moved(project: Path, known: dict[str, dict[str, Any]]) -> tuple[list[dict[str, Any]], bool]:
    """Return the events of runs that have moved on since the last look, and note them in `known`.

    Also tell whether the runs lie on this machine.
    """
    client = Client(project)
    first = not known
    moved: list[dict[str, Any]] = []
    try:
        rows, _ = client.rows(RunQuery(limit=_NEWEST))
        near = client.store_url.startswith("file:")
    except (NbkubeError, OSError):
        return [], False
    for row in rows:
        before = known.get(row.id)
        if row.phase.ended and before is not None and before["phase"] == row.phase.value:
            continue
        event = _event(row)
        if before != event:
            known[row.id] = event
            if not first or not row.phase.ended:
                moved.append(event)
    return moved, near


def _event(row: RunRow) -> dict[str, Any]:
    return {
        "run": row.id,
        "notebook": row.notebook,
        "phase": row.phase.value,
        "done": row.done,
        "total": row.total,
        "steps": row.steps,
    }
