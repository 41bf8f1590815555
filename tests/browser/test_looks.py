"""Every view in both themes and narrow: accessible by the rules of axe, nothing cut off, usable by keyboard."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Locator, expect

from tests.browser.lab import LONG, Lab

CELLS = [
    ("parameters", "size = 3  # of the list"),
    ("step:make", "numbers = list(range(size))\nopen('n.csv', 'w').write('a,b\\n1,2\\n')"),
    ("step:a-step-with-quite-a-long-name", "import sys\ntotal = sum(numbers)\nprint('to', total)"),
    ("step:fail", "print(numbers)\n1 / 0"),
    ("pipeline-metrics", "print(total)"),
]


def serious(lab: Lab) -> list[Any]:
    """What axe finds in our parts of the page."""
    found = Axe().run(lab.page, {"include": [["#nbkube-panel"]]})
    chips = Axe().run(lab.page, {"include": [[".jp-Notebook .nbk-chip-row"]]})
    return [
        (one["id"], one["impact"], [node["html"][:200] for node in one["nodes"]])
        for one in [*found["violations"], *chips["violations"]]
        if one["impact"] in ("serious", "critical")
    ]


def overflow(panel: Locator) -> list[str]:
    """Elements of the panel that stick out of it sideways and cannot be scrolled to."""
    found: list[str] = panel.evaluate(
        """panel => {
          const edge = panel.getBoundingClientRect().right + 1;
          const scrolls = node => { for (let at = node.parentElement; at !== panel; at = at.parentElement) {
            const clips = ['auto', 'scroll', 'hidden'].includes(getComputedStyle(at).overflowX);
            if (clips && !at.matches('.nbk-view')) return true;
          } return false; };
          return [...panel.querySelectorAll('*')]
            .filter(node => node.getBoundingClientRect().right > edge && !scrolls(node))
            .map(node => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`);
        }"""
    )
    return found


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_view(lab: Lab, theme: str, shot: Callable[[str], None]) -> None:
    lab.write("looks.ipynb", CELLS)
    lab.server.ask("POST", "/nbkube/api/v1/runs", {"path": "looks.ipynb"})  # so that there are two to compare
    lab.page.set_viewport_size({"width": 1180, "height": 900})
    setting = lab.server.log.parent / "user" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    setting.write_text(json.dumps({"theme": f"JupyterLab {theme.title()}"}))
    lab.open("looks.ipynb")
    expect(lab.page.locator("body")).to_have_attribute("data-jp-theme-light", str(theme == "light").lower())
    lab.show_panel()
    views: list[str] = []

    def look(name: str) -> None:
        views.append(name)
        shot(f"{theme}-{name}")
        assert serious(lab) == [], name
        assert overflow(lab.panel) == [], name

    expect(lab.step("make")).to_be_visible()
    lab.step("make").click()
    look("pipeline")
    lab.button("Run…").click()
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    look("form")
    lab.button("Start").click()
    lab.ends("Failed")
    lab.button("Artifacts").click()
    lab.panel.get_by_role("list", name="Files").get_by_role("button", name=re.compile("n.csv$")).first.click()
    expect(lab.panel.get_by_role("region", name=re.compile("Beginning of"))).to_be_visible()
    lab.panel.get_by_text("Traceback", exact=True).click()
    look("run")
    lab.button("← All runs").click()
    expect(lab.panel.get_by_role("list", name="Runs")).to_be_visible()
    look("runs")
    for number in (0, 1):
        lab.panel.get_by_role("list", name="Runs").get_by_role("checkbox").nth(number).check()
    lab.button(re.compile("^Compare")).click()
    look("compare")
    lab.tab("Pipeline")
    lab.button("This machine").click()
    lab.button("Suggest tags").click()
    expect(lab.button("Close")).to_be_visible()
    look("room")
    lab.chip(2).click()
    expect(lab.page.get_by_role("listbox")).to_be_visible()
    shot(f"{theme}-editor")
    found = Axe().run(lab.page, {"include": [[".nbk-editor"]]})
    assert [one["id"] for one in found["violations"] if one["impact"] in ("serious", "critical")] == []
    lab.page.keyboard.press("Escape")
    setting.unlink()
    assert len(views) == 6


def test_the_panel_by_keyboard_alone(lab: Lab) -> None:
    lab.write("keyboard.ipynb", CELLS[:3])
    lab.open("keyboard.ipynb")
    lab.cell(1).locator(".jp-InputPrompt").click()
    lab.page.keyboard.press("Alt+Shift+P")
    expect(lab.step("make")).to_be_visible()
    lab.panel.get_by_role("tab", name="Pipeline").focus()
    names: list[str] = []
    for _ in range(14):
        lab.page.keyboard.press("Tab")
        names.append(str(lab.page.evaluate("document.activeElement.textContent || document.activeElement.id")))
    assert any(name.startswith("Run") for name in names), names
    assert sum("cell" in name for name in names) >= 3, names
    lab.step("make").focus()
    lab.page.keyboard.press("Enter")
    expect(lab.panel.get_by_label("memory", exact=True)).to_be_visible()
    lab.panel.get_by_role("tab", name="Pipeline").focus()
    lab.page.keyboard.press("ArrowRight")
    expect(lab.panel.get_by_label("Find runs")).to_be_visible()


def test_a_run_by_keyboard_alone(lab: Lab) -> None:
    """From an untagged notebook to the end of a run and its notes, without the mouse."""
    lab.write("keys-run.ipynb", [("", "import os"), ("", "data = os.getcwd()"), ("", "print(len(data))")])
    lab.open("keys-run.ipynb")
    keys = lab.page.keyboard

    def reach(name: str) -> None:
        """Press Tab until the focus is on what has this name."""
        for _ in range(60):
            if name in str(
                lab.page.evaluate(
                    """() => {
                      const at = document.activeElement;
                      const label = at.labels?.[0]?.textContent ?? '';
                      if (!at.matches('button, input, select, summary')) return '';
                      return `${at.getAttribute('aria-label') ?? ''} ${at.textContent} ${label}`;
                    }"""
                )
            ):
                return
            keys.press("Tab")
        raise AssertionError(f"Tab does not lead to {name}")

    keys.press("Escape")
    keys.press("Alt+Shift+P")
    expect(lab.panel.get_by_text("No cell is tagged yet.")).to_be_visible()
    lab.panel.get_by_role("tab", name="Pipeline").focus()
    reach("Suggest tags")
    keys.press("Enter")
    expect(lab.button("Accept all")).to_be_visible()
    reach("Accept all")
    keys.press("Enter")
    expect(lab.step("prepare")).to_be_visible()
    lab.panel.get_by_role("tab", name="Pipeline").focus()
    reach("Run…")
    keys.press("Enter")
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    lab.panel.get_by_role("tab", name="Pipeline").focus()
    reach("experiment")
    keys.type("by keyboard")
    reach("Start")
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    keys.press("Enter")
    lab.ends("Succeeded")
    lab.panel.get_by_role("tab", name="Runs").focus()
    for name in (
        "← All runs",
        "Run again…",
        "Report",
        "Delete…",
        "Steps",
        "prepare",
        "Search the log",
        "Artifacts",
        "Notes",
    ):
        reach(name)
    keys.press("Enter")
    reach("labels")
    keys.type("typed")
    keys.press("Enter")
    lab.panel.get_by_role("tab", name="Runs").focus()
    reach("← All runs")
    keys.press("Enter")
    expect(lab.panel.get_by_text("#typed · by keyboard")).to_be_visible()
