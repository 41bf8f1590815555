"""What a step used, as the requests that would fit it: for people, and for the form in which requests are made."""

from __future__ import annotations

import math

import msgspec

from nbkube.runs.model import StepRun

_MARGIN = 1.2
_SMALL = 64 << 20
_QUARTER = 256 << 20
_GIB = 1 << 30
_WORTH_MEMORY = 256 << 20
_WORTH_CPU = 1.2


class Proposal(msgspec.Struct, frozen=True):
    """Requests that would fit a step, as Kubernetes quantities, and what they come from.

    `used_memory` are bytes, the peak of all its processes; `used_cpu` CPUs on average, over its wall time.
    """

    step: str
    memory: str
    cpu: str
    used_memory: int
    used_cpu: float

    def __str__(self) -> str:
        used = f"{self.used_memory / _GIB:.1f}Gi" if self.used_memory >= _GIB else f"{self.used_memory >> 20}Mi"
        return f"{self.step} used {used}, {self.used_cpu:.1f} cpu: ask for memory {self.memory}, cpu {self.cpu}"


def proposal(step: StepRun) -> Proposal | None:
    """Return the requests that would fit a step: a fifth more memory than its peak, its CPUs rounded up to halves.

    None for a step that was not measured in this run. One that failed for lack of memory needs more than it got.
    """
    if not step.peak_memory or step.seconds <= 0:
        return None
    cpu = step.cpu_seconds / step.seconds
    return Proposal(step.name, _memory(step.peak_memory * _MARGIN), _cpu(cpu), step.peak_memory, cpu)


def is_worth_telling(found: Proposal) -> bool:
    """Tell whether a step used enough that a person would want to ask for it."""
    return found.used_memory >= _WORTH_MEMORY or found.used_cpu >= _WORTH_CPU


def _memory(size: float) -> str:
    """Return a quantity of at least so many bytes, in steps of 64Mi, 256Mi from 1Gi on, 1Gi from 8Gi on."""
    if size <= _GIB:
        whole = math.ceil(size / _SMALL) * 64
        return "1Gi" if whole == 1024 else f"{whole}Mi"
    step = _QUARTER if size <= 8 * _GIB else _GIB
    return f"{math.ceil(size / step) * step / _GIB:g}Gi"


def _cpu(cpus: float) -> str:
    return f"{max(1, math.ceil(cpus * 2 - 0.05)) / 2:g}"
