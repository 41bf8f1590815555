"""The running bench, a namespace for each test, and what a test needs to run pods in it.

Without root or without the built parts the tests are skipped with the reason; `NBKUBE_REQUIRE_CLUSTER=1` makes that a
failure. They are part of `make test-cluster`, not of `make test`: the folder is left out unless it is named.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.cluster import Cluster, connect
from tests.cluster import bench as running
from tests.cluster import layout, lifecycle, preflight
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import make_namespace, remove_namespace

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-bench", action="store_true", help="leave the bench up if this run started it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The running bench, started if it is not up; its images hold nbkube as it is in this checkout."""
    if not lifecycle.is_up() and (lacks := preflight.missing_to_run(lifecycle.parts())):
        reason = f"the Kubernetes bench cannot run here: {'; '.join(lacks)}"
        if os.environ.get("NBKUBE_REQUIRE_CLUSTER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    was_up = lifecycle.is_up()
    started = lifecycle.up(lambda text: None)
    yield running.replace_images(started, lifecycle.load_image(layout.CHECKOUT))
    if not was_up and not request.config.getoption("--keep-bench", default=False):
        lifecycle.down(lambda text: None)


@pytest.fixture(scope="session")
def api(bench: Bench) -> Api:
    """Requests to the API server with an administrator's rights."""
    return Api(bench.kubeconfig)


@pytest.fixture
def namespace(bench: Bench, api: Api) -> Iterator[str]:
    """A namespace of the test's own: Pod Security restricted, the S3 keys in a secret, an account for workflows."""
    name = f"test-{secrets.token_hex(4)}"
    make_namespace(api, name, bench)
    yield name
    remove_namespace(api, name)


@pytest.fixture
def cluster(bench: Bench, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The bench through nbkube's own client, with an administrator's rights, in the test's namespace."""
    monkeypatch.setenv("KUBECONFIG", bench.kubeconfig)
    return connect(namespace=namespace)
