"""The panel in JupyterLab with a cluster behind it: what pods wait for, print, ask for; what is known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from nbkube.pipeline.placement import product_asked
from tests.browser.lab import LONG, Lab
from tests.browser.test_looks import overflow, serious
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project

pytestmark = pytest.mark.timeout(900)
STEPS = ("first", "second")
DEVICE = re.compile("^device NVIDIA-")
TICK = "import time\nfor n in range(900):\n    print('tick', n, flush=True)\n    time.sleep(0.2)"


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        yield found


def test_a_run_on_the_cluster_by_the_panel_alone(lab: Lab, mine: Project, shot: Callable[[str], None]) -> None:
    device = "import os\nname = os.environ['NVIDIA_VISIBLE_DEVICES']\nprint('device', name)"
    mine.notebook([("step:load", "x = 1"), ("step:train", f"{device}\ny = x"), ("", TICK), ("step:test", "z = y")])
    lab.open("work.ipynb")
    lab.show_panel()
    lab.step("train").click()
    expect(lab.panel.get_by_text(re.compile("of .* free")).first).to_be_visible(timeout=LONG)
    gpu = lab.panel.get_by_label("gpu", exact=True)
    gpu.fill("1")
    gpu.press("Enter")
    shot("step")
    lab.button("Run…").click()
    row = lab.panel.get_by_role("row", name=re.compile("^train"))
    expect(row).to_contain_text("gpu nvidia.com/gpu=1", timeout=LONG)
    expect(lab.panel.get_by_text(re.compile(f"steps on Kubernetes.*namespace {mine.namespace}"))).to_be_visible()
    shot("form")
    lab.button("Start").click()
    lab.finds_in_log("train", DEVICE, "device NVIDIA-")
    log = lab.panel.get_by_role("log", name="Log of train")
    lab.button("Follow the end of the log").click()
    expect(log.get_by_text(re.compile(r"^tick \d+$")).last).to_be_visible()
    shot("running")
    lab.button(re.compile("^Stop$")).click()
    lab.ends("Cancelled")
    assert mine.client().status("last").step("load").phase == "Succeeded"  # type: ignore[union-attr]
    lab.button("Run again…").click()
    expect(lab.panel.get_by_role("row", name=re.compile("^load"))).to_contain_text("known", timeout=LONG)
    lab.button("Start").click()
    expect(lab.panel.get_by_role("row", name=re.compile("^load"))).to_contain_text("Cached", timeout=2 * LONG)
    lab.finds_in_log("train", DEVICE, "device NVIDIA-")
    lab.button(re.compile("^Stop$")).click()
    lab.ends("Cancelled")


def test_why_a_pod_waits_is_said(lab: Lab, mine: Project, shot: Callable[[str], None]) -> None:
    """Two steps want the only device of a kind: the second one says so until it gets it."""
    cells = [("", f"%%step {name} --gpu amd.com/gpu=1\nimport time\n{name}_made = time.sleep(300)") for name in STEPS]
    mine.notebook(cells)
    lab.open("work.ipynb")
    lab.show_panel()
    lab.run()
    rows = lab.panel.get_by_role("row", name=re.compile("^(first|second) "))
    expect(lab.panel.get_by_role("row", name=re.compile("^none of 1 node.*amd.com.gpu"))).to_be_visible(
        timeout=2 * LONG
    )
    expect(rows.filter(has_text="Pending")).to_have_count(1)
    expect(rows.filter(has_text="Running")).to_have_count(1, timeout=2 * LONG)
    shot("pending")
    lab.button(re.compile("^Stop$")).click()
    lab.ends("Cancelled")


@pytest.fixture
def building(mine: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Images are built, all their layers anew."""
    mine.configure_building()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "fresh"))


@pytest.mark.slow
@pytest.mark.usefixtures("building")
def test_how_far_an_image_is_while_it_is_built(lab: Lab, mine: Project, shot: Callable[[str], None]) -> None:
    mine.notebook([("imports", "import numpy as np"), ("step:make", "total = float(np.arange(3.0).sum())")])
    lab.open("work.ipynb")
    lab.show_panel()
    lab.button("Run…").click()
    expect(lab.button("Start")).to_be_enabled(timeout=LONG)
    lab.button("Start").click()
    status = lab.panel.get_by_role("status").filter(has_text=re.compile("^image: "))
    expect(status.first).to_be_visible(timeout=LONG)
    shot("building")
    lab.ends("Succeeded")


