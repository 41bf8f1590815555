"""Writing tags and options of one cell from the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbkube.cli.arguments import cell_options, existing_notebook
from nbkube.cli.terminal import one_line, tell, write
from nbkube.errors import NbkubeError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.notebook.model import Cell


def tag(
    client: Client, notebook: Path, cell: str, tags: Sequence[str], texts: Sequence[str], *, clear: bool, json: bool
) -> None:
    """Set a cell's tags (all of them) and options (those named; an empty value takes one away)."""
    path = existing_notebook(notebook)
    if not tags and not texts and not clear:
        raise NbkubeError("Nothing to write. Fix: give the tags of the cell, --option NAME=VALUE, or --clear.")
    if tags and clear:
        raise NbkubeError("--clear and tags were given together. Fix: leave one of them out.")
    options: dict[str, Any] | None = None
    if texts:
        there = _cell(client, path, cell)
        options = dict(there.options) if there else {}
        for name, value in cell_options(texts).items():
            if value == "":
                options.pop(name, None)
            else:
                options[name] = value
    client.tag(path, cell, None if not tags and not clear else list(tags), options)
    if json:
        from nbkube.cli.results import as_json

        body = {"notebook": str(path), "cell": cell, "tags": None if not tags and not clear else list(tags)}
        write(as_json({**body, "options": options}))
    else:
        tell(f"{one_line(str(path))}: cell {one_line(cell)} is written.")


def _cell(client: Client, path: Path, cell: str) -> Cell | None:
    cells = client.show(path).notebook.cells
    return next((one for one in cells if cell in (str(one.number), one.id)), None)
