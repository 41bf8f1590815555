"""From a notebook to an answer by the command line alone; nothing but numpy is needed for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.runs import RunEvent
from tests.building import write_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MAIN = "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"
ROOT = Path(__file__).parents[2]
MAKE = """%%step make --model judge=judge
import re

WORDS = {"good": weight, "bad": -weight}


def judge(texts):
    scores = [sum(WORDS.get(word, 0) for word in re.findall("[a-z]+", text.lower())) for text in texts]
    return {"score": scores, "opinion": ["good" if score > 0 else "bad" for score in scores]}


judge_example = ["A good film.", "Bad!"]"""


class Project:
    """A folder with a notebook, and the command line in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "nbkube.toml").touch()
        write_notebook(
            folder / "films.ipynb",
            [("parameters", "weight = 1"), ("", MAKE), ("step:other", "x = 1"), ("pipeline-metrics", "print(x)")],
        )
        self.env = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(folder / "state"), "NO_COLOR": "1"}

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").splitlines()[-1])


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    found = Project(tmp_path)
    yield found
    for one in found.json("endpoints"):
        found("endpoints", "stop", one["name"])


def test_from_a_notebook_to_an_answer(project: Project) -> None:
    assert project.json("models") == []
    project("run", "films.ipynb", "-q")
    [model] = project.json("models")
    assert model["name"] == "judge"
    [version] = model["versions"]
    assert (version["version"], version["format"], version["step"]) == (1, "python", "make")
    assert version["metrics"] == {"x": 1}
    project("run", "films.ipynb", "-q")
    assert len(project.json("models")[0]["versions"]) == 1  # the same again is no new version

    served = project.json("serve", "judge", "--detach")
    assert served.keys() == {"name", "version", "url", "phase"}
    assert (served["name"], served["version"], served["phase"]) == ("judge", 1, "Ready")
    assert served["url"].startswith("http://127.0.0.1:")
    answer = project.json("predict", "judge", '["good good", "so bad"]')
    assert answer == [{"score": 2, "opinion": "good"}, {"score": -1, "opinion": "bad"}]
    assert project.json("predict", "judge", "a good text") == [{"score": 1, "opinion": "good"}]
    assert project("predict", "judge").splitlines() == ["score [2]: 1, -1", "opinion [2]: good, bad"]
    assert "Expected" in project("predict", "judge", "[1]", code=2)

    project("run", "films.ipynb", "-q", "-p", "weight=5")
    assert [one["version"] for one in project.json("models")[0]["versions"]] == [1, 2]
    project("endpoints", "canary", "judge", "2", "50")
    scores = [project.json("predict", "judge", '["good"]')[0]["score"] for _ in range(4)]
    assert sorted(scores) == [1, 1, 5, 5]
    project("endpoints", "rollback", "judge")
    assert project.json("serve", "judge", "--detach")["version"] == 2
    assert project.json("predict", "judge", '["good"]')[0]["score"] == 5
    assert project.json("endpoints", "rollback", "judge")["version"] == 1
    assert project.json("predict", "judge", '["good"]')[0]["score"] == 1
    measured = project.json("endpoints", "bench", "judge", "--rate", "20", "--seconds", "1")
    assert (measured["sent"], measured["failed"]) == (20, 0)
    assert "is being served" in project("models", "rm", "judge", "1", code=2)
    assert project.json("endpoints", "stop", "judge")["phase"] == "Stopped"
    assert "is not being served" in project("predict", "judge", code=2)
    actions = [one["action"] for one in project.json("endpoints", "history", "judge")]
    assert actions == ["started", "canary", "rolled back", "switched", "rolled back", "stopped"]


def test_code_of_others_needs_consent(project: Project) -> None:
    project("run", "films.ipynb", "-q")
    project.env["XDG_STATE_HOME"] = str(project.folder / "another-person")
    refused = project("serve", "judge", "--detach", code=2)
    assert "runs code when it is loaded, and nobody here has agreed to it" in refused
    digest = project.json("models", "show", "judge")["digest"]
    assert digest in refused
    assert "not " in project("serve", "judge", "--detach", "--trust", "0" * 64, code=2)
    assert project.json("serve", "judge", "--detach", "--trust", digest)["phase"] == "Ready"


def test_a_model_of_an_earlier_run_is_added(project: Project) -> None:
    project("run", "films.ipynb", "-q")
    run = project.json("runs")[0]
    name = run.get("run") or run.get("id")
    made = project.json("models", "add", "copy", "judge", "--run", name, "--step", "make", "--example", "judge_example")
    assert (made["name"], made["version"], made["step"]) == ("copy", 1, "make")
    assert "has neither bound" in project("models", "add", "copy", "nothing", "--run", name, "--step", "make", code=2)
    assert "no step" in project("models", "add", "copy", "judge", "--run", name, "--step", "nowhere", code=2)


def test_what_cannot_be_registered_is_told_and_the_run_stands(project: Project) -> None:
    write_notebook(project.folder / "none.ipynb", [("", "%%step make --model nothing=x\nx = 3")])
    project("run", "none.ipynb", "-q")
    assert project.json("models") == []
    assert json.loads(project("status", "last", "--json"))["phase"] == "Succeeded"
    client = Client(project.folder)
    said = [seen.message for seen in client.watch(client.status("last").id) if isinstance(seen, RunEvent)]
    assert [
        one for one in said if one.startswith("not registered: step make: model nothing: a builtins.int is no model")
    ]
