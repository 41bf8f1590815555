"""Amounts, counts and times that no machine can give."""

from __future__ import annotations

from typing import Any

from tests.unit.broken.row import Broken, cells
from tests.unit.documents import code


def _option(name: str, value: Any, says: str) -> Broken:
    rows = [code("a = 1", "step:a"), code("b = 1", "step:b", options={name: value})]
    return cells(f"{name}-{value!r}", rows, "bad-option", says, 2)


def _tag(tag: str, says: str) -> Broken:
    return cells(tag, [code("a = 1", "step:a", tag)], "bad-option", says)


def _magic(line: str, says: str) -> Broken:
    return cells(line, [code(f"%%step a {line}\na = 1")], "bad-option", says)


ROWS: list[Broken] = [
    _option("memory", "1.5Gib", "write 1.5Gi"),
    _option("memory", "1GiB", "write 1Gi"),
    _option("memory", "1GB", "write 1G"),
    _option("memory", "1gb", "write 1G"),
    _option("memory", "4 Gi", "write 4Gi"),
    _option("memory", "-1", "more than 0"),
    _option("memory", "-4Gi", "write 4Gi"),
    _option("memory", "0", "more than 0"),
    _option("memory", "0Gi", "more than 0"),
    _option("memory", "1e400", "more than any machine has"),
    _option("memory", "1e4000", "no quantity"),
    _option("memory", 4, "did you mean 4Gi?"),
    _option("memory", "100m", "did you mean 100Mi?"),
    _option("memory", "512k", "too little for any program"),
    _option("memory", "٤Gi", "write 4Gi"),
    _option("memory", "1,5Gi", "write 1.5Gi"),
    _option("memory", "", "no quantity"),
    _option("memory", "lots", "write a number with a unit"),
    _option("memory", None, "has the wrong form"),
    _option("memory", ["1Gi", "2Gi"], "has the wrong form"),
    _option("memory", "1" * 200, "no quantity"),
    _option("cpu", "100mm", "write 100m (thousandths)"),
    _option("cpu", "two", "no quantity"),
    _option("cpu", "-1", "write 1"),
    _option("cpu", "0", "more than 0"),
    _option("cpu", "0.0001", "less than 1m"),
    _option("cpu", 1e6, "more than any machine has"),
    _option("cpu", "２x", "no quantity"),
    _option("cpu", True, "has the wrong form"),
    _option("gpu", -1, "no count of devices"),
    _option("gpu", 0.5, "devices cannot be shared"),
    _option("gpu", "two", "write 2"),
    _option("gpu", 64, "at most 16"),
    _option("gpu", "amd=1", "write amd.com/gpu=1"),
    _option("gpu", {"nvidia.com/gpu": -1}, "no count of devices"),
    _option("gpu", "١", "write a whole number"),
    _option("timeout", 90, "say the unit: 90s, 90m or 90h"),
    _option("timeout", "1d", "write 24h"),
    _option("timeout", "-1h", "no duration"),
    _option("timeout", "0s", "more than 0"),
    _option("timeout", "1 hour", "write 1h"),
    _option("retries", -1, "from 0 to 100"),
    _option("retries", "many", "from 0 to 100"),
    _option("workers", 1.5, "from 0 to 1000"),
    _option("volume", "new:1GiB:/x", "write 1Gi"),
    _tag("limit:memory:8GB", "write 8G"),
    _tag("limit:cpu:-2", "write 2"),
    _tag("limit:nvidia.com/gpu:0.5", "cannot be shared"),
    _magic("--memory 1GiB", "write 1Gi"),
    _magic("--gpu -1", "no count of devices"),
    _magic("--timeout 90", "say the unit"),
    _magic("--cpu=1e400", "more than any machine"),
]
