"""Each command as a person types it: what it prints, where, and the exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nbkube.cli import main
from nbkube.cli.verification import draw_verdict
from nbkube.verify import Verification, VerifyDifference
from tests.building import CellText, write_notebook

CELLS: list[CellText] = [
    ("imports", "import time"),
    ("parameters", "factor = 2  # how much\nlabel = 'run'"),
    ("step:load", "rows = [1.0, 2.0]\nprint('loaded', len(rows))\n_ = open('rows.txt', 'w').write('1 2')"),
    ("step:scale", "scaled = [row * factor for row in rows]"),
    ("step:report", "title = label.upper()\nscaled"),
    ("pipeline-metrics", "total = sum(scaled)"),
]
FAILING: list[CellText] = [
    *CELLS[:4],
    ("step:broken", "import json\ndef read(text):\n    return json.loads(text)\nread('{')"),
]


class Shown(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])


Nbkube = Callable[..., Shown]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_notebook(tmp_path / "work.ipynb", CELLS)
    write_notebook(tmp_path / "failing.ipynb", FAILING)
    (tmp_path / "nbkube.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def nbkube(project: Path, capsys: pytest.CaptureFixture[str]) -> Nbkube:
    def run(*arguments: str) -> Shown:
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err
        code = ended.value.code
        return Shown(code if isinstance(code, int) else 0, shown.out, shown.err)

    return run


def test_version(nbkube: Nbkube) -> None:
    assert re.fullmatch(r"nbkube \d+\.\d+\.\d+\n", nbkube("--version").out)


def test_show(nbkube: Nbkube) -> None:
    shown = nbkube("show", "work.ipynb")
    assert shown.code == 0
    assert "load ── rows ─▸ scale" in re.sub(" +", " ", shown.out)
    assert "how much" in shown.out
    assert shown.err == ""


def test_show_json_has_the_promised_shape(nbkube: Nbkube) -> None:
    shown = nbkube("show", "work.ipynb", "--json").json
    assert list(shown) == ["name", "parameters", "metrics", "steps", "diagnostics"]
    assert shown["parameters"][0] == {"name": "factor", "type": "int", "default": 2, "help": "how much"}
    assert shown["metrics"] == ["total"]
    steps = {step["name"]: step for step in shown["steps"]}
    assert {"name", "cells", "after", "inputs", "outputs", "resources", "options", "observed"} == set(steps["scale"])
    assert {"name": "rows", "from": "load"} in steps["scale"]["inputs"]


def test_check(nbkube: Nbkube) -> None:
    shown = nbkube("check", "work.ipynb")
    assert shown.code == 0
    assert "ready to run" in shown.out
    assert nbkube("check", "work.ipynb", "--json").json == {"diagnostics": []}


def test_faults_are_told_all_at_once_with_their_places(nbkube: Nbkube, project: Path) -> None:
    write_notebook(project / "bad.ipynb", [("step:A_B", "x = 1"), ("prev:nowhere", "y = undefined_name")])
    for command in ("check", "run", "verify"):
        shown = nbkube(command, "bad.ipynb")
        assert shown.code == 2, command
        assert re.search(r"bad\.ipynb:cell 1 \(cell-1\)", shown.err)
        assert re.search(r"bad\.ipynb:cell 2 \(cell-2\)", shown.err)
        assert "Fix:" in shown.err
        assert shown.out == ""
    assert nbkube("show", "bad.ipynb").code == 2
    assert len(nbkube("check", "bad.ipynb", "--json").json["diagnostics"]) >= 2
    assert not (project / ".nbkube").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "wrk.ipynb"], "did you mean work.ipynb?"),
        (["show", "work.ipynb", "-p", "factr=3"], "did you mean factor?"),
        (["show", "work.ipynb", "-p", "factor=x"], "whole number"),
        (["show", "work.ipynb", "-p", "factor"], "NAME=VALUE"),
        (["check", "work.ipynb", "--set", "load.memory=lots"], "lots"),
        (["check", "work.ipynb", "--set", "lod.memory=4Gi"], "lod"),
        (["show", "work.ipynb", "--params", "none.json"], "none.json"),
        (["show", "nbkube.toml"], "nbkube.toml"),
        (["status"], "no runs yet"),
        (["logs", "last", "load"], "no runs yet"),
        (["tag", "work.ipynb", "3"], "Nothing to write"),
        (["tag", "work.ipynb", "99", "step:x"], "99"),
        (["shw"], "show"),
        (["run"], "NOTEBOOK"),
        (["run", "work.ipynb", "--parallel", "0"], "--parallel"),
    ],
)
def test_mistakes_are_explained(nbkube: Nbkube, project: Path, arguments: list[str], message: str) -> None:
    shown = nbkube(*arguments)
    assert shown.code == 2
    assert message in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err
    assert not (project / ".nbkube").exists()


def test_run_ends_with_the_metrics(nbkube: Nbkube) -> None:
    shown = nbkube("run", "work.ipynb", "-p", "factor=3")
    assert shown.code == 0, shown.err
    assert re.search(r"total +9", shown.out)
    assert "load: succeeded" in shown.err
    assert "Succeeded in" in shown.err
    again = nbkube("run", "work.ipynb", "-p", "factor=3", "--quiet")
    assert "0 steps run, 5 known already" in again.err
    assert "load: cached" not in again.err


def test_run_json_ends_with_the_promised_line(nbkube: Nbkube, project: Path) -> None:
    (project / "given.json").write_text('{"factor": 10, "label": "x"}')
    shown = nbkube("run", "work.ipynb", "--params", "given.json", "-p", "label=y", "--json")
    assert list(shown.json) == ["run", "phase", "seconds", "metrics", "steps"]
    assert shown.json["phase"] == "Succeeded"
    assert shown.json["metrics"] == {"total": 30.0}
    assert {"phase", "seconds", "cached"} == set(shown.json["steps"]["load"])
    assert all(isinstance(json.loads(line), dict) for line in shown.out.splitlines())


def test_what_is_left_of_a_run(nbkube: Nbkube, project: Path) -> None:
    run = nbkube("run", "work.ipynb", "--experiment", "base", "--json").json["run"]
    assert run in nbkube("runs").out
    assert nbkube("runs", "--experiment", "other", "--json").json == []
    assert nbkube("runs", "--json").json[0]["run"] == run
    assert nbkube("status", "--json").json["run"] == run
    assert "Succeeded" in nbkube("status", run[:15]).out
    assert nbkube("logs").out == "load    | loaded 2\nreport  | [2.0, 4.0]\n"
    assert nbkube("logs", "last", "load").out == "loaded 2\n"
    made = nbkube("artifacts", "--json").json
    assert made["run"] == run
    assert made["files"][0]["path"] == "rows.txt"
    assert {row["name"] for row in made["variables"]["load"]} >= {"rows"}
    listed = nbkube("artifacts").out
    assert "rows.txt" in listed
    assert "module time" not in listed
    assert "and 1 imported" in listed
    assert nbkube("artifacts", "--files", "out").code == 0
    assert (project / "out" / "rows.txt").read_text() == "1 2"
    assert not (project / "rows.txt").exists()


def test_the_report_is_written(nbkube: Nbkube, project: Path) -> None:
    nbkube("run", "work.ipynb")
    shown = nbkube("artifacts", "--html", "--output", "report.html")
    assert shown.out == "report.html\n"
    page = (project / "report.html").read_text()
    assert "loaded 2" in page
    assert "<script" not in page
    assert nbkube("artifacts", "--output", str(project)).code == 2


def test_a_failing_step_is_explained(nbkube: Nbkube) -> None:
    shown = nbkube("run", "failing.ipynb")
    assert shown.code == 1
    assert re.search(r"step broken failed in cell 5 \(cell-5\), line 3:", shown.err)
    assert "read('{')" in shown.err
    assert "return json.loads(text)" in shown.err
    assert "frames in libraries" in shown.err
    assert "JSONDecodeError" in shown.err
    assert "site-packages" not in shown.err
    assert "Kept: 3 steps (setup, load, scale)" in shown.err
    assert re.search(r"nbkube logs \S+ broken", shown.err)
    assert nbkube("status").code == 1
    assert nbkube("run", "failing.ipynb", "--json").json["phase"] == "Failed"


def test_a_failing_check_is_called_a_check(nbkube: Nbkube, project: Path) -> None:
    write_notebook(project / "checked.ipynb", [*CELLS[:4], ("checks", "assert sum(scaled) > 100, 'too small'")])
    shown = nbkube("run", "checked.ipynb")
    assert shown.code == 1
    assert "check checks failed in cell 5" in shown.err
    assert "AssertionError: too small" in shown.err


def test_tags_and_options_are_written(nbkube: Nbkube, project: Path) -> None:
    assert nbkube("tag", "work.ipynb", "4", "step:grow", "-o", "memory=4Gi", "-o", "retries=2").code == 0
    steps = {step["name"]: step for step in nbkube("show", "work.ipynb", "--json").json["steps"]}
    assert steps["grow"]["resources"] == {"memory": "4Gi"}
    assert nbkube("tag", "work.ipynb", "cell-4", "-o", "memory=", "-o", "cpu=1").code == 0
    cell = json.loads((project / "work.ipynb").read_text())["cells"][3]
    assert cell["metadata"]["tags"] == ["step:grow"]
    assert set(cell["metadata"]["nbkube"]) == {"retries", "cpu"}
    assert nbkube("tag", "work.ipynb", "4", "--clear").code == 0
    assert json.loads((project / "work.ipynb").read_text())["cells"][3]["metadata"].get("tags", []) == []
    assert nbkube("tag", "work.ipynb", "4", "stepp:x").code == 2


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "nbkube", *arguments]


def test_ctrl_c_cancels_and_leaves_no_process(project: Path) -> None:
    sleeping = f"y = x\nimport subprocess, time\nsubprocess.Popen(['sleep', '987.{os.getpid()}'])\ntime.sleep(60)"
    write_notebook(project / "slow.ipynb", [("step:quick", "x = 1"), ("step:slow", sleeping)])
    process = subprocess.Popen(command("run", "slow.ipynb"), stderr=subprocess.PIPE, text=True, cwd=project)
    assert process.stderr is not None
    with process.stderr:
        mine = f"sleep\x00987.{os.getpid()}"
        deadline = time.monotonic() + 90
        while not processes(mine):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.wait(timeout=20) == 130
    assert "Cancelled after" in said
    assert "Kept: 1 step (quick)" in said
    assert "Traceback" not in said
    assert processes(mine) == []


def processes(command_line: str) -> list[str]:
    """Return the living processes with a command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if command_line in (entry / "cmdline").read_text():
                    found.append(entry.name)
            except OSError:
                continue
    return found


