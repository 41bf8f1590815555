"""Printing what the cells of a run have printed and shown."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from nbkube.cli.results import as_json, found
from nbkube.cli.terminal import is_terminal, one_line, safe, wants_colour, write
from nbkube.errors import NotFoundError

if TYPE_CHECKING:
    from nbkube.client import Client
    from nbkube.runs.model import Live


def print_logs(client: Client, name: str, step: str | None, *, follow: bool, json: bool) -> None:
    """Print the output of a run's steps; ends quietly when nobody reads any more.

    On a terminal the text is made harmless; elsewhere it is passed on as it is.
    """
    from nbkube.cli.arguments import suggestion

    state = found(client, name)
    known = [one.name for one in state.steps]
    if step is not None and step not in known:
        raise NotFoundError(f"Run {state.run.id} has no step {step!r}.{suggestion(step, known)}")
    terminal, colour = is_terminal(sys.stdout), wants_colour(sys.stdout)
    width = max(map(len, known), default=0)
    for source, stream, cell, text in lines(client.logs(state.run.id, step, follow=follow)):
        if json:
            shown = as_json({"step": source, "cell": cell, "stream": stream, "text": text})
        else:
            shown = safe(text, colour=colour) if terminal else text
            shown = shown if step is not None else f"{one_line(source):<{width}} | {shown}"
        if not write(shown):
            return


def lines(pieces: Iterable[tuple[str, Live]]) -> Iterator[tuple[str, str, int | None, str]]:
    """Yield (step, stream, cell, line) from pieces of text that may end anywhere in a line."""
    rest: dict[tuple[str, str], tuple[int | None, str]] = {}
    last = ""
    for step, piece in pieces:
        if step != last:
            yield from _rests(rest)
            last = step
        stream = piece.stream or "output"
        text = piece.text if piece.event == "log" else _output_text(piece.output)
        if piece.event != "log" and text:
            yield from _rests(rest)
            text = text.rstrip("\n") + "\n"
        _, begun = rest.get((step, stream), (None, ""))
        *whole, left = (begun + text).split("\n")
        for line in whole:
            yield step, stream, piece.cell, line
        rest[step, stream] = (piece.cell, left)
    yield from _rests(rest)


def _rests(rest: dict[tuple[str, str], tuple[int | None, str]]) -> Iterator[tuple[str, str, int | None, str]]:
    """Yield and forget the unfinished lines."""
    for (step, stream), (cell, text) in rest.items():
        if text:
            yield step, stream, cell, text
    rest.clear()


def _output_text(output: dict[str, Any] | None) -> str:
    """Return what a cell displayed as text: results and errors; pictures and the like by their kind."""
    if not output:
        return ""
    if output.get("output_type") == "error":
        return "\n".join(map(str, output.get("traceback") or ()))
    data = output.get("data") or {}
    text = data.get("text/plain", "")
    text = "".join(map(str, text)) if isinstance(text, list) else str(text)
    return text or (f"<{', '.join(sorted(map(str, data)))}>" if data else "")
