"""What a run's cells have shown, and whether cells that are run again show the same."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from nbkube.interactive.model import StepInputs
from nbkube.storage.model import ObjectStore

_MOST = 1 << 20
"""Bytes of outputs of one cell beyond which they are left out."""

_VARYING = re.compile(r"0x[0-9a-f]{6,}|^(?:CPU times|Wall time|Compiler).*$|\x1b\[[0-9;]*m", re.MULTILINE)
"""What differs between any two runs of a cell: addresses, what `%%time` prints."""

Outputs = list[dict[str, Any]]


def shown_in_run(inputs: StepInputs, store: ObjectStore) -> dict[int, Outputs]:
    """Return what the cells of a step have shown in the run, by the cell's number; of too much, nothing."""
    if not inputs.executed or not store.has(inputs.executed):
        return {}
    found: dict[int, Outputs] = {}
    for cell in msgspec.json.decode(store.get(inputs.executed)).get("cells", ()):
        number = cell.get("metadata", {}).get("nbkube", {}).get("cell")
        outputs = cell.get("outputs", [])
        if isinstance(number, int) and len(msgspec.json.encode(outputs)) <= _MOST:
            found[number] = outputs
    return found


def shows_the_same(before: Outputs, stdout: str, shown: Sequence[Any]) -> bool:
    """Tell whether what a cell printed, and the values it showed, are what they were.

    Args:
        before: the outputs of the run.
        stdout: what the cell has printed now.
        shown: rich outputs of now, each with the forms of its value in `data`.
    """
    printed = "".join(_text(one.get("text")) for one in before if one.get("name") == "stdout")
    values = [_text(one["data"].get("text/plain")) for one in before if isinstance(one.get("data"), dict)]
    now = [_text(one.data.get("text/plain")) for one in shown]
    return _bare(printed) == _bare(stdout) and [_bare(one) for one in values] == [_bare(one) for one in now]


def _text(value: object) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _bare(text: str) -> str:
    return _VARYING.sub("", text).strip()
