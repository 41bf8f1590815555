"""Running a pipeline from the command line: progress while it goes on, the metrics or the reason at its end."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from msgspec import to_builtins

from nbkube.cli import results
from nbkube.cli.arguments import Options
from nbkube.cli.progress import Board, message_of, view_for
from nbkube.cli.terminal import is_terminal, safe, tell, write
from nbkube.pipeline.model import Pipeline, Step

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.engines.model import Listener
    from nbkube.runs.model import RunState


@dataclass(frozen=True)
class Request:
    """What is to be run, and how."""

    notebook: Path
    parameters: Mapping[str, Any]
    options: Options
    experiment: str
    use_cache: bool
    parallel: int | None
    engine: str = ""
    fuse: bool = True


def run(client: Client, pipeline: Pipeline, request: Request, *, quiet: bool, json: bool) -> int:
    """Run a pipeline, show it, and return the exit code."""
    board = Board.of((step.name, tuple(cell.number for cell in step.unit.cells)) for step in pipeline.steps)

    def carry_out(listen: Listener) -> RunState:
        return client.run(on_event=listen, **_asked(request))

    return _shown(client, board, carry_out, request.notebook, quiet=quiet, json=json)


def submit(client: Client, request: Request, *, json: bool) -> int:
    """Start a run, print its id and leave it to itself."""

    def listen(event: Mapping[str, Any]) -> None:
        if message := message_of(event):
            tell(safe(message))

    run_id = client.submit(on_event=listen, **_asked(request))
    if json:
        write(results.as_json({"run": run_id}))
        return 0
    write(run_id)
    tell(f"The run goes on by itself. See it with: nbkube status --watch {run_id}")
    return 0


def follow(client: Client, state: RunState, *, quiet: bool, json: bool) -> int:
    """Follow a run that somebody has started, as `run` does: Ctrl-C cancels it. Returns the exit code."""

    def carry_out(listen: Listener) -> RunState:
        listen({"event": "run-followed", "run": state.run.id})
        return client.follow(state.run.id, listen)

    return _shown(client, _board(state), carry_out, _notebook(state), quiet=quiet, json=json)


def watch(client: Client, name: str, *, json: bool) -> None:
    """Show a run until it has ended; the run does not notice, and Ctrl-C ends only the showing."""
    state = results.found(client, name)
    with view_for(_board(state), quiet=json and not is_terminal(sys.stderr)) as view:
        for seen in client.watch(state.run.id, live=json):
            event = to_builtins(seen)
            view.take(event)
            if json:
                write(results.as_json(event))


def _asked(request: Request) -> dict[str, Any]:
    names = {"notebook": "path"}
    return {names.get(one.name, one.name): getattr(request, one.name) for one in fields(request)}


def _notebook(state: RunState) -> Path:
    """Return a run's notebook as a person would type it here."""
    path = Path(state.run.root) / state.run.notebook
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _board(state: RunState) -> Board:
    return Board.of((unit.name, unit.cells) for unit in state.run.units)


def _shown(
    client: Client,
    board: Board,
    carry_out: Callable[[Listener], RunState],
    notebook: Path,
    *,
    quiet: bool,
    json: bool,
) -> int:
    """Show a run while it goes on and what it ended with; return the exit code."""
    run_id, ended = "", None
    with view_for(board, quiet=quiet or (json and not is_terminal(sys.stderr))) as view, stoppable():

        def listen(event: Mapping[str, Any]) -> None:
            nonlocal run_id
            run_id = event.get("run", run_id)
            view.take(event)
            if json:
                write(results.as_json(event))

        try:
            ended = carry_out(listen)
        except KeyboardInterrupt:
            if not run_id:
                raise
    ended = ended or client.status(run_id)
    results.tell_outcome(ended, notebook, metrics=not json)
    if json:
        write(results.as_json(results.summary(ended)))
    return results.exit_code(ended.phase)


def shown_while(steps: Sequence[Step], carry_out: Callable[[Listener], RunState], *, quiet: bool) -> RunState:
    """Carry out a run of these steps, show it while it goes on, and return its state."""
    board = Board.of((step.name, tuple(cell.number for cell in step.unit.cells)) for step in steps)
    with view_for(board, quiet=quiet) as view, stoppable():
        return carry_out(view.take)


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
