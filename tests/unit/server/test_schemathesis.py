"""Whatever is asked, the answer is one of those the description knows, and never a fault of the server.

Schemathesis makes the requests from the description that the running server itself gives out, right and wrong ones.
`NBKUBE_REQUESTS` says how many: at least that many of the first test, up to as many of the second; 5,000 take some
minutes.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest

from tests import s3_servers
from tests.building import write_notebook
from tests.jupyter import API, TOKEN, Server, running_server
from tests.s3_servers import S3Server

REQUESTS = int(os.environ.get("NBKUBE_REQUESTS", "400"))
Record = Callable[[str, object], None]
CELLS = [
    ("parameters", "radius = 2.0  # of the circle"),
    ("step:area", "area = 3 * radius**2\nopen('area.csv', 'w').write(f'area\\n{area}\\n')\nprint('computing')"),
    ("pipeline-metrics", "print(area)"),
]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


class Served(NamedTuple):
    """A server with a run that has ended and a bucket with an object."""

    server: Server
    run: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    minio = S3Server("minio")
    folder = tmp_path_factory.mktemp("served")
    profile = f'[profiles.lab.store]\nendpoint = "{minio.endpoint}"\nregion = "us-east-1"\n'
    (folder / "nbkube.toml").write_text(f'default = "lab"\n{profile}')
    write_notebook(folder / "circle.ipynb", CELLS)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3_servers.KEYS.items():
            patch.setenv(name, value)
        with running_server(folder, tmp_path_factory.mktemp("settings")) as server:
            run = server.ask("POST", f"{API}/runs", {"path": "circle.ipynb"}).json["run"]
            _until_it_ends(server, run)
            for query in ({"bucket": "things"}, {"bucket": "things", "key": "folder/"}):
                assert server.ask("POST", f"{API}/storage/folder?{urlencode(query)}").status == 200
            yield Served(server, run)
    minio.close()


def _until_it_ends(server: Server, run: str) -> None:
    deadline = time.monotonic() + 100
    while (phase := server.ask("GET", f"{API}/runs/{run}").json["summary"]["phase"]) != "Succeeded":
        assert phase in ("Pending", "Running"), phase
        assert time.monotonic() < deadline
        time.sleep(0.1)


def ask(served: Served, folder: Path, parameters: dict[str, str]) -> int:
    """Have Schemathesis ask; return the number of requests. `parameters` are given this value in each request."""
    settings = "".join(f"{json.dumps(name)} = {json.dumps(value)}\n" for name, value in parameters.items())
    (folder / "schemathesis.toml").write_text(f"[parameters]\n{settings}")
    document = served.server.ask("GET", f"{API}/openapi.json").json
    operations = sum(len(verbs) for verbs in document["paths"].values())
    each = -(-REQUESTS * 21 // (20 * operations))  # where there is little to choose it makes fewer
    command = [
        sys.executable, "-W", "ignore", "-m", "schemathesis.cli", "run",
        f"{served.server.url}{API}/openapi.json", f"--header=Authorization:token {TOKEN}",
        "--phases=fuzzing", f"--max-examples={each}", "--seed=7", f"--checks={CHECKS}",
        "--generation-database=none", "--suppress-health-check=all", "--request-timeout=60", "--workers=2",
        "--warnings=off", "--no-color",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    counted = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert counted, done.stdout
    return int(counted[2])


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_request_is_a_fault_of_the_server(served: Served, tmp_path: Path, record_property: Record) -> None:
    """As described: most names lead nowhere."""
    made = ask(served, tmp_path, {})
    record_property("requests", made)
    assert made >= REQUESTS


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_no_request_about_things_that_are_there_is_a_fault_of_the_server(
    served: Served, tmp_path: Path, record_property: Record
) -> None:
    """The same with the names of a run, a step, a file, a bucket and an object, where these are asked for."""
    names = {"path.run": served.run, "query.step": "area", "query.file": "area.csv", "query.bucket": "things"}
    more = {"query.key": "folder/x.csv", "query.place": "lab", "query.path": "circle.ipynb"}
    made = ask(served, tmp_path, names | more)
    record_property("requests", made)
    assert made > REQUESTS // 4
