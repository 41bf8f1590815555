"""A step's small inputs are here before its cells look them up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.engines.argo.engine import ArgoEngine
from nbkube.engines.argo.prefetch import MOST, SMALL, expected
from nbkube.engines.argo.target import Target
from nbkube.runs import Phase, RunStore
from nbkube.state.model import OutputRef
from nbkube.storage import open_store
from tests import s3_servers
from tests.unit.engines.argo.submissions import planned
from tests.walker import Walker

_WAITING = """
import os
import time
from pathlib import Path


def there(mark):
    places = Path(os.environ["NBKUBE_CACHE"], "blobs").rglob("*")
    return any(mark in path.read_bytes() for path in places if path.is_file() and path.stat().st_size > 1000)


# It is imported before the cells of a step run, and ends as soon as the inputs have come by themselves.
deadline = time.monotonic() + 90
while not (arrived := there(b"first-zq7") and there(b"second-zq7")) and time.monotonic() < deadline:
    time.sleep(0.02)
"""


def _ref(blob: str, size: int, *refs: str) -> OutputRef:
    return OutputRef("blob", "1", blob, "x", refs, size=size)


def test_what_is_read_is_expected_the_smallest_first() -> None:
    bindings = {
        "large": _ref("large", SMALL + 1),
        "both": _ref("b", 20, "c", "large", "unknown"),
        "in_c": _ref("c", 10),
        "not_read": _ref("d", 1),
        "process:environ": _ref("e", 5),
        "hole": OutputRef("hole", "1"),
    }
    assert expected(["both", "large", "hole", "absent"], bindings) == ["e", "c", "b"]
    many = {str(at): _ref(str(at), SMALL) for at in range(20)}
    assert len(expected(many, many)) == MOST // SMALL


def test_inputs_come_while_the_process_of_a_step_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from minio import Minio

    server, keys = s3_servers.running("minio"), s3_servers.KEYS
    for name, value in server.environment(NBKUBE_CACHE=str(tmp_path / "cache")).items():
        monkeypatch.setenv(name, value)
    bucket = f"prefetch-{os.urandom(6).hex()}"
    address = server.endpoint.removeprefix("http://")
    access, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    Minio(address, access_key=access, secret_key=secret, secure=False).make_bucket(bucket)
    store = open_store(f"s3://{bucket}/lab")
    project = tmp_path / "project"
    project.mkdir()
    (project / "waiting.py").write_text(_WAITING)
    plan = planned(
        project,
        [
            ("step:one", "one = '-'.join(['first', 'zq7']) * 500"),
            ("step:two", "two = '-'.join(['second', 'zq7']) * 500"),
            ("imports", "import waiting"),
            ("step:use", "found = [waiting.arrived, len(one), len(two)]"),
            ("pipeline-metrics", "print(found)"),
        ],
    )
    walker = Walker()
    submission = plan.submission("run-1", fuse=False)
    ArgoEngine(store, plan.files(tmp_path / "files"), Target("image", store.url), walker).submit(
        submission, lambda _: None
    ).wait(240)
    state = RunStore(store).load("run-1")
    assert state.phase is Phase.SUCCEEDED, [one.failure for one in state.steps]
    assert state.metrics == {"found": [True, 4500, 5000]}
