"""How a run lies in the store: the names of its records, and records that grow line by line."""

from __future__ import annotations

import contextlib
from typing import TypeVar

import msgspec

from nbkube.decoding import json_decoder
from nbkube.storage.seal import checked

_Line = TypeVar("_Line")


def run_name(run_id: str) -> str:
    """Return the record of a run's submission as people see it."""
    return f"runs/{run_id}/run.json"


def events_folder(run_id: str) -> str:
    """Return the folder in which every process that tells of a run has a record of its own."""
    return f"runs/{run_id}/events/"


def events_name(run_id: str, writer: str) -> str:
    """Return the record of the events that one process tells."""
    return f"{events_folder(run_id)}{writer}.jsonl"


def live_folder(run_id: str, step: str) -> str:
    """Return the folder of what a step has shown."""
    return f"runs/{run_id}/live/{step}/"


def live_name(run_id: str, step: str, attempt: int) -> str:
    """Return the record of what one attempt at a step shows."""
    return f"{live_folder(run_id, step)}{attempt:04}.jsonl"


def whole_lines(data: bytes, kind: type[_Line]) -> tuple[list[_Line], int]:
    """Decode the lines that are complete; also return how many bytes they are.

    What a crash has torn, a disk has damaged or another version wrote is left out.
    """
    size = data.rfind(b"\n") + 1
    found: list[_Line] = []
    decoder = json_decoder(kind)
    for line in data[:size].split(b"\n"):
        plain = checked(line) if line else None
        if plain is not None:
            with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
                found.append(decoder.decode(plain))
    return found, size
