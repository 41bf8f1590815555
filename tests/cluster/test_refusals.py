"""What the cluster cannot give: refused before the launch, or told while the run waits, with the reason."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.errors import NotebookError
from nbkube.runs import Phase
from tests.cluster import faults
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import pod
from tests.cluster.projects import Project, pods, project
from tests.cluster.troubles import SLEEP

pytestmark = pytest.mark.timeout(900)
PATIENCE = 120.0
"""Seconds on a machine with other things to do; on one without it takes less than ten."""


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        found.configure(bench.images.base, '[profiles.bench.resources]\ncpu = "20m"\nmemory = "300Mi"')
        yield found


def reason_of(mine: Project, options: dict[str, Any]) -> tuple[str, float]:
    """Start a step that cannot run now; return what is told of it and after how many seconds, and end the run."""
    began = time.monotonic()
    client = mine.client()
    run = client.submit(mine.notebook([("step:a", "x = 1")]), options={"a": options})
    told: list[tuple[str, float]] = []
    changed = threading.Event()

    def listen(event: Any) -> None:
        if event.get("event") == "pod" and event.get("reason"):
            told.append((event["reason"], time.monotonic() - began))
            changed.set()

    follower = threading.Thread(target=lambda: client._control_of(run).follow(run, listen), daemon=True)
    follower.start()
    assert changed.wait(PATIENCE), "nothing was told"
    assert client.stop(run, now=True).phase is Phase.CANCELLED
    follower.join(PATIENCE)
    return told[0]


def hold(mine: Project, api: Api, resources: dict[str, Any]) -> None:
    """Have a pod of somebody else use up what there is."""
    spec = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    for part, amounts in resources.items():
        spec[part] = {**spec[part], **amounts}
    api.create(pod(mine.namespace, "holder", mine.bench.images.base, SLEEP, resources=spec))
    path = f"/api/v1/namespaces/{mine.namespace}/pods/holder"
    api.wait(path, lambda one: one["status"]["phase"] == "Running", 90, "the pod that holds it")


def test_a_quota(mine: Project, api: Api) -> None:
    metadata = {"name": "team", "namespace": mine.namespace}
    spec = {"hard": {"requests.cpu": "200m"}}
    api.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": spec})
    path = f"/api/v1/namespaces/{mine.namespace}/resourcequotas/team"
    api.wait(path, lambda one: "hard" in one.get("status", {}), 60, "the quota to be counted")
    with pytest.raises(NotebookError, match="step a, option cpu.*quota team"):
        mine.client().run(mine.notebook([("step:a", "x = 1")]), options={"a": {"cpu": "300m"}})
    assert mine.client().runs() == []
    hold(mine, api, {"requests": {"cpu": "150m"}, "limits": {"cpu": "150m"}})
    reason, seconds = reason_of(mine, {"cpu": "100m"})
    assert "the quota team does not allow it" in reason, seconds


def test_a_device_that_somebody_else_has(mine: Project, api: Api, bench: Bench) -> None:
    # The kind of device of which there is one.
    hold(mine, api, {"limits": {"amd.com/gpu": "1"}})
    reason, seconds = reason_of(mine, {"gpu": "amd.com/gpu=1"})
    assert "none of 1 node takes the pod: too little amd.com/gpu free on 1 (asked for 1)" in reason, seconds


@contextlib.contextmanager
def tainted(api: Api, bench: Bench, taint: dict[str, str]) -> Iterator[None]:
    """Have the block run while the node has a taint, as nodes with GPUs have; other tests wait for it meanwhile."""
    node = f"/api/v1/nodes/{bench.node}"
    with faults.lock(bench):
        before = api.get(node)["spec"].get("taints", [])
        api.patch(node, {"spec": {"taints": [*before, taint]}})
        try:
            yield
        finally:
            api.patch(node, {"spec": {"taints": before}})


@pytest.mark.faults
def test_a_tainted_node_takes_only_steps_that_tolerate_it(mine: Project, api: Api, bench: Bench) -> None:
    notebook = mine.notebook([("step:a", "x = 1")])
    with tainted(api, bench, {"key": "dedicated", "value": "ml", "effect": "NoSchedule"}):
        with pytest.raises(NotebookError, match=r"step a.*taint.*dedicated=ml"):
            mine.client().run(notebook)
        assert pods(api, mine.namespace) == []
        state = mine.client().run(notebook, options={"a": {"toleration": ["dedicated=ml:NoSchedule"]}})
    assert state.phase is Phase.SUCCEEDED


@pytest.mark.faults
def test_a_node_tainted_by_its_device_takes_steps_that_ask_for_it(mine: Project, api: Api, bench: Bench) -> None:
    notebook = mine.notebook([("step:a", "x = 1")])
    with tainted(api, bench, {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}):
        with pytest.raises(NotebookError, match=r"step a.*taint.*nvidia\.com/gpu"):
            mine.client().run(notebook)
        state = mine.client().run(notebook, options={"a": {"gpu": 1}})
    assert state.phase is Phase.SUCCEEDED
