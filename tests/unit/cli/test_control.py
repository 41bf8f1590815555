"""Commands for runs that go on, as a person types them, each in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from nbkube.client import Client
from nbkube.runs import Phase, RunState
from tests.building import CellText, write_notebook

CELLS: list[CellText] = [
    ("imports", "import os, time"),
    ("step:quick", "x = 1\nprint('quick is done', flush=True)"),
    (
        "step:slow",
        "y = x\nprint('slow begins', flush=True)\nwhile not os.path.exists(os.environ['GO']):\n    time.sleep(0.05)",
    ),
    ("pipeline-metrics", "z = y + 1\nprint(z)"),
]


class Shown(NamedTuple):
    code: int
    out: str
    err: str


class Project:
    """A notebook whose second step waits until the test lets it go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        write_notebook(self.folder / "work.ipynb", CELLS)
        (self.folder / "nbkube.toml").touch()
        self.go = folder / "go"
        self.client = Client(self.folder)
        self.environment = {**os.environ, "GO": str(self.go), "COLUMNS": "120"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "nbkube", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def nbkube(self, *arguments: str) -> Shown:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=90)
        assert "Traceback" not in err
        return Shown(process.returncode, out, err)

    def begin(self) -> str:
        """Start a run and wait until its second step is at work."""
        shown = self.nbkube("run", "work.ipynb", "--detach")
        assert shown.code == 0, shown.err
        run = shown.out.strip()
        assert f"nbkube status --watch {run}" in shown.err
        self.wait(run, lambda state: phase(state, "slow") is Phase.RUNNING)
        return run

    def wait(self, run: str, reached: Any, seconds: float = 60.0) -> RunState:
        until = time.monotonic() + seconds
        while not reached(state := self.client.status(run)):
            assert time.monotonic() < until, state
            time.sleep(0.02)
        return state

    def succeeded(self, run: str) -> RunState:
        self.go.touch()
        state = self.wait(run, lambda state: state.phase.ended)
        assert (state.phase, state.metrics) == (Phase.SUCCEEDED, {"z": 2})
        return state


def phase(state: RunState, name: str) -> Phase:
    step = state.step(name)
    assert step is not None
    return step.phase


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    made = Project(tmp_path)
    yield made
    for state in made.client.runs():
        made.client.stop(state.id, now=True)


def test_a_detached_run_is_watched_and_its_logs_followed(project: Project) -> None:
    run = project.begin()
    watching, logs = project.start("status", "--watch"), project.start("logs", "-f")
    assert logs.stdout is not None
    assert [logs.stdout.readline() for _ in range(2)] == ["quick   | quick is done\n", "slow    | slow begins\n"]
    project.succeeded(run)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert "slow: succeeded" in err
    assert "z            2" in out
    assert logs.stdout.read() == "metrics | 2\n"
    logs.communicate(timeout=30)
    assert logs.returncode == 0


def test_ctrl_c_while_watching_leaves_the_run_alone(project: Project) -> None:
    run = project.begin()
    watching = project.start("status", "-w", "--json")
    assert watching.stdout is not None
    watching.stdout.readline()
    watching.send_signal(signal.SIGINT)
    watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert project.client.status(run).phase is Phase.RUNNING
    project.succeeded(run)


def test_stop_twice_then_resume(project: Project) -> None:
    run = project.begin()
    assert project.nbkube("stop").out == f"Run {run}: cancelled.\n"
    assert project.nbkube("stop", run, "--json").code == 0
    assert project.nbkube("stop", run).out == f"Run {run} ended before: cancelled.\n"
    state = project.client.status(run)
    assert [phase(state, name) for name in ("quick", "slow", "metrics")] == ["Succeeded", "Cancelled", "Skipped"]
    project.go.touch()
    shown = project.nbkube("resume", run)
    assert shown.code == 0
    assert "slow: succeeded" in shown.err
    assert f"Run {run}" in shown.err
    state = project.succeeded(run)
    quick = state.step("quick")
    assert quick is not None
    assert (quick.attempts, quick.cached) == (1, False)
    assert project.nbkube("resume", run).out == f"Run {run} ended before: succeeded.\n"


def test_stop_now_kills(project: Project) -> None:
    write_notebook(
        project.folder / "work.ipynb",
        [
            ("step:quick", "x = 1"),
            ("step:slow", "import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)"),
        ],
    )
    run = project.begin()
    assert json.loads(project.nbkube("stop", "--now", "--json").out)["phase"] == "Cancelled"
    assert project.client.status(run).reason == "killed"


def test_pause_lets_steps_end_and_starts_none(project: Project) -> None:
    run = project.begin()
    assert project.nbkube("pause").out == f"Run {run}: paused.\n"
    assert project.nbkube("pause").code == 0
    project.go.touch()
    project.wait(run, lambda state: phase(state, "slow") is Phase.SUCCEEDED)
    time.sleep(1)
    state = project.client.status(run)
    assert (state.phase, phase(state, "metrics")) == (Phase.PAUSED, Phase.PENDING)
    assert project.nbkube("resume", "--detach").code == 0
    project.succeeded(run)
    refused = project.nbkube("pause")
    assert refused.code == 1
    assert "does not go on" in refused.err


