"""What this machine, or the container we are in, has and has free."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

from nbkube.cluster.capacity import Capacity, NodeCapacity
from nbkube.runtime.machine import cores, free_memory, memory

_ARCH = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64"}
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
    total = {"cpu": cores(root), "memory": float(memory(root))}
    free = {"cpu": max(0.0, total["cpu"] - _load(root)), "memory": float(free_memory(root))}
    products = _gpus()
    if products:
        total["nvidia.com/gpu"] = free["nvidia.com/gpu"] = float(len(products))
    product = products[0] if products else ""
    node = NodeCapacity(platform.node() or "this machine", total, free, product=product, arch=architecture())
    return Capacity("this machine", (node,))


def _load(root: Path) -> float:
    try:
        return float((root / "proc/loadavg").read_text(encoding="ascii").split()[0])
    except OSError:
        return 0.0


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
