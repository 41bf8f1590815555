"""Order edges that tags ask for: `prev:NAME`."""

from __future__ import annotations

from collections.abc import Sequence

from nbkube.errors import Diagnostic, Place
from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline.cells import PlacedUnit


def tagged_order(units: Sequence[PlacedUnit], file: str) -> tuple[list[tuple[str, ...]], list[Diagnostic]]:
    """Return for each unit the earlier units its `prev:` tags name, and the faults of these tags."""
    steps: dict[str, list[int]] = {}
    for index, unit in enumerate(units):
        steps.setdefault(unit.step, []).append(index)
    named = list(dict.fromkeys(unit.step for unit in units if unit.kind == "step"))
    wanted = _wanted(units)
    faults: list[Diagnostic] = []
    cycles: set[frozenset[str]] = set()
    before: list[tuple[str, ...]] = []
    for index, unit in enumerate(units):
        names: dict[str, None] = {}
        for one in unit.cells:
            place = Place(file, one.cell.number, one.cell.id)
            for tag in one.prev:
                earlier = [at for at in steps.get(tag.value, ()) if at < index]
                if tag.value not in steps:
                    hint = did_you_mean(tag.value, named, f"there are the steps {', '.join(named)}")
                    faults.append(_fault(place, "unknown-step", f"the tag {tag.text}: there is no such step", hint))
                elif tag.value == unit.step:
                    message = f"the tag {tag.text} makes the step wait for itself"
                    faults.append(_fault(place, "self-cycle", message, "take the tag away"))
                elif not earlier:
                    faults += _later(unit.step, tag.value, tag.text, place, wanted, cycles)
                names.update((units[at].unit.name, None) for at in earlier if tag.value != unit.step)
        before.append(tuple(names))
    return before, faults


def _wanted(units: Sequence[PlacedUnit]) -> dict[str, set[str]]:
    wanted: dict[str, set[str]] = {}
    for unit in units:
        for one in unit.cells:
            wanted.setdefault(unit.step, set()).update(tag.value for tag in one.prev)
    return wanted


def _later(
    step: str, other: str, text: str, place: Place, wanted: dict[str, set[str]], cycles: set[frozenset[str]]
) -> list[Diagnostic]:
    """Return the fault of waiting for a step that begins further down; a cycle is reported once."""
    way = _way(other, step, wanted)
    if not way:
        message = f"the tag {text} waits for a step that comes later in the notebook"
        return [_fault(place, "later-step", message, f"move the cells of {other} above, or take the tag away")]
    members = frozenset(way)
    if members in cycles:
        return []
    cycles.add(members)
    circle = [step, *way]
    shown = " → ".join(circle if len(circle) <= 8 else [*circle[:4], f"… {len(circle) - 7} more …", *circle[-3:]])
    message = f"the tag {text} closes a circle of steps that wait for each other: {shown}"
    return [_fault(place, "cycle", message, "take one of these prev: tags away")]


def _way(start: str, end: str, wanted: dict[str, set[str]]) -> list[str]:
    """Return the steps from `start` to `end` along what each waits for, or nothing."""
    came: dict[str, str] = {start: ""}
    waiting = [start]
    while waiting:
        step = waiting.pop(0)
        if step == end:
            way = [step]
            while came[way[-1]]:
                way.append(came[way[-1]])
            return way[::-1]
        for other in sorted(wanted.get(step, ())):
            if other not in came:
                came[other] = step
                waiting.append(other)
    return []


def _fault(place: Place, code: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic("error", code, place, message, hint)