def test_a_run_that_was_killed_says_so_and_is_resumed(project: Project) -> None:
    run = project.begin()
    process = project.client.status(run).process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    project.wait(run, lambda state: state.phase is Phase.UNKNOWN)
    shown = project.nbkube("status")
    assert "interrupted: its process is gone" in shown.out
    assert "nbkube resume" in shown.out
    assert project.nbkube("resume", "-d").code == 0
    resumed = project.client.status(run).process
    assert resumed is not None
    assert resumed.pid != process.pid
    state = project.succeeded(run)
    assert phase(state, "quick") is Phase.SUCCEEDED


def test_a_failed_run_is_resumed_with_the_files_of_now(project: Project) -> None:
    write_notebook(
        project.folder / "work.ipynb", [("step:a", "x = 1"), ("step:b", "y = x + int(open('given.txt').read())")]
    )
    run = project.nbkube("run", "work.ipynb", "-d").out.strip()
    project.wait(run, lambda state: state.phase is Phase.FAILED)
    (project.folder / "given.txt").write_text("41")
    shown = project.nbkube("resume", "last")
    assert shown.code == 0, shown.err
    state = project.client.status(run)
    assert [phase(state, name) for name in ("a", "b")] == ["Succeeded", "Succeeded"]
    assert "taken as they are now" in shown.err


def test_a_signal_to_the_runs_process_ends_it_in_order(project: Project) -> None:
    run = project.begin()
    process = project.client.status(run).process
    assert process is not None
    for harmless in (signal.SIGHUP, signal.SIGINT, signal.SIGUSR1):
        os.kill(process.pid, harmless)
    time.sleep(0.5)
    assert project.client.status(run).phase is Phase.RUNNING
    os.kill(process.pid, signal.SIGTERM)
    state = project.wait(run, lambda state: state.phase.ended)
    assert state.phase is Phase.CANCELLED
    assert "ended by a signal" in state.reason


def test_removing_and_collecting(project: Project) -> None:
    run = project.begin()
    refused = project.nbkube("rm", run)
    assert refused.code == 1
    assert f"nbkube stop {run}" in refused.err
    refused = project.nbkube("gc", "--grace", "0")
    assert refused.code == 2
    assert "2h" in refused.err
    assert project.nbkube("gc").code == 0
    project.succeeded(run)
    assert "Freed 0 B" in project.nbkube("gc", "--grace", "0").out
    assert project.nbkube("rm", run).out == f"Removed run {run}.\n"
    assert "no runs yet" in project.nbkube("runs").err
    assert "Would free" in project.nbkube("gc", "--grace", "0", "--dry-run").out
    freed = json.loads(project.nbkube("gc", "--grace", "0", "--json").out)
    assert freed["results"] == 4
    assert freed["kept_objects"] == freed["kept_results"] == 0
    assert project.nbkube("gc", "--grace", "soon").code == 2
    assert "0 results" in project.nbkube("gc", "--scrub").out


def test_what_a_run_keeps_is_private(project: Project) -> None:
    run = project.begin()
    work = project.folder / ".nbkube" / "work"
    for path in (work, work / run, work / f"{run}.lock", work / f"{run}.log", *(work / run).rglob("index")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    process = project.client.status(run).process
    assert process is not None
    held = [os.readlink(one) for one in Path(f"/proc/{process.pid}/fd").iterdir()]
    assert not [one for one in held if one.startswith(("/dev/pts", "/dev/tty"))]
    assert os.getsid(process.pid) != os.getsid(0)
    project.succeeded(run)


def test_a_process_that_cannot_start_is_told(project: Project, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import sys\nif 'nbkube.engines.supervisor' in sys.orig_argv: sys.exit('no such luck')\n"
    )
    project.environment["PYTHONPATH"] = str(broken)
    shown = project.nbkube("run", "work.ipynb")
    assert shown.code == 1
    assert "could not start" in shown.err
    assert "no such luck" in shown.err


def test_a_run_whose_results_are_known_starts_no_process_for_steps(project: Project, tmp_path: Path) -> None:
    noting, started = tmp_path / "noting", tmp_path / "started"
    noting.mkdir()
    (noting / "sitecustomize.py").write_text(
        f"import sys\nif 'nbkube.runtime' in sys.orig_argv: open({str(started)!r}, 'a').write('x')\n"
    )
    project.environment["PYTHONPATH"] = str(noting)
    project.go.touch()
    write_notebook(project.folder / "other.ipynb", [("parameters", "n = 1"), ("step:only", "print(n)")])

    def processes(*arguments: str) -> int:
        started.write_text("")
        shown = project.nbkube("run", *arguments)
        assert shown.code == 0, shown.err
        return len(started.read_text())

    assert processes("work.ipynb")
    assert not processes("work.ipynb")
    assert processes("other.ipynb")
    assert not processes("work.ipynb")
    assert not processes("other.ipynb")
    assert processes("other.ipynb", "-p", "n=2")
    assert processes("other.ipynb", "--no-cache")
    # What was expected to be known and is not runs all the same.
    for manifest in (project.folder / ".nbkube" / "steps").rglob("*.json"):
        manifest.unlink()
    assert processes("work.ipynb")
