"""Servers that go away, notebooks that mean harm, other applications."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Dialog, expect

from tests.browser.lab import LONG, Lab
from tests.building import write_notebook
from tests.jupyter import running_server, start_server

EVIL = [
    "<img src=x onerror=window.pwned=1>",
    "<script>window.pwned=1</script>",
    "<svg/onload=window.pwned=1>",
    "javascript:window.pwned=1",
    "\"'><iframe srcdoc='<script>parent.pwned=1</script>'>",
    "{{constructor.constructor('window.pwned=1')()}}",
    "<a href=javascript:window.pwned=1>x</a>",
    "&lt;img src=x onerror=window.pwned=1&gt;",
    "<details open ontoggle=window.pwned=1>",
    "\u202e<b>turned</b>\u0000",
]


def test_a_server_that_is_lost_and_comes_back(chromium: Browser, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nbkube.toml").touch()
    write_notebook(folder / "x.ipynb", [("step:wait", "import time\ntime.sleep(40)\nprint('waited')")])
    server = start_server(folder, tmp_path / "settings", app="lab")
    context = chromium.new_context(viewport={"width": 1400, "height": 900})
    try:
        lab = Lab(context.new_page(), server)
        lab.open("x.ipynb")
        lab.show_panel()
        lab.run()
        expect(lab.panel.get_by_role("row", name=re.compile("^wait"))).to_contain_text("Running", timeout=LONG)
        server.stop()
        alert = lab.panel.get_by_text("cannot be reached").first
        expect(alert).to_be_visible(timeout=LONG)
        back = start_server(folder, tmp_path / "settings", app="lab", port=server.port)
        try:
            lab.ends("Succeeded")  # the run did not need the server
            expect(lab.panel.get_by_role("log", name="Log of wait").get_by_text("waited")).to_be_visible(timeout=LONG)
            expect(lab.panel.get_by_text("cannot be reached")).to_have_count(0, timeout=LONG)
        finally:
            back.stop()
    finally:
        context.close()
        server.stop()


def test_texts_that_would_like_to_be_scripts(lab: Lab, errors: list[str]) -> None:
    """Tags, options, parameters, logs, names of files and errors are shown as text, whatever they hold."""
    cells = [("parameters", "\n".join(f"p{n} = {text!r}" for n, text in enumerate(EVIL)))]
    cells += [("step:log", "\n".join(f"print({text!r})" for text in EVIL))]
    cells += [("step:files", "\n".join(f"open({text.replace('/', '_')!r}, 'w').write(p0)" for text in EVIL[:-1]))]
    cells += [("pipeline-metrics", "\n".join(f"m{n} = {text!r}" for n, text in enumerate(EVIL)))]
    cells += [("step:fail", f"raise ValueError({' '.join(EVIL)!r})")]
    path = lab.write("evil.ipynb", cells)
    import json

    document = json.loads(path.read_text())
    for cell, text in zip(document["cells"], EVIL, strict=False):
        cell["metadata"].setdefault("tags", []).append(text)
        cell["metadata"].setdefault("tags", []).append(f"step:{text}")
        cell["metadata"]["nbkube"] = {text: text, "image": text}
    (lab.server.folder / "evil-tags.ipynb").write_text(json.dumps(document))
    posts: list[str] = []
    lab.page.on("request", lambda one: posts.append(one.url) if one.method != "GET" and "/nbkube/" in one.url else None)

    def answer(dialog: Dialog) -> None:
        if dialog.type != "beforeunload":  # JupyterLab's own question about unsaved changes
            errors.append(dialog.message)
        dialog.accept()

    lab.page.on("dialog", answer)

    lab.open("evil-tags.ipynb")
    lab.show_panel()
    expect(lab.button(re.compile("^Problems"))).to_be_visible()
    for button in lab.panel.get_by_role("list", name="Steps").get_by_role("button").all():
        button.click()
    assert {url.rsplit("/", 1)[1] for url in posts} == {"pipeline"}

    lab.open("evil.ipynb")
    lab.show_panel()
    lab.run()
    lab.ends("Failed")
    expect(lab.panel.get_by_role("alert").filter(has_text="fail failed")).to_contain_text("<script>")
    lab.button("Artifacts").click()
    lab.panel.get_by_role("list", name="Files").get_by_role("button").first.click()
    lab.panel.get_by_role("button", name="log", exact=True).click()
    expect(lab.panel.get_by_role("log")).to_contain_text("<svg/onload")
    lab.button("Notes").click()
    lab.panel.get_by_label("labels").fill(EVIL[0])
    lab.panel.get_by_label("labels").press("Enter")
    lab.button("← All runs").click()
    expect(lab.panel.get_by_text(f"#{EVIL[0]}").first).to_be_visible()
    assert lab.page.evaluate("window.pwned") is None
    assert errors == []


def test_notebook_7(chromium: Browser, folder: Path, tmp_path: Path, shot: Callable[[str], None]) -> None:
    write_notebook(folder / "seven.ipynb", [("step:one", "a = 1"), ("", "b = a")])
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    try:
        with running_server(folder, tmp_path, app="notebook") as server:
            page = context.new_page()
            lab = Lab(page, server)
            page.goto(f"{server.url}/notebooks/seven.ipynb?token=a-token-for-tests")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=LONG)
            expect(lab.chip(1)).to_have_text("one")
            lab.chip(2).click()
            lab.pick("two")
            expect(lab.chip(2)).to_have_text("two")
            lab.choose(1)
            page.keyboard.press("Alt+Shift+P")
            expect(lab.step("two")).to_be_visible()
            lab.run()
            lab.ends("Succeeded")
    finally:
        context.close()


def test_a_server_without_nbkube_still_tags(lab: Lab) -> None:
    """Where the server part is missing the panel says so, and tagging works."""
    lab.page.route("**/nbkube/api/**", lambda route: route.fulfill(status=404, body="<html>Not Found</html>"))
    lab.write("alone.ipynb", [("step:one", "a = 1"), ("", "b = a")])
    lab.open("alone.ipynb")
    lab.show_panel()
    expect(lab.panel.get_by_text("This server has no nbkube.").first).to_be_visible()
    lab.chip(2).click()
    lab.pick("two")
    expect(lab.step("two")).to_be_visible()
