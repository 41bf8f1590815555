"""A second run executes what a change concerns and nothing else, and gives what a fresh run would."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.runs import Phase, RunState
from nbkube.state.namespace import load_values
from nbkube.storage import open_store
from tests.notebooks.table import AGAIN, Case, edit_project, load_cases, write_project


def _executed(state: RunState) -> list[str]:
    return [step.name for step in state.steps if not step.cached]


def _holds(client: Client, state: RunState, project: Path, expression: str) -> object:
    bindings = client.bindings(state.id)
    names = [one.id for one in ast.walk(ast.parse(expression)) if isinstance(one, ast.Name) and one.id in bindings]
    values = load_values(bindings, open_store(project / ".nbkube"), names, root=str(project))
    return eval(expression, dict(values))


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in load_cases(AGAIN)])
def test_second_run(case: Case, tmp_path: Path) -> None:
    client = Client(tmp_path)
    path = write_project(case, tmp_path, expectation=False)
    first = client.run(path)
    assert first.phase == (Phase.FAILED if case.first_fails else Phase.SUCCEEDED)
    edit_project(case, tmp_path)
    second = client.run(path, parameters=case.given)
    assert second.phase == Phase.SUCCEEDED, second
    assert _executed(second) == list(case.runs)
    assert _holds(client, second, tmp_path, case.then)
