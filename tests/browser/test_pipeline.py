"""The panel follows the notebook while one types, and says what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.lab import Lab

CELLS = [
    ("parameters", "size = 3  # of the list"),
    ("step:make", "numbers = list(range(size))"),
    ("step:sum", "total = sum(numbers)"),
    ("pipeline-metrics", "print(total)"),
]


def test_the_graph_follows_typing(lab: Lab, errors: list[str], shot: Callable[[str], None]) -> None:
    lab.write("typing.ipynb", CELLS)
    lab.open("typing.ipynb")
    lab.show_panel()
    graph = lab.panel.get_by_role("img", name=re.compile("Graph of 4 steps"))
    expect(graph).to_have_accessible_name(re.compile("make to sum"))
    expect(lab.panel.get_by_text("numbers", exact=True)).to_be_visible()
    shot("graph")
    lab.cell(3).locator(".cm-content").click()
    lab.page.keyboard.press("Control+End")
    lab.page.keyboard.type("\nprint(missing_name)")
    problem = lab.button(re.compile("missing_name"))
    expect(problem).to_be_visible()
    expect(lab.button("Run…")).to_be_disabled()
    lab.choose(1)
    problem.click()
    expect(lab.cell(3)).to_have_class(re.compile("jp-mod-active"))
    lab.cell(3).locator(".cm-content").click()
    lab.page.keyboard.press("Control+a")
    lab.page.keyboard.type("total = sum(numbers)")
    expect(problem).to_have_count(0)
    expect(lab.button("Run…")).to_be_enabled()
    lab.choose(3)
    lab.page.keyboard.press("d")
    lab.page.keyboard.press("d")
    expect(lab.panel.get_by_role("img", name=re.compile("Graph of 3 steps"))).to_be_visible()
    assert errors == []


def test_opening_analyses_nothing_and_changes_nothing(lab: Lab) -> None:
    """Only a panel in sight asks the server; and asking is not acting."""
    path = lab.write("quiet.ipynb", CELLS)
    before = path.read_bytes()
    asked: list[str] = []
    lab.page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    lab.open("quiet.ipynb")
    lab.page.wait_for_timeout(1500)
    assert [one for one in asked if "/nbkube/api/" in one] == []
    lab.show_panel()
    expect(lab.step("sum")).to_be_visible()
    lab.page.wait_for_timeout(1500)
    acting = [one for one in asked if "/nbkube/api/" in one and not one.startswith("GET")]
    assert {one.rsplit("/", 1)[1] for one in acting} == {"pipeline"}
    assert path.read_bytes() == before


def test_options_are_written_into_the_notebook(lab: Lab, shot: Callable[[str], None]) -> None:
    lab.write("options.ipynb", CELLS)
    lab.open("options.ipynb")
    lab.show_panel()
    lab.step("sum").click()
    memory = lab.panel.get_by_label("memory", exact=True)
    memory.fill("much")
    memory.press("Enter")
    expect(lab.panel.get_by_text("Write a quantity")).to_be_visible()
    memory.fill("512Mi")
    memory.press("Enter")
    lab.panel.get_by_label("cache").uncheck()
    lab.panel.get_by_text("More options").click()
    lab.panel.get_by_label("env", exact=True).fill("MODE=fast, LEVEL=2")
    lab.panel.get_by_label("env", exact=True).press("Enter")
    shot("options")
    metadata = lab.saved("options.ipynb")[2]["metadata"]["nbkube"]
    assert metadata == {"memory": "512Mi", "cache": False, "env": ["MODE=fast", "LEVEL=2"]}
    expect(lab.panel.get_by_text(re.compile("of .* free")).first).to_be_visible()
    memory.fill("")
    memory.press("Enter")
    lab.panel.get_by_label("cache").check()
    assert lab.saved("options.ipynb")[2]["metadata"]["nbkube"] == {"env": ["MODE=fast", "LEVEL=2"]}


def test_options_of_a_magic_line_are_shown_and_left_to_it(lab: Lab) -> None:
    lab.write("magic.ipynb", [("", "%%step train --cpu 2\nx = 1")])
    lab.open("magic.ipynb")
    lab.show_panel()
    lab.step("train").click()
    expect(lab.panel.get_by_text("Options stand in the line %%step of cell 1")).to_be_visible()
    expect(lab.panel.get_by_label("memory", exact=True)).to_be_disabled()


def test_suggested_tags_are_taken_in_part(lab: Lab, shot: Callable[[str], None]) -> None:
    lab.write("untagged.ipynb", [("", "import os"), ("", "data = open('x').read()"), ("", "model.fit(data)")])
    lab.open("untagged.ipynb")
    lab.show_panel()
    expect(lab.panel.get_by_text("No cell is tagged yet.")).to_be_visible()
    lab.button("Suggest tags").click()
    proposal = lab.panel.get_by_role("region", name="Suggested tags")
    expect(proposal).to_contain_text("step:load")
    shot("proposal")
    proposal.get_by_role("checkbox", name=re.compile("imports")).uncheck()
    lab.button("Accept 2").click()
    assert lab.tags("untagged.ipynb") == [[], ["step:load"], ["step:train"]]


def test_without_a_notebook_it_says_what_to_do(lab: Lab) -> None:
    lab.open("", place="lab", wait=False)
    lab.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=120_000)
    lab.show_panel()
    expect(lab.panel.get_by_text("Open a notebook to see its pipeline.")).to_be_visible()
