"""What a report shows: plain data, gathered by the caller."""

from __future__ import annotations

from typing import Any

import msgspec


class ReportStep(msgspec.Struct, frozen=True):
    """One step of the run; `cells` are its executed cells as notebook JSON, `failure` a text or empty."""

    name: str
    phase: str
    seconds: float = 0.0
    peak_memory: int = 0
    cached: bool = False
    after: tuple[str, ...] = ()
    cells: tuple[dict[str, Any], ...] = ()
    log: str = ""
    failure: str = ""


class ReportEdge(msgspec.Struct, frozen=True):
    """Data that went from one step to another: the names it carried."""

    producer: str
    consumer: str
    names: tuple[str, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A run ready to be drawn. Every text in it may come from a notebook of unknown origin."""

    title: str
    run: str
    phase: str
    started: float = 0.0
    seconds: float = 0.0
    parameters: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    steps: tuple[ReportStep, ...] = ()
    edges: tuple[ReportEdge, ...] = ()
    experiment: str = ""
    notebook: str = ""
