"""Models served on the cluster: from a project to an endpoint that answers, its versions changed under load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import images, layout, python_layers
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.images import Image
from tests.cluster.projects import Project, project
from tests.serving import constant_of

SMALL = ["--cpu", "20m", "--memory", "256Mi"]


@pytest.fixture(scope="module")
def image(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of steps with what serving needs above it, pushed to the bench's registry."""
    known = {**python_layers.closure("examples"), **python_layers.closure("")}
    wanted = {name: version for name, version in python_layers.closure("serve").items() if name not in known}
    lower = [python_layers.built_layer(part) for part in python_layers.parts() if part.name != "tensorflow"]
    nbkube = python_layers.nbkube_layer(layout.CHECKOUT, tmp_path_factory.mktemp("nbkube"))
    own = python_layers.packages_layer(wanted, tmp_path_factory.mktemp("serve"))
    return images.push(
        Image(name="nbkube/serve", tag="test", layers=(*lower, own, nbkube), config=python_layers.CONFIG)
    )


class Shell:
    """The command line in a project's folder."""

    def __init__(self, found: Project) -> None:
        self.project = found
        self.env = {**os.environ, "XDG_STATE_HOME": str(found.folder / "state"), "NO_COLOR": "1"}

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nbkube", *words],
            cwd=self.project.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").splitlines()[-1])


@pytest.fixture
def shell(bench: Bench, api: Api, namespace: str, image: str, tmp_path: Path) -> Iterator[Shell]:
    with project(tmp_path / "work", bench, api, namespace, image) as found:
        yield Shell(found)


@pytest.mark.timeout(600)
def test_from_a_model_to_an_endpoint_and_to_nothing(shell: Shell, api: Api, namespace: str) -> None:
    store = shell.project.store()
    digests = [constant_of(store, "small", number).digest for number in (1, 2)]
    refused = shell("serve", "small", "--version", "1", "--detach", *SMALL, code=2)
    assert digests[0] in refused
    served = shell.json("serve", "small", "--version", "1", "--trust", digests[0], "--detach", *SMALL)
    assert (served["name"], served["version"], served["phase"]) == ("small", 1, "Ready")
    assert served["url"].startswith("http://127.0.0.1:")
    assert shell.json("predict", "small", "[[1.0, 2.0], [3.0, 4.0]]") == [1.0, 1.0]
