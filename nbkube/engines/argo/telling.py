"""What a pod tells: events and output into the run's record in the store, and text on standard output."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

from nbkube.errors import StorageError
from nbkube.runs.model import Run
from nbkube.runs.store import Recorder
from nbkube.storage.model import ObjectStore

_HEARTBEAT = 45.0


class Teller:
    """Takes the events of one pod, from any thread; a context manager."""

    def __init__(self, store: ObjectStore, run: Run, attempts: Mapping[str, int] | None = None) -> None:
        self._recorder = Recorder(store, run, attempts)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._live, name="teller", daemon=True)

    def __enter__(self) -> Teller:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Record one event of the engine and print what it shows."""
        kind = event.get("event")
        if kind == "log":
            stream = sys.stderr if event.get("stream") == "stderr" else sys.stdout
            stream.write(str(event.get("text", "")))
            stream.flush()
        elif kind == "warning":
            say(f"warning: {event.get('message', '')}")
        self._recorder(event)

    @property
    def fault(self) -> StorageError | None:
        """Why the record is not complete, if it is not."""
        return self._recorder.fault

    def _live(self) -> None:
        """Give a sign of life now and then: a step may be silent for hours."""
        while not self._ended.wait(_HEARTBEAT):
            self._recorder({"event": "alive"})


def say(text: str) -> None:
    """Print a line of our own to standard error."""
    sys.stderr.write(f"nbkube: {text}\n")
    sys.stderr.flush()
