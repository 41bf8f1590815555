"""The JupyterLab extension: its size, tag → frame and panel at 500 cells, event → page, 10,000 runs, what it adds to
JupyterLab's start: `python -m tests.benchmarks.lab [size|page|runs|events|log|start]…` (needs the built extension and
Chromium)."""

from __future__ import annotations

import gzip
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from playwright.sync_api import Browser, Page, sync_playwright

from nbkube.runs import Phase, Run, RunEvent, RunUnit
from nbkube.storage.seal import check_line, seal
from tests.benchmarks.measure import Line, show
from tests.browser.lab import FLAGS
from tests.building import CellText, write_notebook
from tests.jupyter import API, ROOT, TOKEN, Server, running_server

CELLS, STEPS, TURNS, RUNS = 500, 50, 30, 10_000

_FRAME = """async ({tags, cell}) => {
  const frame = () => new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
  const times = [];
  for (const tag of tags) {
    document.querySelector('.jp-Notebook').focus();
    document.querySelectorAll('.jp-Notebook .nbk-chip')[cell].click();
    let input = null;
    while (!(input = document.querySelector('.nbk-editor input'))) {
      await frame();
    }
    Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, 'value').set.call(input, tag);
    input.dispatchEvent(new Event('input', {bubbles: true}));
    await frame();
    const start = performance.now();
    input.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}));
    await new Promise(done => {
      const there = () => document.querySelector('.nbk-graph')?.textContent.includes(tag);
      const look = () => (there() ? done() : requestAnimationFrame(look));
      look();
    });
    await frame();
    times.push(performance.now() - start);
    await new Promise(done => setTimeout(done, 300));
  }
  return times;
}"""


def main(wanted: Sequence[str] = ()) -> bool:
    """Print the figures beside their bars, all or those of some parts."""
    chromium = shutil.which("chromium")
    built = ROOT / "nbkube" / "labextension" / "static"
    if chromium is None or not built.is_dir():
        sys.stdout.write("\nJupyterLab extension: NOT MEASURED (make labextension; Chromium)\n")
        return True
    with tempfile.TemporaryDirectory() as place, sync_playwright() as playwright:
        folder = Path(place, "project")
        folder.mkdir()
        (folder / "nbkube.toml").touch()
        write_notebook(folder / "large.ipynb", _cells())
        write_notebook(folder / "widgets.ipynb", _widget_cells())
        if not wanted or "runs" in wanted:
            _write_runs(folder / ".nbkube")
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        with running_server(folder, Path(place, "settings"), app="lab") as server:
            good = [
                # Shown one by one: some take a minute.
                show(f"JupyterLab extension, {name}", measure())
                for name, measure in (
                    ("size", lambda: _sizes(built, browser, server)),
                    ("page", lambda: _in_the_page(browser, server)),
                    ("widgets", lambda: _widgets(browser, server)),
                    ("runs", lambda: _lists(server)),
                    ("events", lambda: [_event(browser, server)]),
                    ("log", lambda: _log(browser, server)),
                    ("start", lambda: [_start(browser, server)]),
                )
                if not wanted or name in wanted
            ]
        browser.close()
    return all(good)


def _cells() -> list[CellText]:
    each = CELLS // STEPS
    return [
        (f"step:part-{n // each}" if n % each == 0 else "", f"v{n} = v{n - 1} + 1" if n else "v0 = 0")
        for n in range(CELLS)
    ]


def _sizes(built: Path, browser: Browser, server: Server) -> list[Line]:
    """Size what JupyterLab loads before anybody has asked for a part that comes on first use."""
    page = _open(browser, server, "large.ipynb")
    names: list[str] = page.evaluate("performance.getEntriesByType('resource').map(one => one.name)")
    page.context.close()
    loaded = {name.split("?")[0].rpartition("/")[2] for name in names if "/nbkube/static/" in name}
    scripts = [path.read_bytes() for path in built.glob("*.js") if path.name in loaded]
    assert scripts
    return [
        Line("bundle", sum(map(len, scripts)) / 1000, "kB", 120),
        Line("bundle, gzip", sum(len(gzip.compress(one, 9)) for one in scripts) / 1000, "kB", 40),
    ]


