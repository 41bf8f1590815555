"""Each example as a pipeline: its steps, its result, its second run, and the proof that it equals the notebook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nbkube.notebook import read_notebook
from nbkube.pipeline import Pipeline, build_pipeline
from tests.unit.examples.archives import data_folder
from tests.unit.examples.notebooks import copy_of, notebook, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

MAIN = "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"


def nbkube(*words: str, cwd: Path, code: int = 0) -> list[Any]:
    """Run a command with --json; return what it prints, one value for each line."""
    command = [sys.executable, "-c", MAIN, *words, "--json"]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=1150, check=False, env={**os.environ})
    assert done.returncode == code, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return [json.loads(line) for line in done.stdout.splitlines()]


def given(values: Mapping[str, Any]) -> list[str]:
    return [word for name, value in values.items() for word in ("-p", f"{name}={value}")]


def pipeline(name: str) -> Pipeline:
    return build_pipeline(read_notebook(str(notebook(name))))


@pytest.mark.parametrize("name", ["digits", "diabetes", "sentiment"])
def test_an_example_has_no_findings_and_two_metrics(name: str) -> None:
    found = pipeline(name)
    assert found.diagnostics == ()
    assert len(found.metrics) == 2


def test_the_two_models_of_digits_do_not_wait_for_each_other() -> None:
    steps = {step.name: step for step in pipeline("digits").steps}
    assert set(steps["forest"].after) == set(steps["neighbours"].after) == {"setup", "split"}
    assert {"forest", "neighbours"} <= set(steps["compare"].after)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_the_metrics_are_the_notebooks_and_a_second_run_executes_nothing(name: str, tmp_path: Path) -> None:
    path = copy_of(name, tmp_path / "pipeline")
    first = nbkube("run", str(path), cwd=path.parent)[-1]
    assert first["phase"] == "Succeeded"
    assert {file.name for file in path.parent.iterdir()} == {path.name, ".nbkube"}
    printed = run(copy_of(name, tmp_path / "notebook"))["metrics"].split()
    assert [first["metrics"][metric] for metric in pipeline(name).metrics] == [json.loads(value) for value in printed]
    second = nbkube("run", str(path), cwd=path.parent)[-1]
    assert second["metrics"] == first["metrics"]
    assert all(step["cached"] for step in second["steps"].values())


@pytest.mark.parametrize("name", ["digits", "diabetes", "sentiment"])
def test_an_example_is_proved_equal(name: str, tmp_path: Path) -> None:
    path = copy_of(name, tmp_path / "project")
    values: dict[str, Any] = {}
    if name == "sentiment":
        values = {"data": data_folder(tmp_path), "reviews": 2000, "epochs": 2, "encoder": "tfidf"}
    (proof,) = nbkube("verify", str(path), *given(values), cwd=path.parent)
    assert proof["differences"] == []
    assert proof["equal"] is True
