"""Each server that a run needs dies at five moments of it: the run ends right, and nothing is done twice."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from nbkube.runs import Phase, RunState, RunStore
from tests.building import CellText
from tests.cluster import faults
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.faults,
    pytest.mark.slow,
    # Python's own (`SSLSocket._create`): a connection that is reset before its handshake is left to the collector.
    pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning"),
]

CELLS: list[CellText] = [
    ("step:first", "import time\nfirst = time.time_ns()\ntime.sleep(4)"),
    ("step:second", "import time\nsecond = first\ntime.sleep(4)"),
    ("pipeline-metrics", "same = second == first"),
]
DOWN = 4.0
"""Seconds for which a server is dead."""

MOMENTS: dict[str, Callable[[Any], bool]] = {
    "sent": lambda event: event["event"] == "run-started",
    "pod": lambda event: event["event"] == "pod" and event["step"] == "first",
    "cell": lambda event: event["event"] == "started" and event["step"] == "first",
    "between": lambda event: event["event"] == "step-ended" and event["step"] == "first",
    "later": lambda event: event["event"] == "started" and event["step"] == "second",
}


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found
    gc.collect()  # what was left to the collector is no later test's


def disturbed(mine: Project, is_moment: Callable[[Any], bool], harm: Callable[[], None]) -> RunState:
    """Run the notebook, and do harm beside it at a moment that an event tells."""
    came = threading.Event()
    faults_: list[BaseException] = []

    def work() -> None:
        try:
            harm()
        except BaseException as fault:  # noqa: BLE001 - raised by the test itself
            faults_.append(fault)

    harming = threading.Thread(target=work)

    def listen(event: Any) -> None:
        if not came.is_set() and is_moment(event):
            came.set()
            harming.start()

    state = mine.client().run(mine.notebook(CELLS), on_event=listen)
    assert came.is_set(), "the moment did not come"
    harming.join(300)
    if faults_:
        raise faults_[0]
    return state


def ended_right(mine: Project, state: RunState) -> None:
    told = [(one.name, one.phase, one.attempts, one.failure) for one in state.steps]
    assert (state.phase, state.metrics) == (Phase.SUCCEEDED, {"same": True}), (state.reason, told)
    committed: set[str] = set()
    for event in RunStore(mine.store()).events(state.id):
        if event.event == "step-ended":
            committed.add(event.step)
        assert event.event != "started" or event.step not in committed, f"{event.step} ran again after its commit"
    assert committed == {"first", "second", "metrics"}
    for step in state.steps:
        folder = step.manifest.rpartition("/")[0]
        assert list(mine.store().list(f"{folder}/")) == [step.manifest], "one result, made once"


def dies(how: AbstractContextManager[None]) -> None:
    with how:
        time.sleep(DOWN)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("server", ["kube-apiserver", "minio", "registry"])
def test_a_server_dies(mine: Project, bench: Bench, server: str, moment: str) -> None:
    ended_right(mine, disturbed(mine, MOMENTS[moment], lambda: dies(faults.without(bench, server))))


@pytest.mark.parametrize("moment", MOMENTS)
def test_argos_controller_dies(mine: Project, bench: Bench, api: Api, moment: str) -> None:
    def harm() -> None:
        with faults.lock(bench):
            dies(faults.without_argo(api))

    ended_right(mine, disturbed(mine, MOMENTS[moment], harm))


def test_every_watch_is_cut_again_and_again(mine: Project) -> None:
    def harm() -> None:
        for _ in range(8):
            faults.cut_connections(6443)
            time.sleep(1.5)

    ended_right(mine, disturbed(mine, MOMENTS["sent"], harm))
