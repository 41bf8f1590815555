"""What a step used, as the requests that would fit it: for people, and for the form in which requests are made."""

from __future__ import annotations

import math

import msgspec

from nbkube.runs.model import StepRun

_ROOM = 1.25
"""Proposed memory over the measured peak; the panel's format.ts follows the same rules."""

_MIB = 1 << 20
_GIB = 1 << 30
_WORTH_MEMORY = 256 << 20
_WORTH_CPU = 1.2


class Proposal(msgspec.Struct, frozen=True):
    """Requests that would fit a step, as Kubernetes quantities, and what they come from.

    `used_memory` are bytes, the peak of all its processes; `used_cpu` CPUs on average, over its wall time; `gpus` and
    `used_gpu_memory` (bytes) what it used of NVIDIA GPUs, 0 where nothing is known of any.
    """

    step: str
    memory: str
    cpu: str
    used_memory: int
    used_cpu: float
    gpus: int = 0
    used_gpu_memory: int = 0

    def __str__(self) -> str:
        used = f"{self.step} used {_shown(self.used_memory)}, {self.used_cpu:.1f} cpu"
        ask = f"ask for memory {self.memory}, cpu {self.cpu}"
        if self.gpus:
            used += f", {self.gpus} gpu with {_shown(self.used_gpu_memory)}"
            ask += f", gpu {self.gpus}"
        return f"{used}: {ask}"


def proposal(step: StepRun) -> Proposal | None:
    """Return the requests that would fit a step; None for a step that was not measured in this run.

    One that failed for lack of memory needs more than it got.
    """
    memory, cpu = proposed_memory(step.peak_memory), proposed_cpu(step.seconds, step.cpu_seconds)
    if not memory or not cpu:
        return None
    return Proposal(
        step.name, memory, cpu, step.peak_memory, step.cpu_seconds / step.seconds, step.gpus, step.gpu_memory
    )


def is_worth_telling(found: Proposal) -> bool:
    """Tell whether a step used enough that a person would want to ask for it."""
    return found.gpus > 0 or found.used_memory >= _WORTH_MEMORY or found.used_cpu >= _WORTH_CPU


def _shown(size: int) -> str:
    return f"{size / _GIB:.1f}Gi" if size >= _GIB else f"{size >> 20}Mi"


def proposed_cpu(seconds: float, cpu_seconds: float) -> str:
    """Return a CPU request from what was used: its mean, rounded up to tenths; "" where nothing was measured."""
    if seconds <= 0 or cpu_seconds <= 0:
        return ""
    tenths = max(1, math.ceil(10 * cpu_seconds / seconds - 0.01))
    return f"{tenths / 10:g}"


def proposed_memory(peak: int) -> str:
    """Return a memory request from the measured peak in bytes with a quarter more; "" where nothing was measured.

    Rounded up to 64Mi, from 1Gi on to 256Mi, from 8Gi on to whole Gi.
    """
    if peak <= 0:
        return ""
    wanted = math.ceil(peak * _ROOM / _MIB)
    if wanted > 8192:
        return f"{math.ceil(wanted / 1024)}Gi"
    step = 256 if wanted > 1024 else 64
    rounded = math.ceil(wanted / step) * step
    return f"{rounded // 1024}Gi" if rounded % 1024 == 0 else f"{rounded}Mi"
