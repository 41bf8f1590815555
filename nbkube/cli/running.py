"""Running a pipeline from the command line: progress while it goes on, the metrics or the reason at its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from nbkube.cli import results
from nbkube.cli.arguments import Options
from nbkube.cli.progress import Board, view_for
from nbkube.cli.terminal import is_terminal, tell, write
from nbkube.pipeline.model import Pipeline, Step

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.engines.model import Listener
    from nbkube.runs import RunState


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


def follow(steps: Sequence[Step], execute: Callable[[Listener], RunState], *, quiet: bool) -> RunState:
    """Carry out a run whose steps are known, show it, and return its state."""
    board = Board.of((step.name, tuple(cell.number for cell in step.unit.cells)) for step in steps)
    with view_for(board, quiet=quiet) as view:
        return execute(view.take)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let Ctrl-C (and SIGTERM) cancel the run; a second one does not wait for steps to end by themselves."""
    asked = 0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        asked += 1
        if asked == 1:
            tell("\nCancelling: finished steps are kept. Press Ctrl-C again to kill the rest at once.")
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
