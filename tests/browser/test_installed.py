"""What a user installs: binder/ executed in a clean environment. It builds the wheel and installs nothing but that and
what is pinned; then the panel is used."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.lab import LONG, Lab
from tests.building import write_notebook
from tests.jupyter import ROOT, running_server


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """A new virtual environment, as binder/ makes it from a copy of the checkout; returns its folder."""
    checkout = tmp_path / "checkout"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, checkout / name)
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "-q"]
    subprocess.run([*pip, "-r", str(checkout / "binder" / "requirements.txt")], check=True)
    env = {**os.environ, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([checkout / "binder" / "postBuild"], cwd=checkout, env=env, check=True)
    shutil.rmtree(checkout)
    return place


@pytest.mark.timeout(1200)
def test_a_new_environment_with_the_wheel_alone(environment: Path, chromium: Browser, tmp_path: Path) -> None:
    def said(*command: str) -> str:
        done = subprocess.run(
            [environment / "bin" / "jupyter", *command], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        return done.stdout + done.stderr

    assert re.search(r"nbkube v\S+ .*enabled.*OK", said("labextension", "list"))
    assert re.search(r"nbkube\S* .*enabled", said("server", "extension", "list"))
    folder = tmp_path / "project"
    write_notebook(folder / "first.ipynb", [("step:one", "a = 1"), ("step:two", "print('a is', a)")])
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    try:
        with running_server(folder, tmp_path / "settings", app="lab", python=environment / "bin" / "python") as server:
            lab = Lab(context.new_page(), server)
            lab.open("first.ipynb")
            expect(lab.chip(1)).to_have_text("one")
            lab.show_panel()
            expect(lab.step("two")).to_contain_text("after one", timeout=LONG)
            lab.run()
            lab.ends("Succeeded")
            expect(lab.panel.get_by_role("log", name="Log of two")).to_contain_text("a is 1")
    finally:
        context.close()
