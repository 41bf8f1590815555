"""The engine contract on a real cluster: the very tests of tests/contract/test_engine.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.engines.model import Engine
from nbkube.plan import Plan
from tests.cluster import bench as running
from tests.cluster.api import Api
from tests.cluster.projects import project, volume_claim
from tests.contract import test_engine as contract
from tests.contract.test_engine import *  # noqa: F403

pytestmark = pytest.mark.timeout(900)

_TOLD = 30.0
"""Seconds in which the end of a container is surely known; the step that is cancelled would last a minute."""


class ClusterBench(contract.Bench):
    """The contract's bench with pods in place of processes."""

    def __init__(self, folder: Path, make_engine: contract.EngineMaker, api: Api, namespace: str) -> None:
        super().__init__(folder, make_engine)
        self._api = api
        self._namespace = namespace
        self.shared = "/shared"
        self.sharing = {"volume": ["shared:/shared"]}
        self.moment = 40.0
        self.patience = 600.0

    def lives(self, process: int) -> bool:
        """Processes have numbers of their own in a pod: no container may be left, as soon as the kubelet has told."""
        until = time.monotonic() + _TOLD
        while self._running() and time.monotonic() < until:
            time.sleep(0.5)
        return self._running()

    def _running(self) -> bool:
        pods = self._api.get(f"/api/v1/namespaces/{self._namespace}/pods")["items"]
        states = [one["state"] for pod in pods for one in pod["status"].get("containerStatuses", ())]
        return any("running" in state for state in states)


@pytest.fixture  # type: ignore[no-redef]  # in place of the contract's own
def on_engine(bench: running.Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[ClusterBench]:
    """Return the contract's bench with the running cluster behind it."""
    with project(tmp_path / "project", bench, api, namespace) as found:
        volume_claim(api, namespace, "shared")
        numbers = iter(range(1000))

        def make(folder: Path, plan: Plan) -> Engine:
            return found.engine(plan, folder / f"files-{next(numbers)}")

        yield ClusterBench(tmp_path, make, api, namespace)


_LISTED = (
    "not shown on a node: the kubelet reads the folders of pods' volumes now and then, which cannot be told from a "
    "step that lists them: what one run has learned of independence may be lost (docs/how-it-works.md, Limits)"
)


@pytest.mark.skip(reason=_LISTED)  # type: ignore[no-redef]
def test_steps_that_an_earlier_run_has_shown_to_be_independent_run_beside_each_other() -> None:
    """In place of the contract's own."""


@pytest.mark.skip(reason=_LISTED)  # type: ignore[no-redef]
def test_a_dependency_found_by_one_run_is_known_to_the_next() -> None:
    """In place of the contract's own."""
