"""The S3 server of a run on Argo's graph dies at five moments: the run ends right, and nothing is done twice.

Its pods are processes here (tests/walker.py), so that only the server is killed; on a node the same is done to every
server (tests/cluster/test_server_faults.py).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from nbkube.engines.argo.engine import ArgoEngine
from nbkube.engines.argo.target import Target
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.runs import RunStore
from nbkube.storage import open_store
from nbkube.storage.files import Storage
from tests import s3_servers
from tests.building import CellText, write_notebook
from tests.walker import Walker

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(600)]

CELLS: list[CellText] = [
    ("step:first", "import time\nfirst = time.time_ns()\ntime.sleep(2)"),
    ("step:second", "import time\nsecond = first\ntime.sleep(2)"),
    ("pipeline-metrics", "same = second == first"),
]
DOWN = 4.0
MOMENTS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "sent": lambda event: event["event"] == "run-started",
    "process": lambda event: event["event"] == "started" and event["step"] == "first",
    "cell": lambda event: event["event"] == "cell" and event["step"] == "first",
    "between": lambda event: event["event"] == "step-ended" and event["step"] == "first",
    "later": lambda event: event["event"] == "cell" and event["step"] == "second",
}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[s3_servers.S3Server]:
    found = s3_servers.S3Server("minio")
    for name, value in {**found.environment(), "NBKUBE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    yield found
    found.close()


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_store_dies(server: s3_servers.S3Server, tmp_path: Path, moment: str) -> None:
    url = f"s3://dies-{os.urandom(4).hex()}"
    Storage("").mb(url)
    store = open_store(f"{url}/lab")
    notebook = write_notebook(tmp_path / "project" / "work.ipynb", CELLS)
    plan = Plan.of(build_pipeline(read_notebook(notebook)), notebook)
    came, events = threading.Event(), []

    def listen(event: Mapping[str, Any]) -> None:
        events.append(event)
        if not came.is_set() and MOMENTS[moment](event):
            came.set()

    engine = ArgoEngine(store, plan.files(tmp_path / "files"), Target("image", store.url), Walker())
    run = engine.submit(plan.submission("run-1"), listen)
    assert came.wait(200)
    server.kill()
    time.sleep(DOWN)
    server.start()  # from this thread: a server ends with the thread that started it
    assert run.wait(300)
    assert (events[-1]["phase"], events[-1]["metrics"]) == ("Succeeded", {"same": True}), events[-1]
    committed: set[str] = set()
    for kept in RunStore(store).events("run-1"):
        assert kept.event != "started" or kept.step not in committed, f"{kept.step} ran again after its commit"
        committed |= {kept.step} if kept.event == "step-ended" else set()
    assert committed == {"first", "second", "metrics"}
    assert len({name.split("/")[1] for name in store.list("steps/")}) == len(list(store.list("steps/"))) == 3