def test_a_reader_that_goes_away_is_no_error(project: Path) -> None:
    process = subprocess.Popen(
        command("show", "work.ipynb"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    with process.stderr:
        assert process.stderr.read() == b""
    assert process.wait(timeout=20) == 0


def test_the_command_line_starts_light() -> None:
    heavy = "numpy|pandas|nbformat|IPython|kubernetes|minio|rich|nbconvert|tornado|zmq"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "nbkube", "--help"], capture_output=True, text=True, check=True
    )
    assert re.findall(rf"\| +((?:{heavy})(?:\.\S+)?)$", done.stderr, re.MULTILINE) == []
    assert "verify" in done.stdout


def test_completion_offers_commands(project: Path) -> None:
    environment = {**os.environ, "_NBKUBE_COMPLETE": "complete_bash", "COMP_WORDS": "nbkube ver", "COMP_CWORD": "1"}
    done = subprocess.run(command(), capture_output=True, text=True, env=environment, check=False)
    assert done.stdout.split() == ["verify"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_verify(nbkube: Nbkube) -> None:
    shown = nbkube("verify", "work.ipynb", "-p", "factor=3")
    assert shown.code == 0, shown.out
    assert shown.out.startswith("work.ipynb: equal.")
    assert shown.err.splitlines() == [
        "notebook, first run",
        "pipeline, as scheduled",
        "pipeline, adversarial",
        "notebook, second run",
        "comparing variables",
        "comparing files",
    ]


def test_a_verdict_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    one = VerifyDifference("variable", "model", "model['uses']", "the same object as config", "its own\x1b[2J", "both")
    draw_verdict(Path("work.ipynb"), Verification(False, (one,), ("stamp",), ("stream",), "", 1.0, 2.0))
    shown = capsys.readouterr().out
    assert shown.startswith("work.ipynb: 1 difference.\n")
    for text in ("model['uses']", "the same object as config", "both", "type and shape: stamp", "by type: stream"):
        assert text in re.sub(r"\s+", " ", shown)
    assert "\x1b" not in shown


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ctrl_c_ends_a_verification(project: Path) -> None:
    mine = f"sleep\x00986.{os.getpid()}"
    sleeping = f"import subprocess, time\nsubprocess.Popen(['sleep', '986.{os.getpid()}'])\ntime.sleep(60)"
    write_notebook(project / "slow.ipynb", [("step:slow", sleeping)])
    process = subprocess.Popen(command("verify", "slow.ipynb"), stderr=subprocess.PIPE, text=True, cwd=project)
    assert process.stderr is not None
    with process.stderr:
        deadline = time.monotonic() + 200
        while not processes(mine):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    assert process.wait(timeout=30) == 130
    assert "Traceback" not in said
    assert processes(mine) == []


@pytest.mark.parametrize("command", [("run", "work.ipynb", "--engine", "argo"), ("export", "work.ipynb")])
def test_a_cluster_needs_a_store_that_pods_can_reach(nbkube: Nbkube, project: Path, command: tuple[str, ...]) -> None:
    shown = nbkube(*command)
    assert shown.code == 2
    assert 'write [profiles.local.store] url = "s3://BUCKET/PREFIX" in nbkube.toml' in shown.err
    assert not (project / ".nbkube").exists()


def test_engines_and_exports_that_there_are_not(nbkube: Nbkube) -> None:
    shown = nbkube("run", "work.ipynb", "--engine", "kfp")
    assert (shown.code, shown.err) == (2, "Error: there is no engine 'kfp'. Fix: use local or argo.\n")
    shown = nbkube("export", "work.ipynb", "--to", "airflow")
    assert (shown.code, shown.err) == (2, "Error: nbkube cannot export to 'airflow'. Fix: use argo.\n")
