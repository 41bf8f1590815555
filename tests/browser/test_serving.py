"""From a run in the panel to an answer of the model it has made."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.lab import LONG, Lab


def test_run_serve_ask_and_stop(lab: Lab, errors: list[str], shot: Callable[[str], None]) -> None:
    lab.open("digits/digits.ipynb")
    lab.show_panel()
    lab.tab("Models")
    expect(lab.panel.get_by_text("Nothing is being served.")).to_be_visible(timeout=LONG)
    lab.tab("Pipeline")
    lab.run()
    lab.ends("Succeeded")
    lab.tab("Models")
    model = lab.panel.get_by_role("group", name="Model digits")
    expect(model).to_contain_text("input: FP64 [any, 64]", timeout=LONG)
    shot("model")
    model.get_by_role("button", name="Serve").click()
    endpoint = lab.panel.get_by_role("group", name="Endpoint digits")
    expect(endpoint).to_contain_text("Ready", timeout=LONG)
    expect(endpoint).to_contain_text(re.compile(r"http://127\.0\.0\.1:\d+"))
    endpoint.get_by_role("button", name="Send").click()
    answer = endpoint.get_by_role("status", name="Answer")
    expect(answer).to_be_visible(timeout=LONG)
    shown = json.loads(answer.locator("code").inner_text())
    assert len(shown) == 2
    assert all(digit in range(10) for digit in shown)
    expect(endpoint.get_by_role("img", name=re.compile("^last [0-9]+ answers: median"))).to_be_visible()
    endpoint.get_by_label("Rows to send").fill("[[0, 0, 0]]")
    endpoint.get_by_role("button", name="Send").click()
    expect(endpoint.get_by_role("alert")).to_contain_text("has the shape [1, 3]. Expected: [-1, 64] of FP64")
    endpoint.get_by_text("Code that calls it").click()
    expect(endpoint.locator("pre").first).to_contain_text("import requests")
    shot("endpoint")
    found = Axe().run(lab.page, {"include": [["#nbkube-panel"]]})
    serious = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    endpoint.get_by_role("button", name="Stop the endpoint digits").click()
    expect(lab.panel.get_by_text("Nothing is being served.")).to_be_visible(timeout=LONG)
    assert errors == []