def _in_the_page(browser: Browser, server: Server) -> list[Line]:
    page = _open(browser, server, "large.ipynb")
    page.wait_for_timeout(5000)  # JupyterLab still renders the 500 cells
    opened = []
    tab = page.get_by_role("tab", name="nbkube: pipeline and runs")
    for _ in range(7):
        opened.append(
            page.evaluate(
                """async tab => {
                  const start = performance.now();
                  const rect = tab.getBoundingClientRect();
                  const at = {bubbles: true, clientX: rect.x + 5, clientY: rect.y + 5, button: 0, pointerId: 1};
                  tab.dispatchEvent(new PointerEvent('pointerdown', at));
                  document.dispatchEvent(new PointerEvent('pointerup', at));
                  await new Promise(done => {
                    const there = () => document.querySelector('.nbk-graph')?.offsetParent;
                    const look = () => (there() ? done() : requestAnimationFrame(look));
                    look();
                  });
                  await new Promise(done => requestAnimationFrame(() => setTimeout(done, 0)));
                  return performance.now() - start;
                }""",
                tab.element_handle(),
            )
        )
        page.wait_for_timeout(1500)
        tab.click()  # closes it again
        page.wait_for_timeout(300)
    tab.click()
    page.wait_for_timeout(2000)
    times: list[float] = page.evaluate(_FRAME, {"tags": [f"made-{n}" for n in range(TURNS)], "cell": 3})
    page.context.close()
    return [
        Line("panel open → graph, 500 cells, median", statistics.median(opened), "ms", 200),
        Line("tag → frame, 500 cells, median", statistics.median(times), "ms"),
        Line("tag → frame, 500 cells, p95", _p95(times), "ms", 50),
    ]


def _widget_cells() -> list[CellText]:
    steps = [(f"step:part-{n}", f"v{n} = v{n - 1} + 1" if n else "v0 = 0") for n in range(10)]
    make = "from nbkube.widgets import PipelineGraph, ResourceRequest, StorageBrowser\nPipelineGraph('widgets.ipynb')"
    return [("skip", make), ("skip", "ResourceRequest('part-1')"), ("skip", "StorageBrowser('./')"), *steps]


