"""Running a pipeline from the command line: progress while it goes on, the metrics or the reason at its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbkube.cli import results
from nbkube.cli.arguments import Options
from nbkube.cli.progress import Board, view_for
from nbkube.cli.terminal import is_terminal, tell, write
from nbkube.pipeline.model import Pipeline

if TYPE_CHECKING:
    from nbkube.client import Client


@dataclass(frozen=True)
class Request:
    """What is to be run, and how."""

    notebook: Path
    parameters: Mapping[str, Any]
    options: Options
    experiment: str
    use_cache: bool
    parallel: int | None


def run(client: Client, pipeline: Pipeline, request: Request, *, quiet: bool, json: bool) -> int:
    """Run a pipeline, show it, and return the exit code."""
    board = Board.of((step.name, tuple(cell.number for cell in step.unit.cells)) for step in pipeline.steps)
    state, run_id = None, ""
    with view_for(board, quiet=quiet or (json and not is_terminal(sys.stderr))) as view, stoppable():

        def listen(event: Mapping[str, Any]) -> None:
            nonlocal run_id
            run_id = event.get("run", run_id)
            view.take(event)
            if json:
                write(results.as_json(event))

        try:
            state = client.run(
                request.notebook,
                parameters=request.parameters,
                options=request.options,
                experiment=request.experiment,
                use_cache=request.use_cache,
                parallel=request.parallel,
                on_event=listen,
            )
        except KeyboardInterrupt:
            if not run_id:
                raise
    state = state or client.status(run_id)
    results.tell_outcome(state, request.notebook, metrics=not json)
    if json:
        write(results.as_json(results.summary(state)))
    return results.exit_code(state.phase)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C cancel the run; a second one does not wait for steps to end by themselves."""
    asked = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            tell("\nCancelling: finished steps are kept. Press Ctrl-C again to kill the rest at once.")
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
