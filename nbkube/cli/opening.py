"""Opening a step, and taking what was changed in it back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.cli import results
from nbkube.cli.terminal import is_terminal, one_line, safe, tell, write
from nbkube.errors import NbkubeError, NotFoundError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.interactive.apply import Changes
    from nbkube.interactive.model import Opened


def open_step(client: Client, run: str, step: str, output: Path | None, *, json: bool) -> int:
    """Write the notebook of a step and say where; return the exit code."""
    state = results.found(client, run)
    opened = client.open_step(state.id, step, output)
    if json:
        write(
            results.as_json(
                {
                    "notebook": str(opened.path), "run": opened.run, "step": opened.step, "cell": opened.cell,
                    "failed": opened.failed, "replayed": opened.replayed, "doubts": opened.doubts,
                }
            )
        )  # fmt: skip
        return 0
    write(safe(str(opened.path)))
    tell_position(opened)
    return 0


def tell_position(opened: Opened) -> None:
    """Say where a person goes on, and why the state may not be what it was."""
    if opened.failed:
        tell(f"Step {one_line(opened.step)} failed in cell {opened.cell}: its first cell brings a kernel there.")
    else:
        tell(f"Its first cell brings a kernel to where step {one_line(opened.step)} began.")
    if opened.replayed:
        tell(f"Run again by it: cells {', '.join(map(str, opened.replayed))}.")
    for one in opened.doubts:
        tell(f"The state may differ from the run's: {one_line(one)}.")


def apply(client: Client, opened: Path, notebook: Path | None, *, yes: bool, json: bool) -> int:
    """Show what an opened step changes in its notebook, ask, and write it; return the exit code."""
    if not opened.exists():
        raise NotFoundError(f"{opened}: no such file. Fix: give a file that nbkube open has written.")
    changes = client.changes_of(opened, notebook)
    if not json:
        write(safe(changes.diff(), colour=False), end="")
    written = bool(changes.edits) and (yes or _agreed(changes))
    if written:
        client.apply(changes)
    if json:
        edits = [{"cell": edit.number, "id": edit.id} for edit in changes.edits]
        body = {"notebook": str(changes.notebook), "edits": edits, "diff": changes.diff(), "written": written}
        write(results.as_json(body))
        return 0
    _tell(changes, written)
    return 0


def _agreed(changes: Changes) -> bool:
    if not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
        raise NbkubeError("There is nobody to ask, and nothing has been written. Fix: add --yes.")
    tell(f"Write this to {safe(str(changes.notebook))}? [y/N] ", end="")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(changes: Changes, written: bool) -> None:
    count = len(changes.edits)
    cells = "1 cell" if count == 1 else f"{count} cells"
    if not count:
        tell(f"{safe(str(changes.notebook))}: no cell was changed.")
    else:
        tell(f"{safe(str(changes.notebook))}: {cells} {'written' if written else 'left as they are'}.")
    if changes.added:
        tell(f"Cells that you have added ({changes.added}) stay where they are.")
