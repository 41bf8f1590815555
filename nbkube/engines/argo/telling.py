"""What a pod tells: events and output into the run's record in the store, and text on standard output."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any, cast

from nbkube.errors import StorageError
from nbkube.runs.model import Run
from nbkube.runs.store import Recorder
from nbkube.storage.model import ObjectStore

_PAUSE = 0.5
"""Seconds that what need not be durable waits for company: each append is a request to the store."""

_HEARTBEAT = 45.0
_MOST = 8 << 20


class Teller:
    """Takes the events of one pod, from any thread; a context manager that sends off the rest at its end."""

    def __init__(self, store: ObjectStore, run: Run, attempts: Mapping[str, int] | None = None) -> None:
        self._batch = _Batch(store)
        # A recorder does nothing else with its store than to append.
        self._recorder = Recorder(cast("ObjectStore", self._batch), run, attempts)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._send, name="teller", daemon=True)

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
        return self._batch.fault

    def _send(self) -> None:
        waited = 0.0
        while not self._ended.wait(_PAUSE):
            self._batch.flush()
            waited += _PAUSE
            if waited >= _HEARTBEAT:
                waited = 0.0
                self._recorder({"event": "alive"})
        self._batch.flush()


class _Batch:
    """Collects what is appended to records, and appends it in larger pieces."""

    def __init__(self, store: ObjectStore) -> None:
        self.fault: StorageError | None = None
        self._store = store
        self._pending: dict[str, bytearray] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()

    def append(self, name: str, data: bytes, *, durable: bool = False) -> None:
        with self._lock:
            held = self._pending.setdefault(name, bytearray())
            if len(held) < _MOST:
                held += data
        if durable:
            self.flush(durable=name)

    def flush(self, durable: str = "") -> None:
        with self._sending:
            with self._lock:
                pending, self._pending = self._pending, {}
            for name, data in pending.items():
                try:
                    self._store.append(name, bytes(data), durable=name == durable)
                except StorageError as error:
                    # It is sent again, after the end of a line that may have been torn.
                    self.fault = error
                    with self._lock:
                        newer = self._pending.get(name, bytearray())
                        self._pending[name] = bytearray(b"\n") + data.lstrip(b"\n") + newer


def say(text: str) -> None:
    """Print a line of our own to standard error."""
    sys.stderr.write(f"nbkube: {text}\n")
    sys.stderr.flush()
