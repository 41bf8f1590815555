"""From an untagged notebook to a finished run, and everything one does with runs, by the panel alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.lab import LONG, Lab

WAIT = "import time, sys\nfor n in range(400):\n    print('line', n)\n    sys.stdout.flush()\n    time.sleep(0.2)"

SETTINGS = "settings = open('settings.txt').read()"


def test_from_no_tags_to_a_finished_run(lab: Lab, errors: list[str], shot: Callable[[str], None]) -> None:
    folder = lab.server.folder
    document = json.loads((folder / "diabetes" / "diabetes.ipynb").read_text())
    for cell in document["cells"]:
        cell["metadata"].pop("tags", None)
    (folder / "diabetes" / "mine.ipynb").write_text(json.dumps(document))
    lab.open("diabetes/mine.ipynb")
    lab.show_panel()
    lab.button("Suggest tags").click()
    lab.button("Accept all").click()
    expect(lab.step("ridge")).to_be_visible()
    lab.button("Run…").click()
    rounds = lab.panel.get_by_label("seed", exact=True)
    rounds.fill("three")
    rounds.press("Enter")
    expect(lab.panel.get_by_text("is not a whole number")).to_be_visible(timeout=LONG)
    expect(lab.button("Start")).to_be_disabled()
    rounds.fill("3")
    rounds.press("Enter")
    lab.panel.get_by_label("experiment").fill("journey")
    lab.panel.get_by_label("experiment").press("Enter")
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    shot("form")
    lab.button("Start").click()
    expect(lab.panel.get_by_text(re.compile("of 1[0-9] steps"))).to_be_visible(timeout=LONG)
    expect(lab.cell(7).get_by_role("img", name=re.compile("Running|Pending|Succeeded"))).to_be_visible(timeout=LONG)
    shot("running")
    lab.ends("Succeeded")
    shot("succeeded")
    expect(lab.cell(7).get_by_role("img", name="Succeeded")).to_be_visible()
    pairs = lab.panel.locator("dl", has_text="r2")
    expect(pairs).to_be_visible()
    lab.button("Artifacts").click()
    files = lab.panel.get_by_role("list", name="Files")
    files.get_by_role("button", name=re.compile("correlation.png$")).first.click()
    expect(lab.panel.get_by_role("img", name=re.compile("correlation.png"))).to_be_visible()
    files.get_by_role("button", name=re.compile("patients.csv$")).first.click()
    expect(lab.panel.get_by_role("columnheader", name="progress").first).to_be_visible()
    shot("artifacts")
    lab.tab("Pipeline")
    lab.step("boosting").click()
    take = lab.button(re.compile("^Ask for .* of memory"))
    take.click()
    expect(lab.panel.get_by_label("memory", exact=True)).to_have_value(re.compile(r"^\d+Mi$"))
    assert errors == []


def test_a_failing_cell_is_named_shown_fixed_and_resumed(lab: Lab, shot: Callable[[str], None]) -> None:
    lab.write("failing.ipynb", [("step:good", "x = 2"), ("step:bad", "y = x\nassert y == 3, 'y is not three'")])
    lab.open("failing.ipynb")
    lab.show_panel()
    lab.run()
    lab.ends("Failed")
    alert = lab.panel.get_by_role("alert").filter(has_text="bad failed")
    expect(alert).to_contain_text("AssertionError: y is not three (cell 2, line 2).")
    expect(lab.cell(2).get_by_role("img", name="Failed")).to_be_visible()
    shot("failed")
    lab.choose(1)
    lab.button("Go to cell 2").click()
    expect(lab.cell(2)).to_have_class(re.compile("jp-mod-active"))
    lab.cell(2).locator(".cm-content").click()
    lab.page.keyboard.press("Control+a")
    lab.page.keyboard.type("y = x + 1")
    lab.button("Run again…").click()
    row = lab.panel.get_by_role("row", name=re.compile("^good"))
    expect(row).to_contain_text("known", timeout=LONG)
    lab.button("Start").click()
    lab.ends("Succeeded")
    expect(lab.panel.get_by_role("row", name=re.compile("^good"))).to_contain_text("Cached")


def test_a_failed_step_is_opened_understood_and_resumed(lab: Lab, shot: Callable[[str], None]) -> None:
    """The step's own notebook has its inputs; what was missing is made there, and the run goes on."""
    cells = [("parameters", "rate = 2"), ("step:good", "x = rate * 2"), ("step:bad", "y = x"), ("", SETTINGS)]
    lab.write("opened.ipynb", cells)
    lab.open("opened.ipynb")
    lab.show_panel()
    lab.run()
    lab.ends("Failed")
    alert = lab.panel.get_by_role("alert").filter(has_text="bad failed")
    expect(alert).to_contain_text("FileNotFoundError")
    alert.get_by_role("button", name="Open step bad in a notebook").click()
    expect(lab.page.get_by_role("tab", name=re.compile(r"bad.*\.ipynb"))).to_be_visible(timeout=LONG)
    active = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-Cell.jp-mod-active")
    expect(active).to_contain_text("settings = open(")
    shot("opened")
    expect(lab.page.get_by_text(re.compile(r"\| Idle$"))).to_be_visible(timeout=LONG)
    lab.page.get_by_role("menuitem", name="Run", exact=True).click()
    lab.page.get_by_role("menuitem", name="Run All Above Selected Cell").click()
    shown = lab.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output")
    expect(shown.filter(has_text="Restored: ")).to_be_visible(timeout=LONG)
    active.locator(".cm-content").click()
    lab.page.keyboard.press("Control+a")
    lab.page.keyboard.type("print('x is', x, 'and y', y)")
    lab.page.keyboard.press("Control+Enter")
    expect(active.locator(".jp-OutputArea-output")).to_contain_text("x is 4 and y 4", timeout=LONG)
    alert.get_by_role("button", name="Open step bad in a notebook").click()  # again: the same notebook
    expect(active).to_contain_text("print('x is'")
    (lab.server.folder / "settings.txt").write_text("there")
    lab.button("Resume").click()
    lab.ends("Succeeded")
    expect(lab.panel.get_by_role("row", name=re.compile("^good"))).to_contain_text("Succeeded")


