"""The storage panel on a real MinIO: every verb by mouse and keyboard, uploads that break off, a server that goes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_core_python.sync_playwright import Axe
from playwright.sync_api import Locator, Page, Route, expect

from nbkube.storage.files import Storage
from tests import s3_servers
from tests.browser.lab import LONG, Lab
from tests.building import write_notebook
from tests.jupyter import Server, running_server
from tests.s3_servers import S3Server
from tests.unit.server.test_storage import example, keep_versions

PROFILES = """
default = "lab"

[profiles.lab.store]
endpoint = "{endpoint}"
region = "us-east-1"

[profiles.other.store]
endpoint = "{other}"
region = "us-east-1"
"""
CELLS = [
    ("parameters", "source = 'none'\nrate = 0.5"),
    ("step:load", "print('read', source)"),
]


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Server]:
    found = S3Server("minio")
    yield found
    found.close()


@pytest.fixture(scope="module")
def second() -> Iterator[S3Server]:
    """The server of another profile."""
    found = S3Server("minio")
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(minio: S3Server, second: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("storage")
    (folder / "nbkube.toml").write_text(PROFILES.format(endpoint=minio.endpoint, other=second.endpoint))
    write_notebook(folder / "reads.ipynb", CELLS)
    keys = {name: value for name, value in s3_servers.KEYS.items() if name != "AWS_REGION"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in keys.items():
            patch.setenv(name, value)
        with running_server(folder, tmp_path_factory.mktemp("settings"), app="lab") as found:
            yield found


@pytest.fixture(scope="module")
def files(minio: S3Server) -> Storage:
    return Storage("", {**os.environ, **minio.environment()})


@pytest.fixture(scope="module")
def others(second: S3Server) -> Storage:
    return Storage("", {**os.environ, **second.environment()})


@pytest.fixture
def bucket(files: Storage) -> str:
    name = f"b-{os.urandom(4).hex()}"
    files.mb(f"s3://{name}")
    return name


class Panel:
    """The storage panel of a page."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.page: Page = lab.page
        self.region = lab.page.get_by_role("region", name="Storage", exact=True)

    def show(self) -> None:
        self.page.get_by_role("tab", name="Storage", exact=True).click()
        expect(self.region.get_by_role("button", name="Read the list again")).to_be_visible()

    def row(self, name: str | re.Pattern[str]) -> Locator:
        text = self.page.locator(".jp-DirListing-itemText")
        found = text.get_by_text(name, exact=True) if isinstance(name, str) else text.get_by_text(name)
        return self.region.locator(".jp-DirListing-item").filter(has=found)

    def enter(self, *names: str) -> None:
        for name in names:
            self.row(name).dblclick()
            expect(self.row(name)).to_have_count(0)

    def choose(self, name: str, verb: str) -> None:
        self.row(name).click(button="right")
        self.page.locator(".lm-Menu").get_by_text(verb, exact=True).click()

    def button(self, name: str | re.Pattern[str]) -> Locator:
        return self.region.get_by_role("button", name=name, exact=isinstance(name, str))

    def ask(self, text: str, label: str = "Create") -> None:
        self.page.locator(".jp-Dialog input").fill(text)
        self.page.locator(".jp-Dialog").get_by_role("button", name=label).click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)

    def accept(self, label: str) -> None:
        self.page.locator(".jp-Dialog").get_by_role("button", name=label, exact=True).click()
        expect(self.page.locator(".jp-Dialog")).to_have_count(0)


@pytest.fixture
def panel(lab: Lab) -> Panel:
    lab.open("reads.ipynb")
    found = Panel(lab)
    found.show()
    return found


