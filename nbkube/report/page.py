"""The page of a report: everything from the run is escaped or sanitised, and nothing can run or be fetched."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from typing import Any

from nbkube.report.cells import render_cells, shorten
from nbkube.report.graph import draw_graph
from nbkube.report.model import Report, ReportStep
from nbkube.report.sanitise import sanitise

SIGNS = {"Succeeded": "✓", "Cached": "=", "Failed": "✗", "Skipped": "–", "Cancelled": "■", "Running": "▶"}
# Pictures only from the page itself, styles only its own; no script, frame, form, font or connection at all.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render_report(report: Report) -> str:
    """Return a complete HTML document for a run: one file, no scripts, no network."""
    style = files("nbkube.report").joinpath("style.css").read_text(encoding="utf-8")
    graph = draw_graph(report.steps, report.edges)
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_text(report.title)}: {_text(report.phase)}</title>",
        f"<style>{style}</style></head><body>",
        _header(report),
        _metrics(report.metrics),
        _section("Steps", _steps_table(report.steps)),
        _section("Flow", f'<div class="scroll">{graph}</div>' if graph else ""),
        _section("Parameters", _pairs(report.parameters)),
        "<h2>Cells and outputs</h2>" if report.steps else "",
        *(_step(step, report.phase) for step in report.steps),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _header(report: Report) -> str:
    facts = [
        _state(report.phase),
        f"run <code>{_text(report.run)}</code>",
        f"notebook <code>{_text(report.notebook)}</code>" if report.notebook else "",
        f"experiment {_text(report.experiment)}" if report.experiment else "",
        _moment(report.started),
        duration(report.seconds),
    ]
    return f'<header><h1>{_text(report.title)}</h1><p class="facts">{_join(facts)}</p></header>'


def _metrics(metrics: Mapping[str, Any]) -> str:
    if not metrics:
        return ""
    tiles = "".join(
        f"<div><dt>{_text(name)}</dt><dd>{_text(_short(value))}</dd></div>" for name, value in metrics.items()
    )
    return _section("Metrics", f'<dl class="tiles">{tiles}</dl>')


def _steps_table(steps: Iterable[ReportStep]) -> str:
    rows = "".join(
        f"<tr><td>{_text(step.name)}</td><td>{_state(_phase(step))}</td>"
        f'<td class="number">{duration(0.0 if step.cached else step.seconds)}</td>'
        f'<td class="number">{amount(step.peak_memory)}</td><td>{"yes" if step.cached else ""}</td>'
        f"<td>{_text(', '.join(step.after))}</td></tr>"
        for step in steps
    )
    heads = (
        '<tr><th scope="col">step</th><th scope="col">state</th><th scope="col" class="number">time</th>'
        '<th scope="col" class="number">peak memory</th><th scope="col">cached</th><th scope="col">after</th></tr>'
    )
    return f'<div class="scroll"><table class="plain"><thead>{heads}</thead><tbody>{rows}</tbody></table></div>'


def _step(step: ReportStep, phase: str) -> str:
    # Of a failed run only the failed step is open: that is what the reader came for.
    opened = " open" if phase != "Failed" or step.failure or step.phase == "Failed" else ""
    facts = _join([_state(_phase(step)), duration(0.0 if step.cached else step.seconds), amount(step.peak_memory)])
    failure = f'<div class="failure">{_text(step.failure)}</div>' if step.failure else ""
    cells = render_cells(list(step.cells)) if step.cells else ""
    body = cells or (f'<div class="log"><pre>{_log(step.log)}</pre></div>' if step.log else "<p>No output.</p>")
    return (
        f'<section class="step"><details{opened}><summary>{_text(step.name)} <span class="facts">{facts}</span>'
        f'</summary>{failure}<div class="nb">{body}</div></details></section>'
    )


def _log(text: str) -> str:
    from nbconvert.filters import ansi2html

    return sanitise(str(ansi2html(shorten(text))))


def _pairs(values: Mapping[str, Any]) -> str:
    if not values:
        return ""
    rows = "".join(
        f"<tr><td>{_text(name)}</td><td><code>{_text(_json(value))}</code></td></tr>" for name, value in values.items()
    )
    return (
        '<table class="plain"><thead><tr><th scope="col">name</th><th scope="col">value</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
    )


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body}" if body else ""


def _phase(step: ReportStep) -> str:
    return "Cached" if step.cached else step.phase


def _state(phase: str) -> str:
    return f'<span class="state {_text(phase.lower())}">{SIGNS.get(phase, "·")} {_text(phase)}</span>'


def _join(parts: Iterable[str]) -> str:
    return " · ".join(part for part in parts if part)


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=repr)


def _text(value: str) -> str:
    """Escape text, and replace what HTML cannot hold (NUL, lone surrogates)."""
    return escape(value.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8"))


def _moment(started: float) -> str:
    if not started:
        return ""
    return datetime.datetime.fromtimestamp(started).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def duration(seconds: float) -> str:
    """Return a duration for people; nothing for none."""
    if not seconds:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return (
        f"{whole // 60} min {whole % 60:02d} s" if whole < 3600 else f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    )


def amount(size: int) -> str:
    """Return a number of bytes for people; nothing for none."""
    if not size:
        return ""
    return f"{size / 2**20:.0f} MiB" if size < 2**30 else f"{size / 2**30:.1f} GiB"
