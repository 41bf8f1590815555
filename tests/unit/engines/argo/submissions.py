"""Submissions for tests of the Argo engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nbkube.engines.argo.graph import Graph
from nbkube.engines.argo.target import Target
from nbkube.engines.argo.workflow import workflow
from nbkube.engines.model import Submission, UnitPlan
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.pipeline.model import StepOptions
from nbkube.plan import Plan
from nbkube.runtime.program import StepProgram
from tests.building import CellText, write_notebook

TARGET = Target("registry.example/nb@sha256:" + "0" * 64, "s3://bucket/prefix", store_secret="keys")
DIGEST = "d" * 64


def submission(*after: Sequence[int], options: Mapping[int, StepOptions] | None = None, **how: Any) -> Submission:
    """Return units u0, u1, …, each after the given ones."""
    given = options or {}
    units = tuple(
        UnitPlan(StepProgram(unit=f"u{at}", digest=str(at), cells=()), given.get(at, StepOptions()), tuple(one))
        for at, one in enumerate(after)
    )
    return Submission("20260101-000000-aa", "/home/me/project", ".", units, (), **how)


def planned(folder: Path, cells: Sequence[CellText], options: Mapping[str, Mapping[str, Any]] | None = None) -> Plan:
    """Return the plan of a notebook written to a folder."""
    notebook = write_notebook(folder / "work.ipynb", cells)
    return Plan.of(build_pipeline(read_notebook(notebook), options=options), notebook)


def manifest(given: Submission, target: Target = TARGET, **how: Any) -> dict[str, Any]:
    """Return the Workflow of a submission."""
    how = how or {"run": given.run, "name": given.run}
    return workflow(Graph.of(given), DIGEST, target, **how)


def template(found: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a Workflow's template by its name."""
    return next(one for one in found["spec"]["templates"] if one["name"] == name)
