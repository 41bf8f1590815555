"""Pods that are deleted, evicted or killed in the middle of a run: it ends right, and what was finished is kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.runs import Phase, RunState
from tests.building import CellText
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, pods, project

pytestmark = [pytest.mark.timeout(1800), pytest.mark.faults]
CELLS: list[CellText] = [
    ("step:first", "import time\nfirst = time.time_ns()"),
    ("step:long", "import time\nbase = first\ntime.sleep(15)\nlong = base"),
    ("pipeline-metrics", "same = long == first"),
]


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found


def disturbed(mine: Project, api: Api, harm: Callable[[dict[str, Any]], None]) -> RunState:
    """Run the notebook, and do harm to the pod of its long step once its cell runs."""
    done = threading.Event()

    def listen(event: Any) -> None:
        if event.get("step") == "long" and event.get("event") == "started" and not done.is_set():
            done.set()
            time.sleep(2)
            harm(
                next(one for one in pods(api, mine.namespace) if one["metadata"]["labels"]["nbkube.io/step"] == "long")
            )

    state = mine.client().run(mine.notebook(CELLS), fuse=False, on_event=listen)
    assert done.is_set()
    return state


def ended_right(state: RunState) -> None:
    assert state.phase is Phase.SUCCEEDED, (state.reason, [(one.name, one.phase, one.failure) for one in state.steps])
    assert state.metrics == {"same": True}
    assert [step.attempts for step in state.steps] == [1, 2, 1]


def test_a_deleted_pod(mine: Project, api: Api) -> None:
    def delete(pod: dict[str, Any]) -> None:
        api.delete(f"/api/v1/namespaces/{mine.namespace}/pods/{pod['metadata']['name']}")

    ended_right(disturbed(mine, api, delete))


def test_a_deleted_pod_without_grace(mine: Project, api: Api) -> None:
    def delete(pod: dict[str, Any]) -> None:
        api.delete(f"/api/v1/namespaces/{mine.namespace}/pods/{pod['metadata']['name']}", grace_seconds=0)

    ended_right(disturbed(mine, api, delete))


def test_an_evicted_pod(mine: Project, api: Api) -> None:
    def evict(pod: dict[str, Any]) -> None:
        name = pod["metadata"]["name"]
        review = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": mine.namespace},
        }
        api.request("POST", f"/api/v1/namespaces/{mine.namespace}/pods/{name}/eviction", review)

    ended_right(disturbed(mine, api, evict))


def test_a_workflow_that_is_deleted_is_no_run_that_goes_on_for_ever(mine: Project, api: Api) -> None:
    def delete(pod: dict[str, Any]) -> None:
        name = pod["metadata"]["labels"]["workflows.argoproj.io/workflow"]
        api.delete(f"/apis/argoproj.io/v1alpha1/namespaces/{mine.namespace}/workflows/{name}")

    state = disturbed(mine, api, delete)
    assert (state.phase, state.reason) == (Phase.FAILED, "its Workflow has been deleted")
    assert state.steps[0].phase is Phase.SUCCEEDED
