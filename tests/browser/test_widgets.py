"""The widgets in JupyterLab: drawn, clicked, linked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.browser.lab import LONG, Lab

CELLS = [
    ("parameters", "size = 3"),
    ("step:make", "numbers = list(range(size))"),
    ("step:total", "total = sum(numbers)"),
    (
        "skip",
        "from ipywidgets import Label, VBox, link\n"
        "from nbkube.widgets import PipelineGraph, ResourceRequest, StorageBrowser\n"
        "graph, request = PipelineGraph('widgets.ipynb'), ResourceRequest('make', cpu='1')\n"
        "files = StorageBrowser('./')\n"
        "chosen = Label()\n"
        "link((graph, 'value'), (chosen, 'value'))\n"
        "files.observe(lambda change: setattr(chosen, 'value', 'file ' + change['new'][-13:]), ['value'])\n"
        "VBox([graph, request, files, chosen])",
    ),
]


def test_widgets_in_a_cell(lab: Lab, errors: list[str], shot: Callable[[str], None]) -> None:
    lab.write("widgets.ipynb", CELLS)
    lab.open("widgets.ipynb")
    expect(lab.page.get_by_text("| Idle")).to_be_visible(timeout=LONG)  # a kernel that is not there yet runs nothing
    lab.choose(4)
    lab.page.keyboard.press("Control+Enter")
    output = lab.cell(4).locator(".jp-OutputArea-output")
    graph = output.get_by_role("group", name="Pipeline widgets")
    expect(graph).to_be_visible(timeout=LONG)
    graph.get_by_role("button", name="total").click()
    label = output.locator(".widget-label, .jupyter-widgets.widget-label").last
    expect(label).to_have_text("total")
    expect(graph.get_by_role("button", name="total")).to_have_attribute("aria-pressed", "true")
    memory = output.get_by_placeholder(re.compile("^memory the step"))
    memory.fill("much")
    memory.press("Enter")
    expect(output.get_by_text("'much' is no quantity")).to_be_visible()
    files = output.get_by_role("listbox", name="Files")
    files.get_by_role("option", name=re.compile("^widgets.ipynb")).click()
    expect(label).to_have_text("file widgets.ipynb")
    files.get_by_role("option", name=re.compile("^digits.")).focus()
    lab.page.keyboard.press("Enter")
    expect(files.get_by_role("option", name=re.compile("^digits.ipynb"))).to_be_visible()
    shot("cell")
    found: dict[str, Any] = Axe().run(lab.page, {"include": [[".nbk-in-cell"]]})
    assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    assert errors == []
