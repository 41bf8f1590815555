"""How a run is followed: a live table on a terminal, plain lines elsewhere. Progress goes to stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from nbkube.cli import tables
from nbkube.cli.terminal import is_terminal, one_line, tell

if TYPE_CHECKING:
    from types import TracebackType

    from rich.live import Live
    from rich.table import Table


@dataclass
class Line:
    """What is known of one step."""

    name: str
    cells: tuple[int, ...] = ()
    phase: str = "Pending"
    started: float = 0.0
    seconds: float | None = None
    peak_memory: int = 0
    cell: int | None = None
    note: str = ""


@dataclass
class Board:
    """The state of all steps of a run, kept from its events."""

    lines: dict[str, Line] = field(default_factory=dict)

    @classmethod
    def of(cls, steps: Iterable[tuple[str, tuple[int, ...]]]) -> Board:
        """Return a board of pending steps, given their names and cell numbers."""
        return cls({name: Line(name, cells) for name, cells in steps})

    def take(self, event: Mapping[str, Any]) -> Line | None:
        """Take in one event; return the step's line if it says something new to a reader of plain lines."""
        step = event.get("step")
        if not step:
            return None
        line = self.lines.setdefault(step, Line(step))
        match event.get("event"):
            case "started":
                # An event that is told later than it happened: the step has been running since then.
                since = max(0.0, time.time() - float(event.get("time") or time.time()))
                line.phase, line.started, line.note = "Running", time.monotonic() - since, ""
                return line
            case "cell":
                line.cell = event.get("cell") if event.get("state") == "started" else line.cell
            case "memory":
                line.peak_memory = max(line.peak_memory, int(event.get("bytes", 0)))
            case "again":
                line.phase, line.note = "Pending", f"runs again: {one_line(event.get('reason', ''))}"
                return line
            case "retry":
                line.phase, line.note = "Pending", f"tried again after: {one_line(event.get('reason', ''))}"
                return line
            case "fused":
                line.note = f"one process with {', '.join(map(one_line, event.get('with', ())))}"
                return line
            case "pod":
                return self._pod(line, event)
            case "step-ended":
                self._end(line, event)
                return line
        return None

    def _pod(self, line: Line, event: Mapping[str, Any]) -> Line | None:
        """Show what a pod waits for. Once the step runs, it tells itself how it gets on."""
        phase, reason = str(event.get("phase", "")), one_line(event.get("reason", ""))
        if line.phase != "Pending" or phase not in ("Pending", "Running"):
            return None
        note = reason or ("pod starts" if phase == "Running" else "pod is pending")
        if note == line.note:
            return None
        line.note = note
        return line if reason else None

    def _end(self, line: Line, event: Mapping[str, Any]) -> None:
        line.phase = "Cached" if event.get("cached") else str(event.get("phase", "Unknown"))
        line.seconds = float(event.get("seconds") or 0.0)
        line.peak_memory = int(event.get("peak_memory") or line.peak_memory)
        line.cell = None
        failure = event.get("failure")
        if failure:
            line.note = one_line(f"{failure.get('type') or failure.get('kind')}: {failure.get('message', '')}")

    def elapsed(self, line: Line) -> float | None:
        """Return how long a step has taken, so far or in all."""
        if line.phase == "Running" and line.started:
            return time.monotonic() - line.started
        return line.seconds


def message_of(event: Mapping[str, Any]) -> str:
    """Return the line that an event of the whole run is worth; "" for none."""
    match event.get("event"):
        case "warning":
            return f"warning: {one_line(event.get('message', ''))}"
        case "run-paused":
            return "paused: what is running goes on to its end, nothing else starts"
        case "run-resumed":
            return "goes on"
        case "uploading":
            return f"project files in the store: {event.get('done')} of {event.get('total')}"
        case "image":
            return f"image: {one_line(event.get('message', ''))}"
        case "contact":
            return f"no contact: {one_line(event.get('reason', ''))}" if event.get("lost") else "contact again"
    return ""


class View(Protocol):
    """Shows a run while it goes on; a context manager."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Show one event; may be called from any thread."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def view_for(board: Board, *, quiet: bool = False) -> View:
    """Return the view that suits stderr: a live table on a terminal, else plain lines (none when `quiet`)."""
    if quiet:
        return PlainView(board, quiet=True)
    return LiveView(board) if is_terminal(sys.stderr) else PlainView(board)


class PlainView:
    """One line for each thing that happens, readable in a log file."""

    def __init__(self, board: Board, *, quiet: bool = False) -> None:
        self._board = board
        self._quiet = quiet
        self._lock = threading.Lock()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def take(self, event: Mapping[str, Any]) -> None:
        """Print what is new."""
        if message := message_of(event):
            tell(message)
            return
        with self._lock:
            line = self._board.take(event)
            if line is not None and not self._quiet:
                tell(self._text(line))

    def _text(self, line: Line) -> str:
        ended = line.phase in ("Succeeded", "Failed", "Cancelled")
        took = f" in {tables.seconds(line.seconds)}" if ended else ""
        parts = [f"{one_line(line.name)}: {line.phase.lower()}{took}"]
        if ended and line.peak_memory:
            parts.append(f"peak memory {tables.memory(line.peak_memory)}")
        if line.note:
            parts.append(line.note)
        return ", ".join(parts)


class LiveView:
    """A table that is redrawn in place."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._lock = threading.Lock()
        self._live: Live | None = None

    def __enter__(self) -> LiveView:
        from rich.live import Live

        self._live = Live(
            get_renderable=self._draw,
            console=tables.console(sys.stderr),
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="ellipsis",
        )
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def take(self, event: Mapping[str, Any]) -> None:
        """Take in one event; the next redraw shows it."""
        if (message := message_of(event)) and self._live is not None:
            self._live.console.print(message, markup=False)
            return
        with self._lock:
            self._board.take(event)

    def _draw(self) -> Table:
        with self._lock:
            return board_table(self._board)


def board_table(board: Board) -> Table:
    """Return the table of a run: step, state, time, peak memory, and what else there is to say."""
    drawn = tables.table(("step", "state", "time", "peak memory", ""), right=("time", "peak memory"), wide=("",))
    for line in board.lines.values():
        drawn.add_row(
            one_line(line.name),
            tables.state(line.phase, sys.stderr),
            "cached" if line.phase == "Cached" else tables.seconds(board.elapsed(line)),
            tables.memory(line.peak_memory),
            _remark(line),
            style=tables.style(line.phase),
        )
    return drawn


def _remark(line: Line) -> str:
    if line.phase == "Running" and line.cell is not None:
        position = line.cells.index(line.cell) + 1 if line.cell in line.cells else None
        return f"cell {line.cell}" + (f" ({position} of {len(line.cells)})" if position else "")
    return line.note