@pytest.mark.slow
def test_a_notebook_server_by_form(lab: Lab, mine: Project, lab_image: str, shot: Callable[[str], None]) -> None:
    mine.notebook([("step:one", "x = 1")])
    lab.open("work.ipynb")
    lab.show_panel()
    lab.button("Cluster (bench)").click()
    part = lab.panel.get_by_role("region", name="Notebook servers")
    expect(part.get_by_text("None is there.")).to_be_visible(timeout=LONG)
    part.get_by_role("button", name="New server…").click()
    form = part.get_by_role("form", name="New notebook server")

    def fill(name: str, text: str) -> None:
        form.get_by_label(name, exact=True).fill(text)
        form.get_by_label(name, exact=True).press("Tab")

    fill("name", "No Name")
    form.get_by_role("button", name="Make the server").click()
    expect(form.get_by_role("alert")).to_contain_text("use lower-case letters")
    given = {"name": "mine", "image": lab_image, "cpu": "50m", "memory": "512Mi", "size": "64Mi"}
    for name, text in given.items():
        fill(name, text)
    form.get_by_label("storage class", exact=True).select_option(mine.bench.storage_class)
    fill("data volumes", f"new:16Mi:{mine.bench.storage_class}:/data")
    shot("labform")
    assert serious(lab) == []
    assert overflow(lab.panel) == []
    form.get_by_role("button", name="Make the server").click()
    row = part.get_by_role("group", name="Server mine")
    expect(row).to_contain_text("Ready", timeout=3 * LONG)
    row.get_by_role("button", name="Connect to mine").click()
    link = row.get_by_role("link", name="Open mine in a new page")
    with lab.page.context.expect_page() as opened:
        link.click()
    expect(opened.value.get_by_role("tab", name="File Browser (Ctrl+Shift+F)").first).to_be_visible(timeout=2 * LONG)
    opened.value.close()
    shot("lab")
    assert serious(lab) == []
    row.get_by_role("button", name="Take mine away…").click()
    row.get_by_role("checkbox").check()
    row.get_by_role("button", name="Take mine away").click()
    expect(row).to_have_count(0, timeout=LONG)


@pytest.mark.slow
def test_a_notebook_server_with_devices_on_a_volume_that_is_there(
    lab: Lab, mine: Project, api: Api, shot: Callable[[str], None]
) -> None:
    """What the form says of devices and of the workspace is what the API server has in the end."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": mine.bench.storage_class,
        "resources": {"requests": {"storage": "16Mi"}},
    }
    metadata = {"name": "kept", "namespace": mine.namespace}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
    api.create(claim)
    mine.notebook([("step:one", "x = 1")])
    lab.open("work.ipynb")
    lab.show_panel()
    lab.button("Cluster (bench)").click()
    part = lab.panel.get_by_role("region", name="Notebook servers")
    part.get_by_role("button", name="New server…").click(timeout=LONG)
    form = part.get_by_role("form", name="New notebook server")

    def fill(name: str, text: str) -> None:
        form.get_by_label(name, exact=True).fill(text)
        form.get_by_label(name, exact=True).press("Tab")

    given = {"name": "heavy", "image": mine.bench.images.base, "cpu": "10m", "memory": "64Mi", "gpu": "many"}
    for name, text in given.items():
        fill(name, text)
    kinds = form.get_by_label("gpu kind", exact=True)
    expect(kinds).to_have_value("nvidia.com/gpu")
    form.get_by_label("workspace", exact=True).select_option("kept")
    expect(form.get_by_label("size", exact=True)).to_have_count(0)
    form.get_by_role("button", name="Make the server").click()
    expect(form.get_by_role("listitem")).to_contain_text("'many' is no count of devices")
    kinds.select_option("amd.com/gpu")
    fill("gpu", "1")
    fill("gpu model", "A100")
    shot("labdevices")
    form.get_by_role("button", name="Make the server").click()
    row = part.get_by_role("group", name="Server heavy")
    expect(row).to_contain_text("10m CPU, 64Mi, amd.com/gpu=1", timeout=LONG)
    expect(row).to_contain_text("files on kept")
    place = f"/namespaces/{mine.namespace}"
    found = api.get(f"/apis/apps/v1{place}/statefulsets/nbkube-lab-heavy")["spec"]["template"]["spec"]
    assert found["containers"][0]["resources"]["limits"] == {"memory": "64Mi", "amd.com/gpu": "1"}
    assert product_asked(found) == "A100"
    assert found["volumes"][0]["persistentVolumeClaim"] == {"claimName": "kept"}
    row.get_by_role("button", name="Take heavy away…").click()
    expect(row.get_by_role("checkbox")).to_have_count(0)  # the volume is not the server's
    row.get_by_role("button", name="Take heavy away").click()
    expect(row).to_have_count(0, timeout=LONG)
    claims = api.get(f"/api/v1{place}/persistentvolumeclaims")["items"]
    assert [one["metadata"]["name"] for one in claims if "deletionTimestamp" not in one["metadata"]] == ["kept"]
