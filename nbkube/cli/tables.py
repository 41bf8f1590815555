"""Tables and numbers for people. The only place that imports rich."""

from __future__ import annotations

import datetime
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from nbkube.cli.terminal import safe, wants_colour

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

# Every state has a sign of its own, so nothing is said by colour alone; the colours differ in brightness too.
STATES = {
    "Pending": ("·", "dim"),
    "Running": ("▶", "cyan"),
    "Paused": ("‖", "magenta"),
    "Succeeded": ("✓", "blue"),
    "Cached": ("=", "blue"),
    "Skipped": ("-", "dim"),
    "Failed": ("✗", "bold yellow"),
    "Cancelled": ("■", "yellow"),
    "Unknown": ("?", "magenta"),
}
_PLAIN = {"·": ".", "▶": ">", "‖": "|", "✓": "+", "✗": "x", "■": "#"}


def console(stream: TextIO | None = None) -> Console:
    """Return a console on a stream (default stdout) that honours NO_COLOR, width and encoding."""
    from rich.console import Console

    stream = stream or sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 120
    return Console(
        force_jupyter=False,  # what a kernel shows beside the text is ours
        file=stream,
        width=width,
        no_color=not wants_colour(stream),
        highlight=False,
        markup=False,
        emoji=False,
        safe_box=True,
    )


def table(columns: Sequence[str], *, right: Sequence[str] = (), wide: Sequence[str] = ()) -> Table:
    """Return an empty table: `right` columns are aligned right, `wide` ones wrap first when the terminal is narrow."""
    from rich import box
    from rich.table import Table

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in columns:
        drawn.add_column(
            name,
            justify="right" if name in right else "left",
            overflow="fold",
            no_wrap=bool(wide) and name not in wide,
        )
    return drawn


def draw(drawn: Table, stream: TextIO | None = None) -> None:
    """Print a table; without trailing blanks, so that it can be copied and compared."""
    target = stream or sys.stdout
    screen = console(target)
    with screen.capture() as captured:
        screen.print(drawn)
    text = "\n".join(line.rstrip() for line in captured.get().splitlines())
    from nbkube.cli.terminal import tell, write

    (tell if target is sys.stderr else write)(text)


def state(name: str, stream: TextIO | None = None) -> str:
    """Return a state with its sign, in characters that the stream can show."""
    sign = STATES.get(name, ("?", ""))[0]
    return f"{drawable(sign, stream)} {name}"


def style(name: str) -> str:
    """Return the rich style of a state."""
    return STATES.get(name, ("?", ""))[1]


def drawable(text: str, stream: TextIO | None = None) -> str:
    """Return text with signs replaced where the stream's encoding lacks them."""
    stream = stream or sys.stdout
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        plain = {**_PLAIN, "─": "-", "▸": ">", "├": "|", "└": "`", "│": "|", "…": "...", "–": "-", "—": "-"}
        return "".join(plain.get(sign, sign) for sign in text)
    return text


def seconds(value: float | None) -> str:
    """Return a duration as people say it: 0.4 s, 12 s, 3 min 05 s, 2 h 10 min."""
    if value is None:
        return ""
    if value < 9.95:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(value: int | None) -> str:
    """Return a number of bytes in binary units; nothing for 0."""
    if not value:
        return ""
    amount = float(value)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB" if amount < 1024 else f"{amount / 1024:.1f} TiB"


def moment(value: float | None) -> str:
    """Return a POSIX time as local date and time."""
    if not value:
        return ""
    return datetime.datetime.fromtimestamp(value).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def number(value: object) -> str:
    """Return a metric as text: numbers with at most six significant digits, anything else shortened."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        text = safe(str(value)).replace("\n", " ")
        return text if len(text) <= 80 else text[:79] + "…"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
