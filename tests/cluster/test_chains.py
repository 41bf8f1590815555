"""Chains of steps in one pod: the same results and cache entries as with a pod for each step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.runs import Phase, RunState
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, pods, project

_CELLS = [
    ("step:one", "values = [1, 2, 3]"),
    ("step:two", "values.append(4)\nopen('made.txt', 'w').write('two')"),
    ("step:three", "total = sum(values)"),
    ("step:four", "text = open('made.txt').read() + str(total)"),
    ("step:five", "print(text)"),
]


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found


def _results(state: RunState) -> dict[str, str]:
    assert state.phase is Phase.SUCCEEDED, state
    return {one.name: one.manifest for one in state.steps}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_chain_shares_a_pod_and_its_results_are_those_of_single_pods(mine: Project, api: Api) -> None:
    notebook, client = mine.notebook(_CELLS), mine.client()
    together = _results(client.run(notebook))
    assert len([one for one in pods(api, mine.namespace) if "nbkube.io/step" in one["metadata"]["labels"]]) == 1
    store = mine.store()
    for name in list(store.list("steps/")):
        store.remove(name)
    alone = _results(client.run(notebook, fuse=False))
    assert together == alone


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fuse", [True, False])
def test_the_pipeline_in_pods_computes_what_the_notebook_does(mine: Project, fuse: bool) -> None:
    verdict = mine.client().verify(mine.notebook(_CELLS), fuse=fuse)
    assert verdict.equal, verdict.differences
