"""What this machine, or the container we are in, has and has free."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from nbkube.cluster.capacity import Capacity, NodeCapacity

_ARCH = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
_HUGE = 2**60
_SMI_SECONDS = 5.0


def architecture() -> str:
    """Return the kind of processor as images name it: amd64, arm64."""
    machine = platform.machine()
    return _ARCH.get(machine, machine)


def this_machine(root: Path = Path("/")) -> Capacity:
    """Return cores, memory and NVIDIA GPUs of this machine, within the limits of the container or service we run in.

    Free CPU is what the load average of the last minute leaves.

    Args:
        root: where /proc and /sys are, for tests.
    """
    cores = float(_cores())
    memory, available = _memory(root)
    for folder in _groups(root, "memory"):
        for limit_file, usage_file in (("memory.max", "memory.current"), _V1_MEMORY):
            limit = _number(folder / limit_file)
            if limit is not None and limit < min(memory, _HUGE):
                memory = limit
                available = min(available, max(0.0, limit - (_number(folder / usage_file) or 0.0)))
    for folder in _groups(root, "cpu"):
        cores = min(cores, _quota(folder) or cores)
    load = float((_read(root / "proc/loadavg") or "0").split()[0])
    total = {"cpu": cores, "memory": memory}
    free = {"cpu": max(0.0, cores - load), "memory": available}
    products = _gpus()
    if products:
        total["nvidia.com/gpu"] = free["nvidia.com/gpu"] = float(len(products))
    product = products[0] if products else ""
    node = NodeCapacity(platform.node() or "this machine", total, free, product=product, arch=architecture())
    return Capacity("this machine", (node,))


_V1_MEMORY = ("memory.limit_in_bytes", "memory.usage_in_bytes")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory(root: Path) -> tuple[float, float]:
    """Return all and available memory in bytes."""
    found = {}
    for line in (_read(root / "proc/meminfo") or "").splitlines():
        name, _, rest = line.partition(":")
        if rest.split()[1:] == ["kB"]:
            found[name] = float(rest.split()[0]) * 1024
    if "MemTotal" in found:
        return found["MemTotal"], found.get("MemAvailable", found["MemTotal"])
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    return total, total


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of the control groups that hold us, of both versions, the innermost first."""
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        mount = root / "sys/fs/cgroup"
        if controllers:
            if controller not in controllers.split(","):
                continue
            mount = next((one for one in (mount / controllers, mount / controller) if one.is_dir()), mount)
        inner = mount / path.lstrip("/")
        # Inside a container the path may be the host's, while the mount shows only what is ours.
        folder = inner if inner.is_dir() else mount
        while True:
            yield folder
            if folder == mount:
                break
            folder = folder.parent


def _quota(folder: Path) -> float | None:
    """Return the cores that a control group may use."""
    text = _read(folder / "cpu.max")
    if text:
        limit, _, period = text.strip().partition(" ")
        return float(limit) / float(period or 100_000) if limit != "max" else None
    limit_v1, period_v1 = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return limit_v1 / period_v1 if limit_v1 and period_v1 and limit_v1 > 0 else None


def _gpus() -> list[str]:
    """Return the names of the NVIDIA GPUs that nvidia-smi sees."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=name", "--format=csv,noheader"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SMI_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [line.strip().replace(" ", "-") for line in done.stdout.splitlines() if line.strip()] * (not done.returncode)


def _number(path: Path) -> float | None:
    text = _read(path)
    try:
        return float(text.strip()) if text else None
    except ValueError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