def test_a_run_is_watched_searched_and_stopped(lab: Lab, shot: Callable[[str], None]) -> None:
    lab.write("waiting.ipynb", [("step:wait", WAIT), ("step:after", "done = True")])
    lab.open("waiting.ipynb")
    lab.show_panel()
    lab.run()
    log = lab.panel.get_by_role("log", name="Log of wait")
    expect(log.get_by_text(re.compile(r"^line \d+$")).last).to_be_visible(timeout=LONG)
    lab.finds_in_log("wait", re.compile("^line 7"), "line 7", timeout=LONG)
    expect(lab.button("Follow the end of the log")).to_have_attribute("aria-pressed", "false")
    shot("log")
    with lab.page.expect_download() as download:
        lab.button("Download the log of wait").click()
    assert download.value.path().read_text().startswith("line 0\nline 1\n")
    lab.page.get_by_role("tab", name=re.compile("Running Terminals")).click()
    item = lab.page.locator(".jp-RunningSessions-item", has_text="waiting").filter(has_text=re.compile("wait [01]/2"))
    expect(item).to_be_visible()
    shot("running-panel")
    lab.button(re.compile("^Stop$")).click()
    lab.ends("Cancelled")
    expect(item).to_have_count(0)
    lab.button("Resume").click()
    expect(lab.button(re.compile("^Stop$"))).to_be_visible()
    lab.button(re.compile("^Stop$")).click()
    lab.ends("Cancelled")


def test_runs_are_found_noted_compared_and_deleted(lab: Lab, shot: Callable[[str], None]) -> None:
    path = lab.write(
        "rates.ipynb", [("parameters", "rate = 1"), ("step:x", "y = rate * 2"), ("pipeline-metrics", "print(y)")]
    )
    for rate in (1, 2, 3):
        lab.server.ask("POST", "/nbkube/api/v1/runs", {"path": path.name, "parameters": {"rate": rate}})
    lab.open("rates.ipynb")
    lab.show_panel()
    lab.tab("Runs")
    lab.button("Only runs of this notebook").click()
    runs = lab.panel.get_by_role("list", name="Runs")
    expect(runs.get_by_role("button", name=re.compile("rates, Succeeded"))).to_have_count(3, timeout=2 * LONG)
    runs.get_by_role("button").nth(1).click()
    lab.ends("Succeeded")
    lab.button("Notes").click()
    labels = lab.panel.get_by_label("labels")
    labels.fill("best, keep")
    labels.press("Enter")
    lab.button("← All runs").click()
    expect(runs.get_by_text("#best · #keep")).to_be_visible()
    lab.panel.get_by_label("Find runs").fill("KEEP")
    expect(runs.get_by_role("listitem")).to_have_count(1)
    lab.panel.get_by_label("Find runs").fill("rate=3")
    expect(runs.get_by_role("listitem")).to_have_count(1)
    lab.panel.get_by_label("Find runs").fill("")
    expect(runs.get_by_role("listitem")).to_have_count(3)
    for box in runs.get_by_role("checkbox").all():
        box.check()
    lab.button("Compare 3").click()
    expect(lab.panel.get_by_role("row", name=re.compile("^rate "))).to_have_text(re.compile("3.*2.*1"))
    lab.panel.get_by_role("combobox", name="Over").select_option("rate")
    expect(lab.panel.get_by_role("img", name=re.compile("y over rate: 3: 6, 2: 4, 1: 2"))).to_be_visible()
    shot("compare")
    lab.button("← All runs").click()
    runs.get_by_role("button").first.click()
    lab.button("Delete…").click()
    lab.button("Delete this run").click()
    expect(runs.get_by_role("listitem")).to_have_count(2)
