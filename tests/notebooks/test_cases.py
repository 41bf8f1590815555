"""Every case of the table, run as a notebook in a real kernel and as a pipeline: the same variables, objects, files.

Spread by pytest-xdist: `pytest -n 2 tests/notebooks`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.errors import NotebookError
from tests.notebooks.compare import compare
from tests.notebooks.table import Case, load_cases, write_project

CASES = load_cases()
RUNNABLE = [one for one in CASES if not (one.refusal() or one.fails or one.warned)]


def _parameters(cases: list[Case]) -> list[object]:
    return [pytest.param(one, id=one.name, marks=[pytest.mark.slow] if one.slow else []) for one in cases]


@pytest.mark.parametrize("case", _parameters(RUNNABLE))
def test_pipeline_leaves_what_the_notebook_leaves(case: Case, tmp_path: Path) -> None:
    ended = compare(write_project(case, tmp_path), case.given, case.varies)
    assert ended.notebook is None
    assert ended.pipeline is None
    assert ended.differences == []
    assert {name: ended.metrics[name] for name in case.metrics} == case.metrics


@pytest.mark.parametrize("case", _parameters([one for one in CASES if one.fails]))
def test_both_fail_alike(case: Case, tmp_path: Path) -> None:
    ended = compare(write_project(case, tmp_path), case.given)
    assert ended.notebook is not None
    assert ended.pipeline is not None
    kind, exception = case.fails
    assert ended.pipeline.kind == kind
    assert ended.pipeline.cell == ended.notebook.cell
    assert kind != "error" or ended.pipeline.type == ended.notebook.type == exception


@pytest.mark.parametrize("case", _parameters([one for one in CASES if one.refusal()]))
def test_refused_before_it_runs(case: Case, tmp_path: Path) -> None:
    path = write_project(case, tmp_path)
    found = [one for one in Client().check(path) if one.severity == "error"]
    assert [one.code for one in found] == [case.refusal()]
    assert all(one.place.cell and one.hint for one in found)
    with pytest.raises(NotebookError):
        Client().run(path)
    assert not (tmp_path / ".nbkube").exists()


@pytest.mark.parametrize("case", _parameters([one for one in CASES if one.warned]))
def test_warned_before_it_runs(case: Case, tmp_path: Path) -> None:
    found = [one for one in Client().check(write_project(case, tmp_path)) if one.code == case.warned]
    assert found
    assert all(one.place.cell and one.place.line and one.hint for one in found)
