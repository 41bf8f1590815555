"""Servers that go away, notebooks that mean harm, other applications."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
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


def plain(text: str) -> str:
    """Return what of a text can be seen: no sequences for terminals, no control characters, white space as one."""
    shown = re.sub(r"\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\u202e]", "", text)
    return re.sub(r"\s+", " ", shown).strip()


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
        pressed = True
        for _ in range(400):  # whatever a click brings is clicked, too; what starts a run is left
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
        assert not pressed, "there was always one more button"
        assert lab.page.evaluate("window.pwned ?? ({}).pwned") is None, path.name
    assert set(posts) <= {"pipeline", "proposal", "preview"}
    assert errors == []
    assert not list(lab.server.folder.rglob("pwned"))
    assert lab.server.ask("GET", "/nbkube/api/v1/runs?path=hostile").json["runs"] == []


def test_tags_and_options_that_would_like_to_be_scripts(lab: Lab, errors: list[str]) -> None:
    """Two places, all forty texts in each: shown as text, and nothing but an analysis is asked for."""
    path = lab.write("evil-tags.ipynb", [("", f"x{n} = {n}") for n in range(len(SCRIPTS))])
    document = json.loads(path.read_text())
    for cell, text in zip(document["cells"], SCRIPTS, strict=True):
        cell["metadata"]["tags"] = [text, f"step:{text}"]
        cell["metadata"]["nbkube"] = {text: text, "image": text}
    path.write_text(json.dumps(document))
    posts = watched(lab, errors)
    lab.open("evil-tags.ipynb")
    lab.show_panel()
    expect(lab.button(re.compile("^Problems"))).to_be_visible()
    for button in lab.panel.get_by_role("list", name="Steps").get_by_role("button").all():
        button.click()
    shown = plain(lab.panel.inner_text())
    assert [text for text in SCRIPTS if plain(text)[:60] not in shown] == ["__proto__"]  # JupyterLab drops such a key
    assert set(posts) == {"pipeline"}
    assert lab.page.evaluate("window.pwned") is None
    assert errors == []


def test_texts_of_a_run_that_would_like_to_be_scripts(lab: Lab, errors: list[str]) -> None:
    """Parameters, logs, files, metrics, errors, labels, the note and the list of runs: all forty texts in each."""
    cells = [("parameters", "\n".join(f"p{n} = {text!r}" for n, text in enumerate(SCRIPTS)))]
    cells += [("step:log", "\n".join(f"print({text!r})" for text in SCRIPTS))]
    names = [plain(text).replace("/", "\u2044") for text in SCRIPTS]
    cells += [("step:files", "\n".join(f"open({name!r}, 'w').write(p0)" for name in names))]
    cells += [("pipeline-metrics", "\n".join(f"m{n} = {text!r}" for n, text in enumerate(SCRIPTS)))]
    cells += [("step:fail", f"raise ValueError({' '.join(SCRIPTS)!r})")]
    lab.write("evil.ipynb", cells)
    watched(lab, errors)
    lab.open("evil.ipynb")
    lab.show_panel()
    lab.button("Run…").click()
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    for number, text in enumerate(SCRIPTS):
        expect(lab.panel.get_by_label(f"p{number}", exact=True)).to_have_value(text)
    lab.button("Start").click()
    lab.ends("Failed")

    def missing(shown: str, wanted: Sequence[str] = SCRIPTS) -> list[str]:
        return [text for text in wanted if plain(text) not in plain(shown)]

    failed = lab.panel.get_by_role("alert").filter(has_text="fail failed")
    expect(failed).to_contain_text("ValueError")
    assert missing(failed.text_content() or "") == []
    metrics = lab.panel.locator("dl", has_text="m39")
    expect(metrics).to_be_visible()
    assert missing(metrics.text_content() or "") == []
    lab.button("Artifacts").click()
    files = lab.panel.get_by_role("list", name="Files").get_by_role("button", name=re.compile("^(?!Download)"))
    expect(files).to_have_count(len(SCRIPTS))
    assert missing("\n".join(files.all_text_contents()), names) == []
    for file in files.all():
        file.click()
        expect(lab.panel.get_by_text(SCRIPTS[0], exact=True).first).to_be_visible()
    lab.panel.get_by_role("button", name="log", exact=True).click()
    log = lab.panel.get_by_role("log", name="Log of log")
    expect(log).to_contain_text("<button onclick=window.pwned=1")
    lines: list[str] = log.evaluate(  # only what is in sight is in the page
        """async area => {
          const seen = [];
          for (let at = 0; at <= area.scrollHeight; at += 80) {
            area.scrollTop = at;
            for (let n = 0; n < 3; n++) await new Promise(done => requestAnimationFrame(done));
            seen.push(area.textContent);
          }
          return seen;
        }"""
    )
    assert missing(" ".join(lines)) == []

    lab.button("Notes").click()
    note = lab.panel.get_by_label("note", exact=True)
    note.fill("\n".join(SCRIPTS))
    lab.panel.get_by_label("labels").focus()
    labelled = [text for text in SCRIPTS if "," not in text]  # a comma parts labels
    parted = [text for text in SCRIPTS if "," in text]
    for some in (labelled[:20], labelled[20:], parted):  # a run has at most twenty
        labels = lab.panel.get_by_label("labels")
        labels.fill(", ".join(some))
        labels.press("Enter")
        lab.button("← All runs").click()
        row = lab.panel.get_by_role("list", name="Runs").get_by_role("button").first
        expect(row).to_contain_text(f"#{some[0].split(',')[0]}")
        assert missing(row.text_content() or "", [part for text in some for part in text.split(",")]) == []
        row.click()
        lab.button("Notes").click() if not labels.is_visible() else None
    assert missing(note.input_value()) == []
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
