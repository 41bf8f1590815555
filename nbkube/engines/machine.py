"""What this machine, or the container nbkube runs in, has to offer, and what of it is free now."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

_CGROUP = Path("/sys/fs/cgroup")
_NVIDIA = Path("/proc/driver/nvidia/gpus")
_UNLIMITED = 1 << 60  # version 1 of cgroups writes a huge number for "no limit"


class Machine(msgspec.Struct, frozen=True):
    """CPUs in cores, memory and disk in bytes; `devices` by the resource name that Kubernetes has for them."""

    cpus: float
    cpus_free: float
    memory: int
    memory_free: int
    disk_free: int
    devices: dict[str, int]


def this_machine(folder: Path) -> Machine:
    """Return the resources of this machine within the limits of its cgroup; `folder` tells which disk is meant."""
    cpus = _cpus()
    memory, free = _memory()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return Machine(
        cpus=cpus,
        cpus_free=round(max(0.0, cpus - load), 1),
        memory=memory,
        memory_free=free,
        disk_free=shutil.disk_usage(folder).free,
        devices={"nvidia.com/gpu": count} if (count := _entries(_NVIDIA)) else {},
    )


def _cpus() -> float:
    """Return the CPUs this process may use: its affinity, within the quota of its cgroup."""
    allowed = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    words = (_text(_CGROUP / "cpu.max") or "").split()
    if len(words) != 2:
        words = [_text(_CGROUP / "cpu" / f"cpu.cfs_{one}_us") or "" for one in ("quota", "period")]
    quota, period = (_number(word) for word in words)
    return min(allowed, round(quota / period, 2)) if quota and period else allowed


def _memory() -> tuple[int, int]:
    """Return the memory in all and what is free of it."""
    table = dict(line.split(":", 1) for line in (_text(Path("/proc/meminfo")) or "").splitlines() if ":" in line)
    total, free = (_kibibytes(table.get(name, "")) for name in ("MemTotal", "MemAvailable"))
    if not total and hasattr(os, "sysconf"):
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        free = total // 2  # systems without /proc do not say; half is a guess on the safe side
    for limit_file, usage_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit = _number(_text(_CGROUP / limit_file) or "")
        if limit and limit < min(_UNLIMITED, total):
            used = _number(_text(_CGROUP / usage_file) or "")
            return limit, max(0, min(free, limit - used))
    return total, free


def _kibibytes(text: str) -> int:
    return _number(text.replace("kB", "").strip()) * 1024


def _number(text: str) -> int:
    return int(text) if text.strip().isdigit() else 0


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _entries(folder: Path) -> int:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return 0