def test_every_verb(panel: Panel, files: Storage, tmp_path: Path, shot: Callable[[str], None]) -> None:
    page, bucket = panel.page, f"made-{os.urandom(4).hex()}"
    expect(panel.row("local")).to_be_visible()
    shot("places")
    panel.enter("lab")
    panel.button("New bucket").click()
    panel.ask(bucket)
    panel.enter(bucket)
    expect(panel.region.get_by_text("Nothing is here yet")).to_be_visible()
    shot("empty")
    panel.button("New folder").click()
    panel.ask("data")
    panel.enter("data")

    table = tmp_path / "a table.csv"
    table.write_text("x,y\n1,2\n3,4\n")
    panel.region.locator("input[type=file]").first.set_input_files(table)
    expect(panel.row("a table.csv")).to_be_visible()
    assert files.read(f"s3://{bucket}/data/a table.csv") == table.read_bytes()

    panel.choose("a table.csv", "Preview")
    view = page.get_by_role("region", name="Preview of data/a table.csv")
    expect(view.get_by_role("cell", name="3", exact=True)).to_be_visible()
    shot("preview")
    panel.row("a table.csv").dblclick()
    expect(page.locator(".jp-CSVViewer")).to_be_visible()

    panel.choose("a table.csv", "Copy Location")
    expect(page.get_by_text(f"Copied s3://{bucket}/data/a table.csv")).to_be_visible()

    with page.expect_download() as download:
        panel.choose("a table.csv", "Download")
    assert Path(download.value.path()).read_bytes() == table.read_bytes()
    assert download.value.suggested_filename == "a table.csv"

    panel.choose("a table.csv", "Rename")
    page.keyboard.press("Control+a")
    page.keyboard.type("renamed.csv")
    page.keyboard.press("Enter")
    expect(panel.row("renamed.csv")).to_be_visible()
    panel.choose("renamed.csv", "Duplicate")
    expect(panel.row("renamed-Copy1.csv")).to_be_visible()
    panel.choose("renamed.csv", "Delete…")
    panel.accept("Delete")
    expect(panel.row("renamed.csv")).to_have_count(0)
    assert [one.location for one in files.ls(f"s3://{bucket}/", recursive=True)] == [
        f"s3://{bucket}/data/renamed-Copy1.csv"
    ]


