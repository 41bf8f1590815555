"""JupyterLab as a person uses it: by roles and names, mouse and keyboard."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page, expect

from tests.building import CellText, write_notebook
from tests.jupyter import ROOT, TOKEN, Server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LONG = 120_000


def missing_browser() -> str:
    """Return what tests in a browser lack on this machine and how to get it; "" for nothing."""
    if not CHROMIUM:
        return "no Chromium is installed (Debian: apt-get install chromium)"
    built = ROOT / "nbkube" / "labextension" / "package.json"
    return "" if built.is_file() else "the JupyterLab extension is not built (make labextension)"


@dataclass
class Lab:
    """One browser page with JupyterLab (or Notebook 7) in it."""

    page: Page
    server: Server

    def open(self, path: str, *, place: str = "lab/tree", wait: bool = True) -> None:
        """Open a notebook in a fresh workspace and wait until it is there."""
        self.page.goto(f"{self.server.url}/{f'{place}/{path}'.rstrip('/')}?reset&token={TOKEN}")
        if wait:
            self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=LONG)
            self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=LONG)

    def write(self, name: str, cells: Sequence[CellText]) -> Path:
        """Write a notebook where JupyterLab sees it."""
        return write_notebook(self.server.folder / name, cells)

    def saved(self, name: str) -> list[dict[str, Any]]:
        """Save the open notebook by keyboard, return its cells as they are in the file.

        JupyterLab does not heed the key while it still makes a checkpoint after the save before.
        """
        changed = self.page.locator(".jp-mod-current.jp-mod-dirty")
        for tries_left in reversed(range(10)):
            self.page.keyboard.press("Control+s")
            try:
                expect(changed).to_have_count(0, timeout=3000)
                break
            except AssertionError:
                if not tries_left:
                    raise
        cells: list[dict[str, Any]] = json.loads((self.server.folder / name).read_text())["cells"]
        return cells

    def tags(self, name: str) -> list[list[str]]:
        """Return the saved tags of all cells."""
        return [cell["metadata"].get("tags", []) for cell in self.saved(name)]

    # -- notebook --------------------------------------------------------------------------------------------------

    def cell(self, number: int) -> Locator:
        """A cell by its number from 1."""
        return self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{number - 1}"]')

    def scroll_to(self, number: int, of: int) -> None:
        """Scroll until a cell of so many is in sight; what is above it may still be measured meanwhile."""
        for _ in range(120):
            shown: list[int] = self.page.evaluate(
                """([number, of]) => {
                  const area = document.querySelector('.jp-WindowedPanel-outer');
                  const seen = [...area.querySelectorAll('.jp-Cell')].filter(cell => {
                    const {top, bottom} = cell.getBoundingClientRect();
                    return bottom > 120 && top < 800;
                  });
                  const numbers = seen.map(cell => Number(cell.dataset.windowedListIndex) + 1);
                  const middle = numbers[Math.floor(numbers.length / 2)];
                  if (middle === undefined) area.scrollTop = area.scrollHeight * (number / of);
                  else area.scrollTop += ((number - middle) * area.scrollHeight) / of;
                  return numbers;
                }""",
                [number, of],
            )
            if number in shown:
                return
            self.page.wait_for_timeout(250)
        raise AssertionError(f"cell {number} did not come in sight")

    def choose(self, number: int, *, and_also: Sequence[int] = ()) -> None:
        """Select a cell in command mode, and the following ones with Shift."""
        self.cell(number).locator(".jp-InputPrompt").click()
        for other in and_also:
            self.cell(other).locator(".jp-InputPrompt").click(modifiers=["Shift"])

    def chip(self, number: int) -> Locator:
        """The chip that shows a cell's step."""
        return self.cell(number).get_by_role("button", name=re.compile(r"^(Step|Tagged|Left out)"))

    def pick(self, text: str) -> None:
        """Type into the open list of steps and press Enter."""
        box = self.page.get_by_role("combobox", name=re.compile("^Step"))
        expect(box).to_be_focused()
        self.page.keyboard.type(text)
        self.page.keyboard.press("Enter")
        expect(box).to_have_count(0)

    def command(self, name: str) -> None:
        """Run a command from the palette."""
        self.page.keyboard.press("Control+Shift+c")
        self.page.get_by_placeholder("SEARCH", exact=True).last.fill(name)
        self.page.locator(".lm-CommandPalette-item", has_text=name).first.click()

    # -- panel -----------------------------------------------------------------------------------------------------

    @property
    def panel(self) -> Locator:
        """The panel of nbkube."""
        return self.page.get_by_role("region", name="nbkube", exact=True)

    def show_panel(self) -> Locator:
        """Open the panel by its tab in the side bar."""
        self.page.get_by_role("tab", name="nbkube: pipeline and runs").click()
        expect(self.panel).to_be_visible()
        return self.panel

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """A button of the panel."""
        return self.panel.get_by_role("button", name=name)

    def step(self, name: str) -> Locator:
        """A step in the list of steps."""
        return self.panel.get_by_role("list", name="Steps").get_by_role("button", name=re.compile(f"^{name} "))

    def tab(self, name: str) -> None:
        """Go to a tab of the panel."""
        self.panel.get_by_role("tab", name=name).click()

    def run(self) -> None:
        """Press Run, wait for the preview, start."""
        self.button("Run…").click()
        expect(self.button("Start")).to_be_enabled(timeout=LONG)
        self.button("Start").click()

    def ends(self, phase: str, *, timeout: int = 2 * LONG) -> None:
        """Wait until the run that is shown has ended so, at most so many milliseconds."""
        expect(self.panel.get_by_role("heading", name=re.compile(phase))).to_be_visible(timeout=timeout)

    def finds_in_log(self, step: str, line: str | re.Pattern[str], words: str, *, timeout: int = 2 * LONG) -> None:
        """Search the log of a step, at most so many milliseconds, and go to the line: it may be long out of sight."""
        self.panel.get_by_role("searchbox", name="Search the log").fill(words)
        expect(self.panel.get_by_role("status").filter(has_text=re.compile(r"^1 of \d+$"))).to_be_visible(
            timeout=timeout
        )
        self.panel.get_by_role("searchbox", name="Search the log").press("Enter")
        log = self.panel.get_by_role("log", name=f"Log of {step}")
        expect(log.get_by_text(line).first).to_be_visible()  # Enter goes on to the next one, where there are several
