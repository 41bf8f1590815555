"""Servers that go away, notebooks that mean harm, other applications."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Browser, Dialog, Request, expect

from tests.browser.hostile import SCRIPTS, write_hostile
from tests.browser.lab import LONG, Lab
from tests.building import write_notebook
from tests.jupyter import running_server, start_server


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


def watched(lab: Lab, errors: list[str]) -> list[str]:
    """Return a list that collects what is asked of nbkube with an effect; dialogs and calls elsewhere are errors."""
    posts: list[str] = []

    def look(request: Request) -> None:
        if request.method != "GET" and "/nbkube/" in request.url:
            posts.append(request.url.rsplit("/", 1)[1])
        if not request.url.startswith((lab.server.url, lab.server.url.replace("http", "ws"), "data:", "blob:")):
            errors.append(request.url)

    def answer(dialog: Dialog) -> None:
        if dialog.type != "beforeunload":  # JupyterLab's own question about unsaved changes
            errors.append(dialog.message)
        dialog.accept()

    lab.page.on("request", look)
    lab.page.on("dialog", answer)
    return posts


def test_hostile_notebooks_do_nothing(lab: Lab, errors: list[str]) -> None:
    """Twelve of them: opened, scrolled, each button of the panel clicked but the one that starts a run."""
    posts = watched(lab, errors)
    project = lab.server.folder / "hostile"
    paths = write_hostile(project)
    (project / "nbkube.toml").touch()  # a project of their own: no runs or models of others lie there to be started
    for path in paths:
        before = path.read_bytes()
        lab.open(f"hostile/{path.name}")
        lab.show_panel()
        expect(lab.panel.get_by_role("status").filter(has_text="looking")).to_have_count(0)
        lab.page.evaluate(
            """async () => {
              const area = document.querySelector('.jp-WindowedPanel-outer');
              for (let at = 0; at <= area.scrollHeight; at += 400) {
                area.scrollTop = at;
                await new Promise(done => requestAnimationFrame(done));
              }
            }"""
        )
        assert path.read_bytes() == before, path.name
        for _ in range(60):  # whatever a click brings is clicked, too; what starts a run is left
            pressed = lab.page.evaluate(
                """() => {
                  const seen = (window.seenButtons ??= new Set());
                  const all = document.querySelectorAll('#nbkube-panel button, #nbkube-panel summary, .nbk-chip');
                  for (const button of all) {
                    const name = `${button.className} ${button.getAttribute('aria-label') ?? button.textContent}`;
                    if (!seen.has(name) && !button.disabled && button.textContent !== 'Start') {
                      seen.add(name);
                      button.click();
                      return true;
                    }
                  }
                  return false;
                }"""
            )
            lab.page.keyboard.press("Escape")
            if not pressed:
                break
        assert lab.page.evaluate("window.pwned ?? ({}).pwned") is None, path.name
    assert set(posts) <= {"pipeline", "proposal", "preview"}
    assert errors == []
    assert not list(lab.server.folder.rglob("pwned"))
    assert lab.server.ask("GET", "/nbkube/api/v1/runs?path=hostile").json["runs"] == []


def test_texts_that_would_like_to_be_scripts(lab: Lab, errors: list[str]) -> None:
    """Tags, options, parameters, logs, names of files and errors are shown as text, whatever they hold."""
    cells = [("parameters", "\n".join(f"p{n} = {text!r}" for n, text in enumerate(SCRIPTS)))]
    cells += [("step:log", "\n".join(f"print({text!r})" for text in SCRIPTS))]
    cells += [("step:files", "\n".join(f"open({text.replace('/', '_')!r}, 'w').write(p0)" for text in SCRIPTS[:-1]))]
    cells += [("pipeline-metrics", "\n".join(f"m{n} = {text!r}" for n, text in enumerate(SCRIPTS)))]
    cells += [("step:fail", f"raise ValueError({' '.join(SCRIPTS)!r})")]
    path = lab.write("evil.ipynb", cells)
    document = json.loads(path.read_text())
    for cell, text in zip(document["cells"], SCRIPTS, strict=False):
        cell["metadata"].setdefault("tags", []).append(text)
        cell["metadata"].setdefault("tags", []).append(f"step:{text}")
        cell["metadata"]["nbkube"] = {text: text, "image": text}
    (lab.server.folder / "evil-tags.ipynb").write_text(json.dumps(document))
    posts = watched(lab, errors)
    lab.open("evil-tags.ipynb")
    lab.show_panel()
    expect(lab.button(re.compile("^Problems"))).to_be_visible()
    for button in lab.panel.get_by_role("list", name="Steps").get_by_role("button").all():
        button.click()
    assert set(posts) == {"pipeline"}

    lab.open("evil.ipynb")
    lab.show_panel()
    lab.run()
    lab.ends("Failed")
    expect(lab.panel.get_by_role("alert").filter(has_text="fail failed")).to_contain_text("<script>")
    lab.button("Artifacts").click()
    lab.panel.get_by_role("list", name="Files").get_by_role("button").first.click()
    lab.panel.get_by_role("button", name="log", exact=True).click()
    expect(lab.panel.get_by_role("log")).to_contain_text("<button onclick=window.pwned=1")
    lab.button("Notes").click()
    lab.panel.get_by_label("labels").fill(SCRIPTS[0])
    lab.panel.get_by_label("labels").press("Enter")
    lab.button("← All runs").click()
    expect(lab.panel.get_by_text(f"#{SCRIPTS[0]}").first).to_be_visible()
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
