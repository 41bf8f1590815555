"""Cells get their steps: by mouse, by keyboard, one or many, and back."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.lab import Lab

PLAIN = [("", "import os"), ("", "a = 1"), ("", "b = a + 1"), ("", "print(b)")]


def test_a_chip_names_the_step_and_changes_it(lab: Lab) -> None:
    lab.write("chips.ipynb", [("imports", "import os"), ("step:one", "a = 1"), ("", "b = a"), ("skip", "c = 1")])
    lab.open("chips.ipynb")
    expect(lab.chip(2)).to_have_text("one")
    expect(lab.chip(2)).to_have_accessible_name("Step one. Change")
    expect(lab.chip(3)).to_have_accessible_name("Step one, with the cell above. Change")
    expect(lab.chip(4)).to_have_accessible_name("Left out of the pipeline. Change")
    lab.chip(3).click()
    lab.pick("Two parts")
    expect(lab.chip(3)).to_have_text("two-parts")
    assert lab.tags("chips.ipynb") == [["imports"], ["step:one"], ["step:two-parts"], ["skip"]]


def test_by_keyboard_for_several_cells_and_undone_at_once(lab: Lab) -> None:
    lab.write("keys.ipynb", PLAIN)
    lab.open("keys.ipynb")
    expect(lab.cell(1)).to_be_visible()
    assert lab.page.locator(".nbk-chip").count() == 0, "a notebook without tags looks as ever"
    lab.choose(2, and_also=[3])
    lab.page.keyboard.press("Alt+Shift+S")
    lab.pick("load")
    assert lab.tags("keys.ipynb") == [[], ["step:load"], ["step:load"], []]
    lab.page.wait_for_timeout(700)  # JupyterLab joins changes within half a second to one
    lab.choose(4)
    lab.page.keyboard.press("Alt+Shift+S")
    lab.page.keyboard.type("me")
    lab.page.get_by_role("option", name=re.compile("pipeline-metrics")).click()
    assert lab.tags("keys.ipynb")[3] == ["pipeline-metrics"]
    lab.choose(2)
    lab.page.keyboard.press("z")
    assert lab.tags("keys.ipynb") == [[], ["step:load"], ["step:load"], []]
    lab.page.keyboard.press("z")
    assert lab.tags("keys.ipynb") == [[], [], [], []]
    lab.page.keyboard.press("Shift+z")
    assert lab.tags("keys.ipynb") == [[], ["step:load"], ["step:load"], []]


def test_from_the_cell_toolbar_and_the_palette(lab: Lab) -> None:
    lab.write("toolbar.ipynb", PLAIN)
    lab.open("toolbar.ipynb")
    lab.choose(2)
    lab.cell(2).get_by_role("button", name="Set the step of the selected cells").click()
    lab.pick("first")
    expect(lab.chip(2)).to_have_text("first")
    lab.choose(3)
    lab.command("Tag Cells: checks")
    expect(lab.chip(3)).to_have_text("checks")
    lab.choose(3)
    lab.command("Remove Step of Cells")
    expect(lab.chip(3)).to_have_accessible_name("Step first, with the cell above. Change")


def test_a_step_is_renamed_and_merged_everywhere(lab: Lab) -> None:
    cells = [("step:a", "x = 1"), ("step:b prev:a mine", "y = x"), ("step:a", "z = y"), ("", "%%step b\nw = z")]
    lab.write("names.ipynb", cells)
    lab.open("names.ipynb")
    lab.show_panel()
    lab.step("a").click()
    name = lab.panel.get_by_label("name", exact=True)
    name.fill("Load it")
    name.press("Enter")
    expect(lab.chip(1)).to_have_text("load-it")
    assert lab.tags("names.ipynb") == [["step:load-it"], ["step:b", "prev:load-it", "mine"], ["step:load-it"], []]
    lab.step("b").click()
    lab.panel.get_by_label("merge into").select_option("load-it")
    expect(lab.chip(4)).to_have_text("load-it")
    cells_now = lab.saved("names.ipynb")
    assert cells_now[1]["metadata"]["tags"] == ["step:load-it", "prev:load-it", "mine"]
    assert "".join(cells_now[3]["source"]).startswith("%%step load-it")


def test_in_a_long_notebook_chips_are_right_wherever_one_scrolls(lab: Lab) -> None:
    lab.write("long.ipynb", [(f"step:part-{n // 10}" if n % 10 == 0 else "", f"v{n} = {n}") for n in range(300)])
    lab.open("long.ipynb")
    expect(lab.chip(1)).to_have_text("part-0")
    for number, part in ((150, "part-14"), (300, "part-29"), (11, "part-1"), (1, "part-0")):
        lab.scroll_to(number, 300)
        expect(lab.chip(number)).to_have_text(part)
    lab.chip(1).click()
    lab.pick("changed")
    expect(lab.chip(5)).to_have_text("changed")


def test_two_browsers_do_not_undo_each_other(lab: Lab) -> None:
    """Without real-time collaboration the second one to save is told; what it holds is its own."""
    lab.write("shared.ipynb", PLAIN)
    lab.open("shared.ipynb")
    other = lab.page.context.new_page()
    second = Lab(other, lab.server)
    second.open("shared.ipynb")
    lab.choose(2)
    lab.command("Tag Cells: checks")
    assert lab.tags("shared.ipynb")[1] == ["checks"]
    expect(second.cell(2).get_by_role("button", name="Tagged checks. Change")).to_have_count(0)
    other.close()
