"""Verifying from the command line."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nbkube.cli import pipelines, results, tables
from nbkube.cli.terminal import is_terminal, one_line, tell, write
from nbkube.errors import NotebookError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.verify.model import Verification

_SHOWN = 50


def verify(
    client: Client,
    notebook: Path,
    texts: list[str] | None,
    file: Path | None,
    *,
    engine: str = "",
    fuse: bool = True,
    quiet: bool,
    json: bool,
) -> int:
    """Verify a notebook, print the verdict, and return the exit code."""
    pipeline = pipelines.built(client, notebook, texts, file, None)
    if pipelines.is_broken(pipeline):
        raise NotebookError(diagnostics=pipeline.diagnostics)
    progress = _Progress(quiet=quiet or json)
    try:
        verdict = client.verify(notebook, parameters=pipeline.values, engine=engine, fuse=fuse, tell=progress)
    except KeyboardInterrupt:
        # The cell that was being run in the kernel is never waited for; asyncio would report that at length.
        logging.getLogger("asyncio").setLevel(logging.CRITICAL + 1)
        raise
    finally:
        progress.end()
    if json:
        write(results.as_json({"equal": verdict.equal, "differences": list(verdict.differences)}))
    else:
        draw_verdict(notebook, verdict)
    return 0 if verdict.equal else 1


class _Progress:
    """One line that is replaced on a terminal; elsewhere a line per stage, not per cell."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._redraw = is_terminal(sys.stderr)
        self._stage = ""

    def __call__(self, text: str) -> None:
        if self._quiet:
            return
        if self._redraw:
            tell(f"\r\x1b[2K{one_line(text, 78)}", end="")
        elif text.partition(":")[0] != self._stage:
            self._stage = text.partition(":")[0]
            tell(one_line(self._stage))

    def end(self) -> None:
        if self._redraw and not self._quiet:
            tell("\r\x1b[2K", end="")


def draw_verdict(notebook: Path, verdict: Verification) -> None:
    """Print a verdict for people."""
    name = one_line(str(notebook))
    if verdict.equal:
        write(f"{name}: equal. The pipeline computes what the notebook computes.")
    else:
        count = len(verdict.differences)
        write(f"{name}: {count} {'difference' if count == 1 else 'differences'}.")
        _draw_differences(verdict)
    if verdict.failure:
        write(f"The notebook {one_line(verdict.failure)}.")
    if verdict.varying:
        write(f"Varies by itself, compared by type and shape: {', '.join(map(one_line, verdict.varying))}.")
    if verdict.unstored:
        write(f"Cannot be stored, compared by type: {', '.join(map(one_line, verdict.unstored))}.")
    took = (tables.seconds(verdict.notebook_seconds), tables.seconds(verdict.pipeline_seconds))
    write(f"Notebook {took[0]}, pipeline {took[1]}.")


def _draw_differences(verdict: Verification) -> None:
    drawn = tables.table(("what", "where", "notebook", "pipeline", "run"), wide=("where", "notebook", "pipeline"))
    for one in verdict.differences[:_SHOWN]:
        where = one_line(one.path or one.name)
        drawn.add_row(one.aspect, where, one_line(one.left), one_line(one.right), one.run)
    tables.draw(drawn)
    if len(verdict.differences) > _SHOWN:
        write(f"… and {len(verdict.differences) - _SHOWN} more.")
