"""The widgets as code sees them, and in a real kernel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import nbformat
import pytest
import traitlets
from nbclient import NotebookClient

from nbkube.client import Client
from nbkube.errors import NotFoundError
from nbkube.widgets import PipelineGraph, ResourceRequest, RunProgress, StorageBrowser
from tests import s3_servers
from tests.building import write_notebook

CELLS = [
    ("parameters", "size = 3"),
    ("step:make", "numbers = list(range(size))"),
    ("step:total", "total = sum(numbers)"),
    ("pipeline-metrics", "print(total)"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "nbkube.toml").touch()
    write_notebook(tmp_path / "x.ipynb", CELLS)
    return tmp_path


def test_a_request_gives_what_steps_and_runs_take(project: Path) -> None:
    request = ResourceRequest("total", cpu="0.5", memory="256Mi", project=project)
    assert request.line == "%%step total --cpu 0.5 --memory 256Mi"
    assert request.options == {"total": {"cpu": "0.5", "memory": "256Mi"}}
    shown = Client(project).show(project / "x.ipynb", options=request.options)
    [step] = [one for one in shown.steps if one.name == "total"]
    assert (step.options.cpu, step.options.memory) == ("0.5", "256Mi")


def test_a_request_tells_what_is_wrong_and_keeps_the_rest(project: Path) -> None:
    request = ResourceRequest(cpu="1", project=project)
    seen: list[Any] = []
    request.observe(lambda change: seen.append(change["new"]), ["value"])
    request.children[1].value = "much"
    assert "memory" in request.fault
    assert request.value == {"cpu": "1"}
    request.children[1].value = "2Gi"
    assert (request.fault, seen[-1]) == ("", {"cpu": "1", "memory": "2Gi"})
    request.value = {"cpu": "4"}
    assert [request.children[0].value, request.children[1].value] == ["4", ""]
    request.look()
    assert "free" in request.children[-1].children[1].value
    with pytest.raises(TypeError, match="it has cpu"):
        ResourceRequest(speed=3, project=project)


def test_widgets_nest_and_link(project: Path) -> None:
    one, two = ResourceRequest(cpu="1", project=project), ResourceRequest(project=project)
    traitlets.link((one, "value"), (two, "value"))
    assert two.value == {"cpu": "1"}
    one.value = {"memory": "1Gi"}
    assert two.children[1].value == "1Gi"
    graph = PipelineGraph(project / "x.ipynb")
    assert len(ipywidgets.VBox([one, graph]).children) == 2


def test_the_graph_of_a_notebook(project: Path) -> None:
    graph = PipelineGraph(project / "x.ipynb")
    assert [step["name"] for step in graph.pipeline["steps"]] == ["setup", "make", "total", "metrics"]
    assert "total <- numbers from make" in repr(graph)
    graph.value = "total"
    write_notebook(project / "x.ipynb", CELLS[:2])
    graph.refresh()
    assert graph.value == ""


def test_a_run_is_followed_to_its_end(project: Path) -> None:
    client = Client(project)
    run = client.submit(project / "x.ipynb")
    progress = RunProgress(run, project=project)
    phases: list[str] = []
    progress.observe(lambda change: phases.append(change["new"]), ["value"])
    assert progress.wait(60) == "Succeeded"
    assert f"run {run}: Succeeded" in repr(progress)
    assert {step["phase"] for step in progress.run["steps"]} == {"Succeeded"}
    with pytest.raises(NotFoundError):
        RunProgress("no-such-run", project=project)


@pytest.fixture
def bucket(project: Path) -> Iterator[str]:
    server = s3_servers.running("minio")
    before = dict(os.environ)
    s3_servers.set_environment(server.environment())
    name = f"s3://w-{os.urandom(4).hex()}"
    files = Client(project).storage()
    files.mb(name)
    for number in range(205):
        files.write(f"{name}/many/{number:03}", b"x")
    files.write(f"{name}/a.txt", "text")
    yield name
    os.environ.clear()
    os.environ.update(before)


def test_a_bucket_in_a_cell(project: Path, bucket: str) -> None:
    browser = StorageBrowser(f"{bucket}/", project=project)
    assert [one["name"] for one in browser.entries] == ["a.txt", "many"]
    assert "a.txt" in repr(browser)
    browser.value = f"{bucket}/a.txt"
    browser.location = f"{bucket}/many"
    assert (browser.location, browser.value, len(browser.entries), browser.more) == (f"{bucket}/many/", "", 200, True)
    browser.load_more()
    assert (len(browser.entries), browser.more) == (205, False)
    browser.prefix = "20"
    assert [one["name"] for one in browser.entries] == ["200", "201", "202", "203", "204"]
    browser.location = "s3://no-such-bucket-here/"
    assert "no such bucket" in browser.fault


SHOWN = """
from ipywidgets import VBox, jslink
from nbkube.widgets import PipelineGraph, ResourceRequest, StorageBrowser
request, graph = ResourceRequest("make", cpu="1"), PipelineGraph("x.ipynb")
files = StorageBrowser("./")
VBox([request, graph, files])
"""


def test_in_a_kernel(project: Path) -> None:
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(text) for text in (SHOWN, "graph", "print(request.line); files")]
    NotebookClient(book, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(project)}}).execute()
    view = "application/vnd.jupyter.widget-view+json"
    assert view in book.cells[0].outputs[-1]["data"]
    shown = book.cells[1].outputs[-1]["data"]
    assert view in shown
    assert "make" in shown["text/plain"]
    assert book.cells[2].outputs[0]["text"] == "%%step make --cpu 1\n"
    assert "x.ipynb" in book.cells[2].outputs[-1]["data"]["text/plain"]
    state = book.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any(one["model_module"] == "anywidget" for one in state.values())
