"""Pipelines and runs as HTML for the output of a notebook cell: no scripts, in the colours of the page around it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from nbkube.preflight.amounts import shown
from nbkube.report.graph import draw_graph
from nbkube.report.model import Report, ReportEdge, ReportStep
from nbkube.report.page import SIGNS, duration

if TYPE_CHECKING:
    from nbkube.cluster.capacity import Capacity

_STYLE = """
.nbkube-out svg.graph{display:block;max-width:100%;height:auto}
.nbkube-out svg.graph rect{fill:var(--jp-layout-color1,#fff);stroke:var(--jp-border-color0,#777);stroke-width:1.5}
.nbkube-out svg.graph text{fill:var(--jp-ui-font-color1,#222);font:13px system-ui,sans-serif}
.nbkube-out svg.graph .failed rect{stroke:var(--jp-error-color1,#b3261e);stroke-width:2.5}
.nbkube-out svg.graph .cached rect{stroke-dasharray:5 3}
.nbkube-out svg.graph .edge path{fill:none;stroke:var(--jp-ui-font-color2,#666);stroke-width:1.3}
.nbkube-out svg.graph .order path{stroke-dasharray:3 4}
.nbkube-out svg.graph path.tip{fill:var(--jp-ui-font-color2,#666)}
.nbkube-out svg.graph text.carried{font:11px ui-monospace,monospace;paint-order:stroke;
stroke:var(--jp-layout-color0,#fff);stroke-width:5px}
.nbkube-out pre{background:var(--jp-layout-color1,#fff);border:1px solid var(--jp-border-color2,#ddd);
max-height:420px;overflow:auto;padding:6px 8px;white-space:pre}
.nbkube-out .bar{background:var(--jp-layout-color3,#bbb);border-radius:3px;display:inline-block;height:7px;width:120px}
.nbkube-out .bar span{background:var(--jp-brand-color1,#1976d2);border-radius:3px;display:block;height:100%}
"""
_MOST_LINES = 5000
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f]")


def pipeline_html(name: str, steps: Sequence[ReportStep], edges: Sequence[ReportEdge], notes: Iterable[str]) -> str:
    """Return a pipeline that has not run: its graph, and what was found about it."""
    found = "".join(f"<li>{escape(_short(one, 500))}</li>" for one in notes)
    title = f"<b>{escape(name)}</b>: {len(steps)} steps"
    return _frame(f"<p>{title}</p>{draw_graph(steps, edges)}{f'<ul>{found}</ul>' if found else ''}")


def run_html(report: Report) -> str:
    """Return a run: where it stands, its metrics, its steps."""
    facts = (
        f"{SIGNS.get(report.phase, '·')} <b>{escape(report.phase)}</b> {escape(report.title)}, run {escape(report.run)}"
    )
    metrics = ", ".join(
        f"{escape(name)} <b>{escape(_short(str(value), 80))}</b>" for name, value in report.metrics.items()
    )
    rows = "".join(_row(step) for step in report.steps)
    head = "<tr><th>step</th><th>state</th><th>time</th><th></th></tr>"
    table = f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"
    return _frame(f"<p>{facts}</p>{f'<p>{metrics}</p>' if metrics else ''}{table}")


def log_html(text: str) -> str:
    """Return the log of a run as a box that scrolls; of a very long one the end."""
    lines = _ESCAPES.sub("", text).splitlines()
    left = len(lines) - _MOST_LINES
    before = f"<p>The first {left:,} lines are left out here; `nbkube logs` prints them.</p>" if left > 0 else ""
    shown = "\n".join(lines[-_MOST_LINES:]) if lines else "Nothing was shown."
    return _frame(f'{before}<pre tabindex="0">{escape(shown)}</pre>')


def capacity_html(capacity: Capacity, place: str) -> str:
    """Return what is free, node by node, and the quotas."""
    rows = [
        _room(node.name if name == "cpu" else "", name, None if node.free is None else node.free.get(name, 0.0), total)
        for node in capacity.nodes
        for name, total in sorted(node.allocatable.items())
        if name in ("cpu", "memory") or "/" in name
    ]
    rows += [
        _room(f"quota {quota.name}", name, hard - quota.used.get(name, 0.0), hard)
        for quota in capacity.quotas
        for name, hard in sorted(quota.hard.items())
    ]
    hidden = f"<p>Not visible to you: {escape(', '.join(capacity.hidden))}</p>" if capacity.hidden else ""
    head = f"<p><b>{escape(place)}</b>, from {escape(capacity.source)}</p>"
    return _frame(f"{head}<table><tbody>{''.join(rows)}</tbody></table>{hidden}")


def _room(place: str, name: str, free: float | None, total: float) -> str:
    used = 0 if free is None or total <= 0 else round(100 * min(1.0, max(0.0, 1 - free / total)))
    said = shown(name, total) if free is None else f"{shown(name, free)} of {shown(name, total)} free"
    bar = f'<span class="bar"><span style="width:{used}%"></span></span>'
    label = "CPUs" if name == "cpu" else name
    return f"<tr><th>{escape(place)}</th><td>{escape(label)}</td><td>{bar}</td><td>{escape(said)}</td></tr>"


def _row(step: ReportStep) -> str:
    state = f"{SIGNS.get(step.phase, '·')} {escape(step.phase)}"
    time = "" if step.cached else escape(duration(step.seconds))
    why = escape(_short(step.failure, 300))
    return f"<tr><th>{escape(step.name)}</th><td>{state}</td><td>{time}</td><td>{why}</td></tr>"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _frame(body: str) -> str:
    return f'<div class="nbkube-out"><style>{_STYLE}</style>{body}</div>'
