"""Endpoints whose pods KServe runs: the same commands, the same routers, InferenceServices instead of Deployments."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import golang, kserve
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import project
from tests.cluster.test_serving import SMALL, Shell, _left
from tests.serving import constant_of

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def controller(bench: Bench, api: Api) -> Iterator[None]:
    """KServe's controller for the tests of this file."""
    part = golang.kserve()
    if not part.is_built:
        pytest.skip("NOT RUN: KServe's controller is not built (python -m tests.cluster build --only kserve)")
    kserve.install(bench, api, part.use())
    yield
    kserve.remove(api, part.folder)


@pytest.fixture
def shell(
    controller: None, bench: Bench, api: Api, namespace: str, serve_image: str, tmp_path: Path
) -> Iterator[Shell]:
    with project(tmp_path / "work", bench, api, namespace, serve_image) as found:
        yield Shell(found)


def test_kserve_runs_the_pods_of_versions(shell: Shell, api: Api, namespace: str) -> None:
    store = shell.project.store()
    for number in (1, 2):
        constant_of(store, "small", number)
    served = shell.json("serve", "small", "--version", "1", "--detach", *SMALL)
    assert (served["version"], served["phase"]) == (1, "Ready")
    path = f"/apis/serving.kserve.io/v1beta1/namespaces/{namespace}/inferenceservices"
    [made] = api.get(path)["items"]
    assert made["metadata"]["name"] == "nbkube-serve-small-v1"
    scalers: list[dict[str, Any]] = api.get(f"/apis/autoscaling/v2/namespaces/{namespace}/horizontalpodautoscalers")[
        "items"
    ]
    assert [(one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) for one in scalers] == [(1, 3)]
    assert shell.json("predict", "small", "[[1.0, 2.0]]") == [1.0]
    assert shell.json("serve", "small", "--detach", *SMALL)["version"] == 2
    assert shell.json("predict", "small", "[[1.0, 2.0]]") == [2.0]
    assert shell.json("endpoints", "rollback", "small")["version"] == 1
    assert shell.json("predict", "small", "[[1.0, 2.0]]") == [1.0]
    [listed] = shell.json("endpoints")
    assert (listed["name"], listed["phase"]) == ("small", "Ready")
    shell("endpoints", "stop", "small")
    assert _left(api, namespace) == []
    assert api.get(path)["items"] == []
