"""The widgets in JupyterLab: drawn, clicked, linked."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.browser.lab import LONG, Lab
from tests.building import write_notebook
from tests.jupyter import TOKEN, running_server

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


def test_widgets_in_notebook_7(
    chromium: Browser, folder: Path, tmp_path: Path, errors: list[str], shot: Callable[[str], None]
) -> None:
    write_notebook(
        folder / "seven-widgets.ipynb",
        [(tag, cell.replace("widgets.ipynb", "seven-widgets.ipynb")) for tag, cell in CELLS],
    )
    context = chromium.new_context(viewport={"width": 1200, "height": 900})
    try:
        with running_server(folder, tmp_path, app="notebook") as server:
            page = context.new_page()
            page.on("pageerror", lambda error: errors.append(str(error)))
            lab = Lab(page, server)
            page.goto(f"{server.url}/notebooks/seven-widgets.ipynb?token={TOKEN}")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=LONG)
            expect(page.locator(".jp-Notebook-ExecutionIndicator")).to_have_attribute(
                "data-status", "idle", timeout=LONG
            )
            lab.choose(4)
            page.keyboard.press("Control+Enter")
            output = lab.cell(4).locator(".jp-OutputArea-output")
            graph = output.get_by_role("group", name="Pipeline seven-widgets")
            expect(graph).to_be_visible(timeout=LONG)
            graph.get_by_role("button", name="total").click()
            expect(output.locator(".widget-label").last).to_have_text("total")
            files = output.get_by_role("listbox", name="Files")
            files.get_by_role("option", name=re.compile("^seven-widgets.ipynb")).click()
            expect(output.locator(".widget-label").last).to_have_text("file widgets.ipynb")
    finally:
        context.close()
    assert errors == []


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
