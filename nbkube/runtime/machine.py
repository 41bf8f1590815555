"""What this machine has, within the limits of the control groups, container or service that this process lives in."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from nbkube.runtime.cgroups import cpu_limit, hierarchy, memory_left, memory_limit

ROOT = Path("/")
"""Where /proc and /sys are; another place in tests."""

_AMD_NODES = "sys/class/kfd/kfd/topology/nodes"
_NVIDIA = "proc/driver/nvidia/gpus"


def cores(root: Path = ROOT) -> float:
    """Return how many CPUs this process may use."""
    cpus = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    return min(cpus, cpu_limit(hierarchy("cpu", root / "proc/self")) or cpus)


def memory(root: Path = ROOT) -> int:
    """Return how many bytes of memory this process may use."""
    total = _meminfo(root).get("MemTotal") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(total, memory_limit(hierarchy("memory", root / "proc/self")) or total)


def free_memory(root: Path = ROOT) -> int:
    """Return how many bytes of that are not in use now."""
    available = _meminfo(root).get("MemAvailable", memory(root))
    left = memory_left(hierarchy("memory", root / "proc/self"))
    return available if left is None else min(available, left)


def _meminfo(root: Path) -> dict[str, int]:
    """Return the amounts in /proc/meminfo in bytes; nothing where there is no such file."""
    found = {}
    with contextlib.suppress(OSError):
        for line in (root / "proc/meminfo").read_text(encoding="ascii", errors="replace").splitlines():
            name, _, rest = line.partition(":")
            if rest.split()[1:] == ["kB"]:
                found[name] = int(rest.split()[0]) * 1024
    return found


def devices(root: Path = ROOT) -> dict[str, int]:
    """Return the number of GPUs that drivers tell of, by the name under which Kubernetes knows such a resource."""
    found = {}
    with contextlib.suppress(OSError):
        found["nvidia.com/gpu"] = len(os.listdir(root / _NVIDIA))
    with contextlib.suppress(OSError):
        nodes = [root / _AMD_NODES / name / "gpu_id" for name in os.listdir(root / _AMD_NODES)]
        found["amd.com/gpu"] = sum(node.read_text().strip() not in ("", "0") for node in nodes)
    return {name: count for name, count in found.items() if count}


__all__ = ["cores", "devices", "free_memory", "memory"]
