"""What the kernel has noted about the memory of this container."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from msgspec.structs import replace

from nbkube.runtime.program import Failure

_ROOT = Path("/sys/fs/cgroup")
_UNLIMITED = 1 << 60


class Memory(msgspec.Struct, frozen=True):
    """`kills`: processes ended for want of memory; `limit` and `peak` in bytes, 0 where unknown."""

    kills: int = 0
    limit: int = 0
    peak: int = 0


def memory(root: Path = _ROOT) -> Memory:
    """Read the counters of control groups, version 2 or 1; all are 0 where there are none."""
    if (root / "cgroup.controllers").exists():
        kills = _field(root / "memory.events", "oom_kill")
        return Memory(kills, _number(root / "memory.max"), _number(root / "memory.peak"))
    folder = root / "memory"
    kills = _field(folder / "memory.oom_control", "oom_kill")
    return Memory(kills, _number(folder / "memory.limit_in_bytes"), _number(folder / "memory.max_usage_in_bytes"))


def explained(failure: Failure, before: Memory, after: Memory) -> Failure:
    """Return the failure with its true reason if the kernel has ended a process for want of memory meanwhile."""
    if after.kills <= before.kills or failure.kind == "cancelled":
        return failure
    peak = f", peak {_shown(after.peak)}" if after.peak else ""
    what = f"the step needed more memory than its limit of {_shown(after.limit)}{peak}: the kernel ended a process"
    hint = f"Give it more, e.g. memory={_shown(2 * after.limit)}."
    if failure.kind == "killed":
        return replace(failure, type="OOMKilled", message=f"{what} (OOMKilled). {hint}")
    return replace(failure, message=f"{failure.message}\n{what} (OOMKilled). {hint}")


def _shown(size: int) -> str:
    for unit, factor in (("Gi", 1 << 30), ("Mi", 1 << 20)):
        if size >= factor:
            return f"{size / factor:.3g}{unit}" if size < 1000 * factor else f"{size // factor}{unit}"
    return f"{size >> 10}Ki"


def _field(path: Path, name: str) -> int:
    found = re.search(rf"^{name} (\d+)$", _text(path), re.MULTILINE)
    return int(found[1]) if found else 0


def _number(path: Path) -> int:
    text = _text(path).strip()
    number = int(text) if text.isdigit() else 0
    return number if number < _UNLIMITED else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
