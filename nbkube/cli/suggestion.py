"""Tags proposed for a notebook, printed or written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.cli import tables
from nbkube.cli.arguments import existing_notebook
from nbkube.cli.terminal import one_line, tell, write
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.pipeline.suggest import Suggestion


def suggest(client: Client, notebook: Path, cells: Sequence[int], *, accept: bool, json: bool) -> None:
    """Print tags for the cells that have none; with `accept` write them, of `cells` alone if some are named."""
    path = existing_notebook(notebook)
    found = client.suggest(path)
    chosen = [one for one in found if not cells or one.number in cells]
    missing = sorted(set(cells) - {one.number for one in found})
    if missing:
        raise NbkubeError(f"Nothing is suggested for cell {missing[0]}. Fix: leave --cell {missing[0]} out.")
    for one in chosen if accept else ():
        client.tag(path, one.number, list(one.tags))
    if json:
        import msgspec

        write(msgspec.json.encode({"notebook": str(path), "tags": chosen, "written": accept}).decode())
        return
    _draw(chosen)
    if not chosen:
        tell(f"{one_line(str(path))}: nothing to suggest, every part is tagged.")
    elif accept:
        tell(f"{one_line(str(path))}: {len(chosen)} cells are tagged.")
    else:
        tell(f"Nothing is written yet. Accept with: nbkube suggest {one_line(str(path))} --accept")


def _draw(found: Sequence[Suggestion]) -> None:
    if not found:
        return
    drawn = tables.table(("cell", "tag", "why"), right=("cell",), wide=("why",))
    for one in found:
        drawn.add_row(str(one.number), one_line(one.tags[0]), one_line(one.reason))
    tables.draw(drawn)
