"""The running bench, a namespace for each test, and what a test needs to run pods in it.

Without root or without the built parts the tests are skipped with the reason; `NBKUBE_REQUIRE_CLUSTER=1` makes that a
failure. They all carry the mark `cluster`: `make test-cluster` runs them, `make test` does not.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.browser.lab import CHROMIUM, FLAGS, Lab, missing_browser
from tests.cluster import bench as running
from tests.cluster import images, layout, lifecycle, preflight, python_layers
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.images import Image
from tests.cluster.namespaces import make_namespace, remove_namespace
from tests.cluster.projects import Project
from tests.jupyter import running_server

_HERE = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--keep-bench", action="store_true", help="leave the bench up if this run started it")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)
    # Tests that stop the bench come before those that share it.
    items.sort(key=lambda item: item.path.name != "test_lifecycle.py")


@pytest.fixture(scope="session")
def usable_machine() -> None:
    """A machine on which the bench runs or can be started."""
    if lifecycle.is_started():
        return
    if lacks := preflight.missing_to_run(lifecycle.parts()):
        reason = f"the Kubernetes bench cannot run here: {'; '.join(lacks)}"
        if os.environ.get("NBKUBE_REQUIRE_CLUSTER") == "1":
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bench(request: pytest.FixtureRequest, usable_machine: None) -> Iterator[Bench]:
    """The running bench, started if it is not up; its images hold nbkube as it is in this checkout."""
    was_up = lifecycle.is_started()
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


@pytest.fixture(scope="session")
def lab_image(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of steps with JupyterLab above it, in the bench's registry."""
    return _image_with("lab", tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def serve_image(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of steps with what serving needs above it, in the bench's registry."""
    return _image_with("serve", tmp_path_factory.mktemp("serve"))


def _image_with(extra: str, folder: Path) -> str:
    """Push the image of steps with an extra of nbkube above it and return its reference."""
    known = {**python_layers.closure("examples"), **python_layers.closure("")}
    wanted = {name: version for name, version in python_layers.closure(extra).items() if name not in known}
    lower = [python_layers.built_layer(part) for part in python_layers.parts() if part.name != "tensorflow"]
    own = python_layers.packages_layer(wanted, folder)
    nbkube = python_layers.nbkube_layer(layout.CHECKOUT, folder)
    stack = (*lower, own, nbkube)
    return images.push(Image(name=f"nbkube/{extra}", tag="test", layers=stack, config=python_layers.CONFIG))


@pytest.fixture
def lab(mine: Project, tmp_path: Path) -> Iterator[Lab]:
    """JupyterLab in a browser, on the project that the test's module makes."""
    if missing := missing_browser():
        pytest.skip(f"NOT RUN: {missing}")
    expect.set_options(timeout=30_000)
    with (
        sync_playwright() as playwright,
        running_server(mine.folder, tmp_path / "settings", app="lab") as server,
    ):
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield Lab(browser.new_context(viewport={"width": 1400, "height": 900}).new_page(), server)
        browser.close()


@pytest.fixture
def shot(lab: Lab) -> Callable[[str], None]:
    """Keep a picture of the page, in the folder that NBKUBE_SCREENSHOTS names."""

    def keep(name: str) -> None:
        if place := os.environ.get("NBKUBE_SCREENSHOTS"):
            lab.page.screenshot(path=Path(place) / f"cluster-{name}.png")

    return keep