def _widgets(browser: Browser, server: Server) -> list[Line]:
    """Time from the message that shows a widget, as it arrives in the page, to the frame with its drawing."""
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.add_init_script(_LISTEN)
    page.goto(f"{server.url}/lab/tree/widgets.ipynb?reset&token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=120_000)
    page.get_by_text("| Idle").wait_for(timeout=120_000)
    lines = []
    for number, (name, drawn) in enumerate(
        (
            ("PipelineGraph", ".nbk-in-cell svg"),
            ("ResourceRequest", ".widget-text"),
            ("StorageBrowser", "[role=option]"),
        )
    ):
        cell = page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{number}"]')
        times = []
        for turn in range(8):
            cell.locator(".jp-InputPrompt").click()
            waiting = page.evaluate_handle("drawn => ({done: widgetDrawn(drawn)})", drawn)
            page.keyboard.press("Control+Enter")
            taken = float(waiting.evaluate("one => one.done"))
            if turn:  # the first one loads what draws it
                times.append(taken)
            page.wait_for_timeout(300)
        lines.append(Line(f"{name}: message → drawn, median", statistics.median(times), "ms", 150))
    page.context.close()
    return lines


_LISTEN = """
  const text = new TextDecoder();
  window.WebSocket = class extends WebSocket {
    constructor(...given) {
      super(...given);
      this.addEventListener('message', event => {
        const said = typeof event.data === 'string' ? event.data : text.decode(event.data);
        if (said.includes('application/vnd.jupyter.widget-view+json')) window.widgetShown = performance.now();
      });
    }
  };
  window.widgetDrawn = drawn => new Promise(done => {
    const before = new Set(document.querySelectorAll(drawn));
    window.widgetShown = Infinity;
    const look = () => {
      const there = [...document.querySelectorAll(drawn)].some(one => !before.has(one) && one.getClientRects().length);
      if (!there) return requestAnimationFrame(look);
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - window.widgetShown), 0));
    };
    look();
  });
"""


def _lists(server: Server) -> list[Line]:
    first = _median(lambda: server.ask("GET", f"{API}/runs?limit=100"))
    cold = _median(lambda: server.ask("GET", f"{API}/runs?limit=100&text=rate%3D77", timeout=300), turns=1)
    warm = _median(lambda: server.ask("GET", f"{API}/runs?limit=100&text=rate%3D77"))
    return [
        Line(f"first page of {RUNS:,} runs, median", first * 1000, "ms", 500),
        Line(f"a text sought in {RUNS:,} runs, without an index", cold * 1000, "ms"),
        Line(f"a text sought in {RUNS:,} runs, median", warm * 1000, "ms", 500),
    ]


_FRAMES = """async seconds => {
  const times = [];
  const end = performance.now() + seconds * 1000;
  let before = performance.now();
  while (before < end) {
    const now = await new Promise(done => requestAnimationFrame(done));
    times.push(now - before);
    before = now;
  }
  return times;
}"""


def _log(browser: Browser, server: Server) -> list[Line]:
    """A step that shows 1,000 lines a second for ten seconds, followed in the panel: the time between two frames."""
    store = server.folder / ".nbkube"
    run = Run(id="20990102-000000-bbbbbb", created=time.time(), notebook="large.ipynb", units=(RunUnit("a"),))
    started = [
        RunEvent("run-started", time.time(), process=_this()),
        RunEvent("started", time.time(), step="a", attempt=1),
    ]
    _record(store, run, started)
    live = store / "runs" / run.id / "live" / "a"
    live.mkdir(parents=True)
    page = _open(browser, server, "large.ipynb")
    page.get_by_role("tab", name="nbkube: pipeline and runs").click()
    page.get_by_role("tab", name="Runs", exact=True).click()
    page.get_by_role("list", name="Runs").get_by_role("button", name=run.id).click()
    page.get_by_role("log", name="Log of a").wait_for(timeout=60_000)
    page.wait_for_timeout(5000)
    writer = threading.Thread(target=_write_lines, args=(live / "0001.jsonl",))
    writer.start()
    times = sorted(page.evaluate(_FRAMES, 9))
    writer.join()
    page.get_by_role("log", name="Log of a").get_by_text("line 9999", exact=True).wait_for(timeout=30_000)
    _append(store, run.id, RunEvent("run-ended", time.time(), phase=Phase.SUCCEEDED))
    page.context.close()
    dropped = sum(max(0, round(one / (1000 / 60)) - 1) for one in times)
    return [
        Line("log, 1,000 lines/s: time between frames, p99", times[int(len(times) * 0.99)], "ms"),
        Line("log, 1,000 lines/s: frames dropped in 9 s", dropped, ""),
    ]


def _write_lines(file: Path) -> None:
    with file.open("ab") as record:
        began = time.perf_counter()
        for number in range(10_000):
            piece = {"time": time.time(), "event": "log", "stream": "stdout", "text": f"line {number}\n", "cell": 1}
            record.write(check_line(msgspec.json.encode(piece)))
            if number % 10 == 9:
                record.flush()
                time.sleep(max(0.0, began + number / 1000 - time.perf_counter()))


def _event(browser: Browser, server: Server) -> Line:
    """From the event's line in the run's record to the page."""
    page = _open(browser, server, "large.ipynb")
    page.get_by_role("tab", name="nbkube: pipeline and runs").click()
    page.get_by_role("tab", name="Runs", exact=True).click()
    store = server.folder / ".nbkube"
    run = Run(id="20990101-000000-bbbbbb", created=time.time(), notebook="large.ipynb", units=(RunUnit("a"),))
    _record(store, run, [RunEvent("run-started", time.time(), process=_this())])
    row = page.get_by_role("list", name="Runs").get_by_role("listitem").filter(has_text="0/1")
    row.wait_for(timeout=60_000)
    times = []
    for number in range(20):
        wrote = time.time()
        _append(store, run.id, RunEvent("started", wrote, step="a", attempt=number + 1))
        page.wait_for_function(
            "[...document.querySelectorAll('.nbk-row')].some(row => row.textContent.includes('0/1 a'))", polling="raf"
        )
        times.append((time.time() - wrote) * 1000)
        _append(store, run.id, RunEvent("again", time.time(), step="a", attempt=number + 1, reason="once more"))
        page.wait_for_function(
            "![...document.querySelectorAll('.nbk-row')].some(row => row.textContent.includes('0/1 a'))", polling="raf"
        )
    _append(store, run.id, RunEvent("run-ended", time.time(), phase=Phase.SUCCEEDED))
    page.context.close()
    return Line("event → page, p95", _p95(times), "ms", 250)


def _start(browser: Browser, server: Server) -> Line:
    """What the extension adds to JupyterLab's start: with it and with its plugins disabled, in turn."""
    with_it: list[float] = []
    without: list[float] = []
    for turn in range(5):
        for off, times in ((False, with_it), (True, without)):
            context = browser.new_context(viewport={"width": 1400, "height": 900})
            page = context.new_page()
            if off:
                page.route(
                    "**/lab/extensions/nbkube/**",
                    lambda route: route.fulfill(status=404, body="", content_type="text/plain"),
                )
            started = time.perf_counter()
            page.goto(f"{server.url}/lab/tree/large.ipynb?reset&token={TOKEN}")
            page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
            page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=120_000)
            if turn:
                times.append((time.perf_counter() - started) * 1000)
            context.close()
    return Line("added to JupyterLab's start", statistics.median(with_it) - statistics.median(without), "ms", 100)


