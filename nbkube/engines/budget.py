"""What the machine has and what steps ask for: steps start only while their requests fit, and keep to them.

The machine's share is what its CPUs and memory are, or less where a control group or an affinity says so. Requests are
held against it run by run; two runs at once do not know of each other.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from nbkube.engines.model import UnitPlan
from nbkube.errors import Diagnostic, Place
from nbkube.pipeline.model import StepOptions
from nbkube.pipeline.quantities import quantity
from nbkube.runtime.cgroups import MemoryGroup
from nbkube.runtime.machine import cores, devices, memory
from nbkube.runtime.program import Failure

if TYPE_CHECKING:
    from nbkube.runtime.attempt import Attempt

OOM = "OOM"


class Capacity(msgspec.Struct, frozen=True):
    """What steps may use together: CPUs, bytes of memory, devices by resource name (as far as drivers tell)."""

    cpu: float
    memory: int
    devices: dict[str, int] = {}

    @property
    def parallel(self) -> int:
        """How many steps run at once where nobody says anything: one per whole CPU."""
        return max(1, int(self.cpu))


def machine() -> Capacity:
    """Return what this process may use of this machine."""
    return Capacity(cores(), memory(), devices())


def check(units: Iterable[UnitPlan], capacity: Capacity, notebook: str) -> list[Diagnostic]:
    """Return an error for each request that this machine can never meet, and a warning for devices it has none of."""
    found = []
    for unit in units:
        cells = unit.program.cells
        place = Place(notebook, cells[0].number, cells[0].id) if cells else Place(notebook)
        for option, asked, there in _requests(unit.options, capacity):
            message = f"step {unit.program.unit} asks for {option} {asked}; there is {there} on this machine"
            hint = f"lower the option {option.partition(' ')[0]}, or run it where there is more"
            found.append(Diagnostic("error", "too-much", place, message, hint))
        for name in unit.options.gpu:
            if name not in capacity.devices:
                message = f"step {unit.program.unit} asks for {name}; no driver on this machine tells of one"
                found.append(Diagnostic("warning", "no-device", place, message, "the step runs without"))
    return found


def _requests(options: StepOptions, capacity: Capacity) -> Iterator[tuple[str, str, str]]:
    """Yield (option, what is asked, what there is) of each request beyond the capacity."""
    if options.cpu and quantity(options.cpu) > capacity.cpu:
        yield "cpu", options.cpu, f"{capacity.cpu:g}"
    if options.memory and quantity(options.memory) > capacity.memory:
        yield "memory", options.memory, f"{capacity.memory / (1 << 30):.1f}Gi"
    for name, count in options.gpu.items():
        if count > capacity.devices.get(name, count):
            yield f"gpu {name}", str(count), str(capacity.devices[name])


class Budget:
    """Holds the requests of steps that run at once against a capacity."""

    def __init__(self, units: Sequence[UnitPlan], capacity: Capacity) -> None:
        self._needs = [_needs(unit.options) for unit in units]
        self._capacity = {"cpu": capacity.cpu, "memory": float(capacity.memory), **capacity.devices}

    def fits(self, first: int, last: int, running: Iterable[tuple[int, int]]) -> bool:
        """Tell whether units first..last, one process, may start beside others; alone everything may."""
        groups = [(first, last), *running]
        if len(groups) == 1:
            return True
        total: dict[str, float] = {}
        for start, end in groups:
            for name, amount in self._group_needs(start, end).items():
                total[name] = total.get(name, 0.0) + amount
        return all(total.get(name, 0.0) <= amount for name, amount in self._capacity.items())

    def _group_needs(self, first: int, last: int) -> dict[str, float]:
        needs: dict[str, float] = {}
        for unit in self._needs[first : last + 1]:
            for name, amount in unit.items():
                needs[name] = max(needs.get(name, 0.0), amount)
        return needs


def _needs(options: StepOptions) -> dict[str, float]:
    asked = {"cpu": options.cpu, "memory": options.memory}
    needs = {name: float(quantity(text)) for name, text in asked.items() if text}
    return {**needs, **{name: float(count) for name, count in options.gpu.items()}}


class MemoryLimit:
    """Keeps a step's process to the memory that it asks for.

    Where this process may make control groups the system does it, at once; elsewhere the step is ended when a
    measurement (twice a second) finds more. A step that asks for nothing is not limited. Use as a context manager.
    """

    def __init__(self, units: Sequence[UnitPlan]) -> None:
        asked = [unit.options.memory for unit in units]
        self._step = units[0].program.unit
        self._asked = max(asked, key=quantity) if all(asked) else ""
        self._bytes = int(quantity(self._asked)) if self._asked else 0
        self._group: MemoryGroup | None = None
        self._exceeded = False
        self._cell: int | None = None

    def __enter__(self) -> MemoryLimit:
        self._group = MemoryGroup.make(self._bytes, uuid.uuid4().hex[:8]) if self._bytes else None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._group is not None:
            self._group.remove()

    @property
    def entrance(self) -> str:
        """What the step's process enters; "" for nothing."""
        return self._group.entrance if self._group else ""

    def watch(self, event: Mapping[str, Any], attempt: Attempt) -> None:
        """Look at an event of the step, and end the step if it tells of too much memory."""
        if event.get("event") == "cell" and event.get("state") == "started":
            self._cell = event.get("cell")
        too_much = self._bytes and self._group is None and event.get("event") == "memory"
        if too_much and event.get("bytes", 0) > self._bytes and not self._exceeded:
            self._exceeded = True
            attempt.cancel(self._failure())

    def judged(self, failure: Failure | None) -> Failure | None:
        """Return why a step failed; too much memory is the reason behind whatever it looks like."""
        if failure is None or failure.kind == "cancelled" or self._group is None or not self._group.exceeded():
            return failure
        return msgspec.structs.replace(self._failure(), cell=failure.cell or self._cell, cell_id=failure.cell_id)

    def _failure(self) -> Failure:
        message = f"step {self._step} used more than memory {self._asked}. Raise its option memory"
        return Failure("oom", message, cell=self._cell, type=OOM, exit_code=137)


__all__ = ["Budget", "Capacity", "MemoryLimit", "check", "machine"]
