"""The beginning of a file as lines for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from nbkube.cli.terminal import one_line, safe

if TYPE_CHECKING:
    from nbkube.storage.preview import ObjectPreview

_WIDTH = 24


def preview_lines(found: ObjectPreview) -> Iterator[str]:
    """Yield the lines that show a preview; what a terminal would obey is taken out."""
    match found.kind:
        case "text":
            yield from (safe(line) for line in found.text.splitlines())
        case "table":
            yield from _table(found.rows)
        case "notebook":
            for number, cell in enumerate(found.cells, 1):
                yield f"[{number}] {one_line(cell.kind)}"
                yield from (f"    {safe(line)}" for line in cell.source.splitlines())
        case "records":
            for number, record in enumerate(found.records, 1):
                yield f"record {number}: {record.size} bytes"
                for one in record.features:
                    yield f"    {one_line(one.name)}: {one.type}[{one.count}] {one_line(one.text, 200)}"
        case _:
            yield f"{found.kind}: {found.size} bytes that cannot be shown as text"
    if found.cut:
        yield "…"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    shown = [[one_line(cell, _WIDTH) for cell in row] for row in rows]
    columns = max((len(row) for row in shown), default=0)
    widths = [max((len(row[n]) for row in shown if n < len(row)), default=0) for n in range(columns)]
    for row in shown:
        yield "  ".join(f"{cell:<{widths[n]}}" for n, cell in enumerate(row)).rstrip()
