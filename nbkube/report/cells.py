"""Executed cells as HTML, drawn by nbconvert and then sanitised as a whole."""

from __future__ import annotations

import functools
from typing import Any

from nbkube.report.sanitise import LIMIT, sanitise

# From best to worst; what is not listed (scripts, widgets, other applications' data) is never drawn.
_SHOWN = (
    "text/html",
    "text/markdown",
    "image/svg+xml",
    "image/png",
    "image/jpeg",
    "image/gif",
    "text/latex",
    "text/plain",
)
_LONG = 200_000
"""Characters of plain output per cell that are shown."""


def render_cells(cells: list[dict[str, Any]]) -> str:
    """Return the HTML of executed code cells (notebook JSON, any content): inert, and complete as an element."""
    import nbformat

    notebook = nbformat.from_dict(
        {
            "cells": [_plain_cell(cell) for cell in cells],
            "metadata": {"language_info": {"name": "python", "pygments_lexer": "ipython3"}},
            "nbformat": 4,
            "nbformat_minor": 4,
        }
    )
    body, _ = _exporter().from_notebook_node(notebook)
    return sanitise(body)


@functools.cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    return HTMLExporter(template_name="basic", exclude_anchor_links=True)


def _plain_cell(cell: dict[str, Any]) -> dict[str, Any]:
    count = cell.get("execution_count")
    return {
        "cell_type": "code",
        "metadata": {},
        "source": _text(cell.get("source")),
        "execution_count": count if isinstance(count, int) else None,
        "outputs": [drawn for one in cell.get("outputs") or () if (drawn := _plain_output(one))],
    }


def _plain_output(output: dict[str, Any]) -> dict[str, Any] | None:
    """Keep of an output only what is drawn, with the types that nbconvert expects."""
    kind = output.get("output_type")
    if kind == "stream":
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        return {"output_type": kind, "name": name, "text": shorten(_text(output.get("text")))}
    if kind == "error":
        lines = output.get("traceback") or [f"{output.get('ename')}: {output.get('evalue')}"]
        return {
            "output_type": kind,
            "ename": _text(output.get("ename")),
            "evalue": _text(output.get("evalue")),
            "traceback": [shorten(_text(line)) for line in lines],
        }
    if kind not in ("display_data", "execute_result"):
        return None
    data = {mime: _text(value) for mime, value in (output.get("data") or {}).items() if mime in _SHOWN}
    html = data.pop("text/html", "")
    if html and len(html) <= LIMIT:
        # By itself, so that an element left open or closed once too often stays inside this output.
        data["text/html"] = sanitise(html)
    if "text/plain" in data:
        data["text/plain"] = shorten(data["text/plain"])
    best = next((mime for mime in _SHOWN if mime in data), None)
    if best is None:
        return None
    return {"output_type": "display_data", "metadata": {}, "data": {best: data[best]}}


def shorten(text: str) -> str:
    """Return text, without its middle where it is very long."""
    if len(text) <= _LONG:
        return text
    left_out = len(text) - _LONG
    return f"{text[: _LONG // 2]}\n… {left_out:,} characters left out …\n{text[-_LONG // 2 :]}"


def _text(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
