"""A real JupyterLab with the built extension, and Chromium. Skipped loudly where one of them is missing; with
NBKUBE_REQUIRE_BROWSER=1 (`make test-browser`) that is a failure."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.browser.lab import CHROMIUM, FLAGS, Lab, missing_browser
from tests.jupyter import ROOT, Server, running_server

expect.set_options(timeout=30_000)
REQUIRED = os.environ.get("NBKUBE_REQUIRE_BROWSER") == "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in str(item.path):
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(400))
            item.add_marker(pytest.mark.xdist_group("browser"))


@pytest.fixture(scope="session", autouse=True)
def _needs_a_browser() -> None:
    missing = missing_browser()
    if missing and REQUIRED:
        pytest.fail(missing)
    if missing:
        pytest.skip(f"BROWSER TESTS NOT RUN: {missing}")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder JupyterLab serves: a project with copies of the examples."""
    found = tmp_path_factory.mktemp("project")
    (found / "nbkube.toml").touch()
    for name in ("digits", "diabetes"):
        shutil.copytree(ROOT / "examples" / name, found / name, ignore=shutil.ignore_patterns(".nbkube", ".ipynb_*"))
    return found


@pytest.fixture(scope="session")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running_server(folder, tmp_path_factory.mktemp("settings"), app="lab") as found:
        yield found


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def errors() -> list[str]:
    """What the page has complained about."""
    return []


@pytest.fixture
def page(chromium: Browser, errors: list[str]) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(30_000)
    found = context.new_page()
    found.on("pageerror", lambda error: errors.append(str(error)))
    yield found
    context.close()


@pytest.fixture
def lab(page: Page, server: Server) -> Lab:
    return Lab(page, server)


@pytest.fixture
def shot(request: pytest.FixtureRequest, page: Page) -> Callable[[str], None]:
    """Keep a picture of the page, in the folder that NBKUBE_SCREENSHOTS names."""
    place = os.environ.get("NBKUBE_SCREENSHOTS")

    def keep(name: str) -> None:
        if place:
            Path(place).mkdir(parents=True, exist_ok=True)
            page.screenshot(path=Path(place) / f"{request.node.name.split('[')[0]}-{name}.png")

    return keep


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Keep a picture of the page where a test has failed."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    place = os.environ.get("NBKUBE_SCREENSHOTS")
    if report.when == "call" and report.failed and page is not None and place:  # type: ignore[attr-defined]
        with contextlib.suppress(Error):
            page.screenshot(path=Path(place) / f"FAILED-{item.name}.png")
    return report