def _open(browser: Browser, server: Server, name: str) -> Page:
    page = browser.new_context(viewport={"width": 1400, "height": 900}).new_page()
    page.goto(f"{server.url}/lab/tree/{name}?reset&token={TOKEN}")
    page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=120_000)
    page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=120_000)
    return page


def _write_runs(store: Path) -> None:
    for number in range(RUNS):
        run_id = f"20260101-{number // 3600:02}{number // 60 % 60:02}{number % 60:02}-bbbbbb"
        units = tuple(RunUnit(name) for name in ("load", "train", "test"))
        run = Run(id=run_id, created=1.7e9 + number, notebook="large.ipynb", parameters={"rate": number}, units=units)
        events = [RunEvent("run-started", run.created)]
        for unit in units:
            events.append(RunEvent("started", run.created, step=unit.name, attempt=1))
            events.append(RunEvent("step-ended", run.created + 1, step=unit.name, attempt=1, phase=Phase.SUCCEEDED))
        events.append(
            RunEvent("run-ended", run.created + 5, phase=Phase.SUCCEEDED, metrics={"accuracy": number / RUNS})
        )
        _record(store, run, events)


def _record(store: Path, run: Run, events: list[RunEvent]) -> None:
    folder = store / "runs" / run.id
    (folder / "events").mkdir(parents=True)
    (folder / "run.json").write_bytes(seal(msgspec.json.encode(run)))
    lines = [check_line(msgspec.json.encode(one)) for one in events]
    (folder / "events" / "1-00000000.jsonl").write_bytes(b"".join(lines))


def _append(store: Path, run: str, event: RunEvent) -> None:
    with (store / "runs" / run / "events" / "1-00000000.jsonl").open("ab") as file:
        file.write(check_line(msgspec.json.encode(event)))


def _this() -> Any:
    from nbkube.runs.process import this_process

    return this_process()


def _median(call: Callable[[], Any], turns: int = 7) -> float:
    times = []
    for _ in range(turns):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _p95(times: list[float]) -> float:
    return sorted(times)[max(0, int(len(times) * 0.95) - 1)]


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