def test_by_keyboard(panel: Panel, files: Storage, bucket: str, shot: Callable[[str], None]) -> None:
    page = panel.page
    for name in ("a.txt", "b.txt", "sub/c.txt"):
        files.write(f"s3://{bucket}/{name}", name)
    panel.enter("lab")
    panel.row(bucket).locator(".jp-DirListing-itemText").click()
    page.keyboard.press("Enter")
    expect(panel.row("a.txt")).to_be_visible()
    panel.row("a.txt").locator(".jp-DirListing-itemText").click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Alt+Enter")
    expect(page.get_by_role("region", name="Preview of b.txt")).to_contain_text("b.txt")
    panel.row("b.txt").locator(".jp-DirListing-itemText").click()
    page.keyboard.press("F2")
    page.keyboard.press("Control+a")
    page.keyboard.type("z.txt")
    page.keyboard.press("Enter")
    expect(panel.row("z.txt")).to_be_visible()
    panel.row("z.txt").locator(".jp-DirListing-itemText").click()
    page.keyboard.press("Delete")
    expect(page.locator(".jp-Dialog").get_by_role("button", name="Cancel")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(panel.row("z.txt")).to_have_count(0)
    panel.button("Upload").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    filter_box = panel.region.get_by_role("searchbox", name="Show names that begin with")
    expect(filter_box).to_be_focused()
    page.keyboard.type("su")
    expect(panel.row("a.txt")).to_have_count(0)
    expect(panel.row("sub")).to_be_visible()
    shot("filter")
    page.keyboard.press("Escape")
    expect(panel.row("a.txt")).to_be_visible()


def test_an_upload_cancelled_and_resumed(panel: Panel, files: Storage, bucket: str, tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.write_bytes(os.urandom(50 << 20))
    page = panel.page
    sent: list[str] = []
    held: list[Route] = []

    def hold(route: Route) -> None:
        if route.request.method == "PUT":
            sent.append(route.request.url)
            if len(sent) > 3:  # the first three parts arrive, the others wait until the person cancels
                held.append(route)
                return
        route.continue_()

    page.route(re.compile(r"/storage/upload\?"), hold)
    panel.enter("lab", bucket)
    panel.region.locator("input[type=file]").first.set_input_files(large)
    expect(panel.region.get_by_role("status").get_by_text(re.compile("^48 % of"))).to_be_visible(timeout=LONG)
    panel.button("Cancel the upload of large.bin").click()
    expect(panel.region.get_by_text("stopped at 48 %")).to_be_visible()
    page.unroute(re.compile(r"/storage/upload\?"))
    assert files.ls(f"s3://{bucket}/") == []
    again: list[str] = []
    page.on("request", lambda one: again.append(one.url) if one.method == "PUT" else None)
    panel.button("Resume the upload of large.bin").click()
    expect(panel.row("large.bin")).to_be_visible(timeout=LONG)
    parts = [one for one in again if "/storage/upload?" in one]
    assert len(parts) == 4, parts  # of seven
    assert (
        hashlib.sha256(files.read(f"s3://{bucket}/large.bin")).digest() == hashlib.sha256(large.read_bytes()).digest()
    )


def test_minio_goes_and_comes_back(panel: Panel, files: Storage, minio: S3Server, bucket: str) -> None:
    files.write(f"s3://{bucket}/here.txt", "x")
    panel.enter("lab", bucket)
    expect(panel.row("here.txt")).to_be_visible()
    minio.kill()
    try:
        panel.button("Read the list again").click()
        expect(panel.region.get_by_role("alert")).to_contain_text("cannot be reached")
        expect(panel.row("here.txt")).to_be_visible()  # what was known stays in sight
    finally:
        minio.start()
    expect(panel.region.get_by_role("alert")).to_have_count(0, timeout=LONG)  # by itself
    expect(panel.row("here.txt")).to_be_visible()


def test_code_and_parameters(panel: Panel, files: Storage, bucket: str) -> None:
    payload = example(label=1, text=b"good film")
    files.write(f"s3://{bucket}/r.tfrecord", struct.pack("<Q", len(payload)) + b"\0" * 4 + payload + b"\0" * 4)
    files.write(f's3://{bucket}/it\'s "quoted".csv', "a\n1\n")
    panel.enter("lab", bucket)
    panel.choose("r.tfrecord", "Preview")
    expect(panel.page.get_by_role("cell", name="'good film'")).to_be_visible()
    panel.page.get_by_role("tab", name="reads.ipynb").click()
    panel.choose("r.tfrecord", "Insert Code That Reads This (tf.data)")
    expect(panel.page.locator(".jp-Notebook")).to_contain_text("nbkube.tfrecords(")
    name = 'it\'s "quoted".csv'
    panel.choose(name, "Insert Code That Reads This (bytes)")
    panel.page.keyboard.press("Control+Enter")
    cell = panel.page.locator(".jp-Notebook .jp-Cell.jp-mod-active, .jp-Notebook .jp-Cell.jp-mod-selected").last
    expect(cell.locator(".jp-OutputArea-output")).to_have_text("4", timeout=LONG)
    panel.choose(name, "Use as Parameter…")
    panel.page.locator(".jp-Dialog select, .jp-Dialog input").first.wait_for()
    panel.accept("Use")
    field = panel.lab.panel.get_by_label("source", exact=True)
    expect(field).to_have_value(f"s3://{bucket}/{name}")


def test_two_profiles_side_by_side(
    panel: Panel, files: Storage, others: Storage, bucket: str, tmp_path: Path, shot: Callable[[str], None]
) -> None:
    """The same bucket and key on two servers: each is shown, opened, read and written by itself."""
    page, home = panel.page, panel.region.locator(".jp-BreadCrumbs-home")
    others.mb(f"s3://{bucket}")
    texts = {"lab": "of the lab", "other": "of the other one"}
    for place, text in zip((files, others), texts.values(), strict=True):
        place.write(f"s3://{bucket}/same.txt", text)
    for name, text in texts.items():
        panel.enter(name, bucket)
        panel.row("same.txt").dblclick()
        expect(page.locator(".jp-FileEditor:visible .cm-content")).to_have_text(text)
        panel.choose("same.txt", "Preview")
        view = page.get_by_role("region", name="Preview of same.txt").and_(page.locator(":visible"))
        expect(view.locator("pre")).to_have_text(text)
        home.click()
        expect(panel.row("lab")).to_be_visible()
    shot("profiles")
    panel.enter("other", bucket)
    new = tmp_path / "new.txt"
    new.write_text("new")
    panel.region.locator("input[type=file]").first.set_input_files(new)
    expect(panel.row("new.txt")).to_be_visible()
    page.get_by_role("tab", name="reads.ipynb").click()
    panel.choose("same.txt", "Insert Code That Reads This (bytes)")
    page.keyboard.press("Control+Enter")
    cell = page.locator(".jp-Notebook .jp-Cell.jp-mod-active, .jp-Notebook .jp-Cell.jp-mod-selected").last
    expect(cell.locator(".jp-OutputArea-output")).to_have_text(str(len(texts["other"])), timeout=LONG)
    panel.choose("same.txt", "Use as Parameter…")  # which a run would look for on the server of its own profile
    expect(page.locator(".jp-Dialog")).to_contain_text("On the server of other")
    panel.accept("Close")
    panel.choose("same.txt", "Delete…")
    panel.accept("Delete")
    expect(panel.row("same.txt")).to_have_count(0)
    assert [one.location for one in others.ls(f"s3://{bucket}/")] == [f"s3://{bucket}/new.txt"]
    assert [one.location for one in files.ls(f"s3://{bucket}/")] == [f"s3://{bucket}/same.txt"]


def test_versions(panel: Panel, files: Storage, minio: S3Server, bucket: str, shot: Callable[[str], None]) -> None:
    keep_versions(minio, bucket)
    for text in ("old", "newer"):
        files.write(f"s3://{bucket}/x.txt", text)
    panel.enter("lab", bucket)
    panel.choose("x.txt", "Preview")
    view = panel.page.get_by_role("region", name="Preview of x.txt")
    listed = view.get_by_role("region", name="Versions").get_by_role("listitem")
    expect(listed).to_have_count(2)
    expect(view.locator("pre")).to_have_text("newer")
    expect(listed.first).to_contain_text("the newest")
    shot("versions")
    listed.last.get_by_role("button", name="Restore").focus()
    panel.page.keyboard.press("Enter")
    expect(listed).to_have_count(3)
    expect(view.locator("pre")).to_have_text("old")
    assert files.read(f"s3://{bucket}/x.txt") == b"old"
    panel.choose("x.txt", "Delete…")
    panel.accept("Delete")
    expect(panel.row("x.txt")).to_have_count(0)
    kept = files.versions(f"s3://{bucket}/x.txt")
    assert [(one.deleted, one.size) for one in kept] == [(True, 0), (False, 3), (False, 5), (False, 3)]


HOSTILE = [
    "<img src=x onerror=window.pwned=1>", "<script>window.pwned=1<\u2044script>", "\"'><b>bold", "<svg onload=pwned>",
    "javascript:window.pwned=1", "{{constructor.constructor('window.pwned=1')()}}", "&lt;b&gt;", "%2e%2e%2f", "a%00b",
    "\u202egpj.exe", "con", "nul", "~root", "$(touch pwned)", "`id`", "; rm -rf .", "| cat", "-rf", "a:b", "nbkube:x",
    "?x=1#y", "名前", "\U0001f642", "e\u0301", " lead", "trail ", ".hidden", "...", "'; drop table--", "*", "[x]",
    "{a,b}", "!", "@", "&&", "=1+1", "\u200b", "\ue0f5f", "\ue0f51", "x" * 200,
]  # fmt: skip
"""Names that MinIO takes, made to be misread; each with five endings."""


def test_two_hundred_hostile_names(panel: Panel, files: Storage, bucket: str, errors: list[str]) -> None:
    names = [f"{text}{ending}" for ending in (".txt", ".ipynb", ".csv", ".html", ".svg") for text in HOSTILE]
    assert len(set(names)) == 200
    for name in names:
        files.write(f"s3://{bucket}/{name}", "<script>window.pwned=1</script>")
    panel.enter("lab", bucket)
    expect(panel.region.get_by_text("200 entries")).to_be_visible()
    shown = panel.region.locator(".jp-DirListing-itemText").all_text_contents()
    hidden = {name.replace("\ue0f5", "�") for name in names}
    assert {text.strip() for text in shown} == {name.strip() for name in hidden}
    for name in (names[0], names[1], "&lt;b&gt;.html", "\ue0f51.txt", "?x=1#y.txt", "a:b.txt", "%2e%2e%2f.txt"):
        panel.choose(name.replace("\ue0f5", "�"), "Preview")
        view = panel.page.get_by_role("region", name=re.compile("^Preview of")).last
        expect(view.locator("pre")).to_have_text("<script>window.pwned=1</script>")
        panel.page.keyboard.press("Alt+w")
    assert panel.page.evaluate("window.pwned") is None
    assert errors == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_looks(lab: Lab, files: Storage, bucket: str, theme: str, shot: Callable[[str], None]) -> None:
    for name in ("reviews.csv", "checkpoints/1/model.keras", "records/train-0.tfrecord", "notes.md"):
        files.write(f"s3://{bucket}/{name}", "a,b\n1,2\n" * 300)
    setting = lab.server.log.parent / "user" / "@jupyterlab" / "apputils-extension" / "themes.jupyterlab-settings"
    setting.write_text(json.dumps({"theme": f"JupyterLab {theme.title()}"}))
    lab.open("reads.ipynb")
    panel = Panel(lab)
    panel.show()
    panel.enter("lab", bucket)
    expect(panel.row("reviews.csv")).to_be_visible()
    panel.choose("reviews.csv", "Preview")
    expect(lab.page.get_by_role("region", name="Preview of reviews.csv").get_by_role("table")).to_be_visible()
    shot(theme)
    setting.unlink()
    found: dict[str, Any] = Axe().run(
        lab.page, {"include": [[".nbk-storage-bar"], [".nbk-storage-foot"], [".nbk-object"]]}
    )
    serious = [
        (one["id"], [node["html"][:200] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []
