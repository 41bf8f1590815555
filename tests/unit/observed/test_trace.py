"""What a run has seen resolves what analysis cannot know, as long as the code is the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.runs.usage import proposed_cpu, proposed_memory
from tests.building import CellText, write_notebook

CELLS: list[CellText] = [
    (
        "step:make",
        "from stars import *\nfor n in ('one', 'two'):\n    exec(f'hidden_{n} = 5')\n    globals()['also_' + n] = 6\n"
        "%run script.py\nopen('made.csv', 'w').write('1')",
    ),
    ("step:use", "total = hidden_one + also_two + from_script + star\nkeep = bytearray(80_000_000)"),
    ("step:quiet", "alone = 1"),
    ("step:end", "print(total, open('made.csv').read())"),
]


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "nbkube", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("trace")
    (folder / "stars.py").write_text("star = 8\n")
    (folder / "script.py").write_text("from_script = 7\n")
    notebook = write_notebook(folder / "work.ipynb", CELLS)
    assert "`from_script` is not defined in any cell" in run_command("check", notebook).stderr
    done = run_command("trace", notebook, "--json")
    assert done.returncode == 0, done.stderr
    return notebook, json.loads(done.stdout)


def names(row: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["name"], one["from"]) for one in row["inputs"]}


def test_names_that_nobody_could_know_are_edges(traced: tuple[Path, dict[str, Any]]) -> None:
    _, seen = traced
    make, use, quiet, end = seen["steps"]
    found = {"hidden_one", "hidden_two", "also_one", "also_two", "from_script", "star"}
    assert found <= set(make["outputs"])
    assert names(use) >= {(name, "make") for name in ("hidden_one", "also_two", "from_script", "star")}
    assert ("total", "use") in names(end)
    assert end["observed"]["files"] == [{"path": "made.csv", "from": "make"}]
    assert {one[0] for one in names(quiet)} <= {"star"}
    assert seen["diagnostics"] == []


def test_show_and_check_use_the_record_while_the_code_matches(traced: tuple[Path, dict[str, Any]]) -> None:
    notebook, seen = traced
    shown = json.loads(run_command("show", notebook, "--json").stdout)
    assert shown == seen
    assert run_command("check", notebook).stderr == ""
    written = notebook.read_text()
    try:
        notebook.write_text(written.replace("total = hidden_one", "# said otherwise\\ntotal = hidden_one"))
        assert run_command("check", notebook).stderr == "", "a comment is no other code"
        notebook.write_text(written.replace("total = hidden_one", "total = 2 * hidden_one"))
        checked = run_command("check", notebook)
        assert "`from_script` is not defined in any cell" in checked.stderr
        shown = json.loads(run_command("show", notebook, "--json").stdout)
        assert [step["observed"] is None for step in shown["steps"]] == [False, True, False, False]
        # What an earlier step was seen to bind is known all the same.
        assert ("from_script", "make") in names(shown["steps"][1])
    finally:
        notebook.write_text(written)


def test_requests_are_proposed_from_what_was_measured(traced: tuple[Path, dict[str, Any]]) -> None:
    notebook, seen = traced
    use = seen["steps"][1]["observed"]
    assert use["peak_memory"] > 80_000_000
    assert use["proposed"]["memory"] == proposed_memory(use["peak_memory"])
    assert use["proposed"]["cpu"] == proposed_cpu(use["seconds"], use["cpu_seconds"])
    shown = run_command("show", notebook, "--set", "use.memory=64Mi", "--set", "use.cpu=1")
    assert "step use asks for memory 64Mi and took" in shown.stderr
    row = next(line for line in shown.stdout.partition("seen in a run")[2].splitlines() if line.startswith("use"))
    assert "=" not in row, "what was asked for is not proposed"


def test_what_is_run_does_not_depend_on_the_record(traced: tuple[Path, dict[str, Any]]) -> None:
    notebook, _ = traced
    client = Client(notebook.parent)
    first = client.run(notebook)
    assert [step.cached for step in first.steps] == [False] * 4, "results of a trace are found by nobody"
    assert all(step.cached for step in client.run(notebook).steps)


@pytest.mark.parametrize(
    ("peak", "text"),
    [
        (0, ""),
        (1, "64Mi"),
        (100 << 20, "128Mi"),
        (103 << 20, "192Mi"),
        (1600 << 20, "2Gi"),
        (4 << 30, "5Gi"),
        (7 << 30, "9Gi"),
    ],
)
def test_memory_is_proposed_with_room(peak: int, text: str) -> None:
    assert proposed_memory(peak) == text


@pytest.mark.parametrize(
    ("seconds", "used", "text"),
    [(0.0, 1.0, ""), (10.0, 0.01, "0.1"), (10.0, 10.0, "1"), (10.0, 10.2, "1.1"), (2.0, 7.0, "3.5")],
)
def test_cpu_is_proposed_in_tenths(seconds: float, used: float, text: str) -> None:
    assert proposed_cpu(seconds, used) == text
