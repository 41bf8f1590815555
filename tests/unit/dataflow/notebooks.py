"""Small notebooks for the tests: one text per unit."""

from __future__ import annotations

from nbkube.dataflow import Flow, Unit, analyze
from nbkube.notebook.model import Cell


def cell(source: str, number: int = 1, tags: tuple[str, ...] = (), first_line: int = 1) -> Cell:
    """A code cell as read from a file."""
    return Cell(number, number, f"c{number}", source, tags, first_line=first_line)


def flow(*texts: str) -> Flow:
    """The analysis of a notebook with one cell in each unit."""
    units = [Unit(f"u{at}", (cell(text, at),)) for at, text in enumerate(texts, 1)]
    return analyze(units, file="nb.ipynb")


def edges(found: Flow) -> set[str]:
    """Data edges as `1>3 name`, units counted from 1."""
    return {f"{edge.producer + 1}>{edge.consumer + 1} {edge.name}" for edge in found.edges}


def after(found: Flow) -> list[str]:
    """For each unit those it waits for, counted from 1, as text."""
    return [" ".join(str(at + 1) for at in units) for units in found.after]
