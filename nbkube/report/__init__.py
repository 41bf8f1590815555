"""A run as one HTML file that anyone can open: no scripts, no network, nothing of the notebook's own HTML trusted."""

from __future__ import annotations

from nbkube.report.model import Report, ReportEdge, ReportStep

__all__ = ["Report", "ReportEdge", "ReportStep", "render_report"]


def render_report(report: Report) -> str:
    """Return a complete HTML document for a run."""
    from nbkube.report.page import render_report as render

    return render(report)
