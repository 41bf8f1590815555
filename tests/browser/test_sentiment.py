"""The sentiment example by the panels alone: its archive into a bucket, a run on it, what the run has made."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests import s3_servers
from tests.browser.lab import LONG, Lab
from tests.browser.test_storage import PROFILES, Panel
from tests.jupyter import Server, running_server
from tests.s3_servers import S3Server
from tests.unit.examples.archives import made_up_archive
from tests.unit.examples.notebooks import copy_of

ARCHIVE = "aclImdb_v1.tar.gz"
REAL = os.environ.get("SENTIMENT_ARCHIVE", "")
"""The real archive, to do it by hand at full size; it takes some minutes."""
REVIEWS = os.environ.get("SENTIMENT_REVIEWS", "80")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    minio = S3Server("minio")
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nbkube.toml").write_text(PROFILES.format(endpoint=minio.endpoint, other=minio.endpoint))
    copy_of("sentiment", folder)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in s3_servers.KEYS.items():
            if name != "AWS_REGION":
                patch.setenv(name, value)
        with running_server(folder, tmp_path / "settings", app="lab") as found:
            yield found
    minio.close()


def drop(panel: Panel, file: Path) -> None:
    """Drag a file from the desktop onto the list, and let it go there: the browser gets it as it gets a real one."""
    box = panel.region.locator(".jp-DirListing-content").bounding_box()
    assert box is not None
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    dragged = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
    session = panel.page.context.new_cdp_session(panel.page)
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, **place, "data": dragged})
    session.detach()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_an_archive_on_the_desktop_to_records(
    lab: Lab, tmp_path: Path, errors: list[str], shot: Callable[[str], None]
) -> None:
    archive = Path(REAL) if REAL else tmp_path / ARCHIVE
    if not REAL:
        made_up_archive(archive, each=40)
    lab.open("sentiment.ipynb")
    panel = Panel(lab)
    panel.show()
    panel.enter("lab")
    panel.button("New bucket").click()
    panel.ask("datasets")
    panel.enter("datasets")
    expect(panel.region.get_by_text("Nothing is here yet")).to_be_visible()
    drop(panel, archive)
    expect(panel.row(ARCHIVE)).to_be_visible(timeout=3 * LONG)
    shot("uploaded")

    panel.choose(ARCHIVE, "Use as Parameter…")
    lab.page.locator(".jp-Dialog select").first.select_option("data")
    panel.accept("Use")
    expect(lab.panel.get_by_label("data", exact=True)).to_have_value(f"s3://datasets/{ARCHIVE}")
    for name, text in {"reviews": REVIEWS, "epochs": "2"}.items():
        lab.panel.get_by_label(name, exact=True).fill(text)
        lab.panel.get_by_label(name, exact=True).press("Enter")
    lab.panel.get_by_label("encoder", exact=True).fill("tfidf")
    lab.panel.get_by_label("encoder", exact=True).press("Enter")
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    lab.button("Start").click()
    expect(lab.panel.get_by_role("heading", name=re.compile("Succeeded"))).to_be_visible(timeout=5 * LONG)

    lab.button("Artifacts").click()
    files = lab.panel.get_by_role("list", name="Files")
    expect(files.get_by_role("button", name=re.compile(r"^checkpoints.*epoch-002\.keras")).first).to_be_visible()
    files.get_by_role("button", name=re.compile(r"^records.train-000\.tfrecord")).first.click()
    beginning = lab.panel.get_by_role("region", name="Beginning of records/train-000.tfrecord")
    expect(beginning.get_by_role("columnheader", name="vector")).to_be_visible()
    shot("records")

    with lab.page.expect_download() as download:
        files.get_by_role("button", name="Download records/train-000.tfrecord").first.click()
    records = tmp_path / "train-000.tfrecord"
    download.value.save_as(records)
    drop(panel, records)
    expect(panel.row(records.name)).to_be_visible(timeout=LONG)
    panel.choose(records.name, "Preview")
    expect(lab.page.get_by_role("region", name=f"Preview of {records.name}").get_by_role("table").first).to_be_visible()
    lab.page.get_by_role("tab", name="sentiment.ipynb").click()
    lab.choose(2)
    panel.choose(records.name, "Insert Code That Reads This (tf.data)")
    lab.page.keyboard.press("Control+Enter")
    cell = lab.page.locator(".jp-Notebook .jp-Cell.jp-mod-active, .jp-Notebook .jp-Cell.jp-mod-selected").last
    expect(cell.locator(".jp-OutputArea-output").last).to_contain_text("vector", timeout=3 * LONG)
    shot("record")
    assert errors == []
