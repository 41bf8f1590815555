"""Where a person goes on in an opened step: the cells run again for them, the cell to go on at."""

from __future__ import annotations

import msgspec

from nbkube.interactive.doubts import awaits
from nbkube.interactive.model import StepInputs
from nbkube.runtime.program import CellProgram, StepProgram


class Position(msgspec.Struct, frozen=True):
    """`replayed` are the cells that are run again, with their programs; `cells` those that follow. `held` is the number
    of a cell before the failing one that awaits something: it and those after it are left to the person."""

    replayed: tuple[tuple[StepProgram, CellProgram], ...]
    cells: tuple[CellProgram, ...]
    held: int = 0


def position_of(inputs: StepInputs) -> Position:
    """Return where a step is opened: at its failing cell, else at its first one."""
    own = {cell.number for cell in inputs.program.cells}
    every = [(program, cell) for program in inputs.programs for cell in program.cells]
    if inputs.failure is not None:
        end = [cell.number for _, cell in every].index(inputs.failure.cell or 0)
    else:
        end = next((at for at, (_, cell) in enumerate(every) if cell.number in own), len(every))
    held = next((at for at, (_, cell) in enumerate(every[:end]) if awaits(cell)), None)
    first = end if held is None else held
    return Position(
        replayed=tuple(every[:first]),
        cells=tuple(cell for _, cell in every[first:]),
        held=0 if held is None else every[held][1].number,
    )
