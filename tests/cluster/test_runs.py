"""Notebooks run as pods: the same results as on the laptop, one cache for both, YAML that needs nothing but kubectl."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from nbkube.client import Client
from nbkube.runs import Phase, RunState
from tests.building import CellText
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, pods, project

pytestmark = pytest.mark.timeout(1800)
EXAMPLES = Path(__file__).parents[2] / "examples"
CELLS: list[CellText] = [
    ("step:load", "import numpy as np\nrows = np.arange(200_000.0)"),
    ("step:fit", "mean = rows.mean()\nopen('mean.txt', 'w').write(str(mean))"),
    ("pipeline-metrics", "half = mean / 2"),
]


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found


def executed(state: RunState) -> list[str]:
    return [step.name for step in state.steps if not step.cached]


def test_digits_gives_what_it_gives_here(mine: Project, api: Api) -> None:
    mine.copy(EXAMPLES / "digits")
    notebook = mine.folder / "digits.ipynb"
    remote = mine.client().run(notebook)
    assert (remote.phase, remote.run.engine) == (Phase.SUCCEEDED, "argo")
    assert all(step.phase is Phase.SUCCEEDED and step.attempts == 1 for step in remote.steps)
    local = mine.client().run(notebook, engine="local", use_cache=False)
    assert remote.metrics == local.metrics
    # What was computed there is not computed here, and the other way round.
    assert executed(mine.client().run(notebook, engine="local")) == []
    before = len(pods(api, mine.namespace))
    again = mine.client().run(notebook)
    assert (again.phase, executed(again), again.metrics) == (Phase.SUCCEEDED, [], local.metrics)
    assert len(pods(api, mine.namespace)) == before


def test_here_first_then_there_and_one_cell_edited(mine: Project) -> None:
    local = mine.client().run(mine.notebook(CELLS), engine="local")
    assert executed(local) == ["load", "fit", "metrics"]
    assert executed(mine.client().run(mine.notebook(CELLS))) == []
    edited = mine.client().run(mine.notebook([*CELLS[:2], ("pipeline-metrics", "half = mean / 4")]))
    assert (edited.phase, executed(edited)) == (Phase.SUCCEEDED, ["metrics"])
    assert edited.metrics["half"] == local.metrics["half"] / 2


def test_exported_yaml_needs_nothing_but_kubectl(mine: Project, api: Api) -> None:
    notebook = mine.notebook(CELLS)
    file = mine.folder.parent / "work.yaml"
    command = [
        sys.executable,
        "-m",
        "nbkube",
        "export",
        str(notebook),
        "--to",
        "argo",
        "--no-cache",
        "--output",
        str(file),
    ]
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    manifest = yaml.safe_load(file.read_text())
    # What `kubectl create --filename work.yaml` sends.
    created = api.create(manifest)
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{mine.namespace}/workflows/{created['metadata']['name']}"
    ended = api.wait(
        path, lambda one: one.get("status", {}).get("phase") in ("Succeeded", "Failed", "Error"), 600, "it"
    )
    assert ended["status"]["phase"] == "Succeeded", ended["status"]
    (state,) = mine.client().runs()
    assert (state.phase, state.metrics) == (Phase.SUCCEEDED, {"half": 199_999 / 4})
    assert [path.path for path in mine.client().artifacts(state.id).files] == ["mean.txt"]


def test_another_laptop_sees_the_run_through_the_store(mine: Project, tmp_path: Path) -> None:
    run = mine.client().submit(mine.notebook([("step:a", "print('hello from a pod')\nx = 1")]))
    other = Client(tmp_path / "elsewhere", store=mine.url)
    until = time.monotonic() + 300
    while not other.status(run).phase.ended and time.monotonic() < until:
        time.sleep(1)
    assert other.status(run).phase is Phase.SUCCEEDED
    assert [piece.text for _, piece in other.logs(run)] == ["hello from a pod\n"]
