"""From a run in the panel to an answer of the model it has made, all of it on the cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.lab import LONG, Lab
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project
from tests.jupyter import ROOT

pytestmark = pytest.mark.timeout(1500)


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, serve_image: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace, serve_image) as found:
        found.configure(image=serve_image, more='resources.cpu = "400m"\nresources.memory = "512Mi"')
        found.copy(ROOT / "examples" / "digits")
        yield found


def test_run_serve_ask_and_stop_on_the_cluster(lab: Lab, shot: Callable[[str], None]) -> None:
    lab.open("digits.ipynb")
    lab.show_panel()
    lab.run()
    lab.ends("Succeeded", timeout=5 * LONG)
    lab.tab("Models")
    model = lab.panel.get_by_role("group", name="Model digits")
    expect(model).to_contain_text("input: FP64 [any, 64]", timeout=LONG)
    model.get_by_role("button", name="Serve").click()
    endpoint = lab.panel.get_by_role("group", name="Endpoint digits")
    expect(endpoint).to_contain_text("Ready", timeout=4 * LONG)
    endpoint.get_by_role("button", name="Send").click()
    answer = endpoint.get_by_role("status", name="Answer")
    expect(answer).to_be_visible(timeout=LONG)
    shown = json.loads(answer.locator("code").inner_text())
    assert len(shown) == 2
    assert all(digit in range(10) for digit in shown)
    shot("endpoint")
    endpoint.get_by_role("button", name="Stop the endpoint digits").click()
    expect(lab.panel.get_by_text("Nothing is being served.")).to_be_visible(timeout=4 * LONG)
