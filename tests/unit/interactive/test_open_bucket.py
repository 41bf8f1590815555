"""A run whose results lie in a bucket is opened and pulled as one in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.client import Client
from tests import s3_servers
from tests.building import write_notebook
from tests.unit.interactive.kernel import live_kernel, sources


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from minio import Minio

    server = s3_servers.running("minio")
    for name, value in {**server.environment(), "NBKUBE_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    keys = s3_servers.KEYS
    place = server.endpoint.removeprefix("http://")
    client = Minio(place, keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], secure=False)
    if not client.bucket_exists("opened"):
        client.make_bucket("opened")
    yield f"s3://opened/{os.urandom(6).hex()}"
    s3_servers.close_all()


def test_a_failed_step_goes_on(tmp_path: Path, bucket: str) -> None:
    project = tmp_path / "project"
    cells = [
        (
            "step:load",
            "import numpy as np\nrows = np.arange(50_000.0)\npair = [rows, rows]\nopen('a.txt', 'w').write('a')",
        ),
        ("step:use", "total = rows.sum()"),
        ("", "1 / len(open('b.txt').read())"),
    ]
    notebook = write_notebook(project / "work.ipynb", cells)
    (project / "b.txt").write_text("")
    client = Client(project, store=bucket)
    run = client.run(notebook).id
    opened = client.open_step(run, "use")
    assert sources(opened.path)[0] == f"%load_ext nbkube\n%nbkube restore {run} use --store {bucket}"
    assert (opened.replayed, opened.cell) == ((2,), 3)
    assert opened.doubts == (), "the store itself is no host that the step has asked"
    with live_kernel(project) as kernel:
        shown = kernel.run_all(opened.path)
        assert [one.error for one in shown] == ["", "", "ZeroDivisionError: division by zero"]
        assert kernel.run_well("pair[0] is rows and pair[1] is rows, open('a.txt').read()").values == ["(True, 'a')"]
        assert kernel.run_well("bool(total == sum(range(50_000)))").values == ["True"]
        assert "Bound: pair" in kernel.run_well(f"%nbkube pull {run} load pair --overwrite").text
