"""Pipelines and runs as HTML for the output of a notebook cell: no scripts, in the colours of the page around it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nbkube.report.graph import draw_graph
from nbkube.report.model import Report, ReportEdge, ReportStep
from nbkube.report.page import SIGNS, duration

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
"""


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


def _row(step: ReportStep) -> str:
    state = f"{SIGNS.get(step.phase, '·')} {escape(step.phase)}"
    time = "" if step.cached else escape(duration(step.seconds))
    why = escape(_short(step.failure, 300))
    return f"<tr><th>{escape(step.name)}</th><td>{state}</td><td>{time}</td><td>{why}</td></tr>"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _frame(body: str) -> str:
    return f'<div class="nbkube-out"><style>{_STYLE}</style>{body}</div>'
