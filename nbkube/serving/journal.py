"""What a server writes down: its history, requests if a person wants that, answers in which a shadow differs.

endpoints/<name>/history.jsonl                what was done with the endpoint
endpoints/<name>/requests/<time>-<id>.jsonl   sampled requests, capped, with inputs left out that are to be redacted
endpoints/<name>/differences/<time>-<id>.jsonl

The id is random: processes in pods have the same number.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.models.tensors import Array, as_json
from nbkube.serving.model import Change, RequestLog, Routing
from nbkube.storage.model import ObjectStore
from nbkube.storage.seal import check_line, checked

_MOST_ELEMENTS = 4096
_MOST_DIFFERENCES = 1000


def add_change(store: ObjectStore, name: str, action: str, routing: Routing | None = None, message: str = "") -> None:
    """Add a line to an endpoint's history."""
    line = check_line(msgspec.json.encode(Change(time.time(), action, routing, message)))
    store.append(f"endpoints/{name}/history.jsonl", line, durable=True)


def history(store: ObjectStore, name: str) -> Iterator[Change]:
    """Yield what was done with an endpoint, oldest first."""
    for line in (store.read(f"endpoints/{name}/history.jsonl") or b"").split(b"\n"):
        plain = checked(line) if line else None
        if plain is not None:
            yield from_json(plain, Change)


class Journal:
    """The logs of one server process."""

    def __init__(self, store: ObjectStore, name: str, settings: RequestLog) -> None:
        self._store = store
        self._settings = settings
        stamp = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}.jsonl"
        self._requests = f"endpoints/{name}/requests/{stamp}"
        self._differences = f"endpoints/{name}/differences/{stamp}"
        self._minute = 0
        self._written = 0
        self._differing = 0

    def wants(self) -> bool:
        """Tell whether this request is among those that are written down."""
        if not self._settings.share or random.random() >= self._settings.share:
            return False
        minute = int(time.time() // 60)
        if minute != self._minute:
            self._minute, self._written = minute, 0
        self._written += 1
        return self._written <= self._settings.most

    def request(self, version: int, inputs: Mapping[str, Array], outputs: Mapping[str, Array], seconds: float) -> None:
        """Write a request and its answer down."""
        self._append(
            self._requests,
            {
                "time": time.time(),
                "version": version,
                "seconds": seconds,
                "inputs": [self._shown(name, array) for name, array in inputs.items()],
                "outputs": [_short(name, array) for name, array in outputs.items()],
            },
        )

    def _shown(self, name: str, array: Array) -> dict[str, Any]:
        if name in self._settings.redact:
            return {"name": name, "shape": list(array.shape), "redacted": True}
        return _short(name, array)

    def difference(
        self, versions: tuple[int, int], inputs: Mapping[str, Array], one: Mapping[str, Array], two: Mapping[str, Array]
    ) -> None:
        """Write down a request that two versions answer differently."""
        self._differing += 1
        if self._differing <= _MOST_DIFFERENCES:
            self._append(
                self._differences,
                {
                    "time": time.time(),
                    "versions": versions,
                    "inputs": [self._shown(name, array) for name, array in inputs.items()],
                    "answers": [[_short(*item) for item in answer.items()] for answer in (one, two)],
                },
            )

    def _append(self, name: str, line: dict[str, Any]) -> None:
        self._store.append(name, check_line(msgspec.json.encode(line)))


def _short(name: str, array: Array) -> dict[str, Any]:
    if array.size > _MOST_ELEMENTS:
        return {"name": name, "shape": list(array.shape), "left_out": "large"}
    return as_json(name, array)
