"""A small notebook that leaves a trace of every step it runs, and the processes that carry out its runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.runs import RunState
from nbkube.runs.process import is_alive
from nbkube.runtime.cache import read_manifest
from nbkube.storage import LocalStore
from tests.building import CellText, write_notebook

SIZE = 2 if os.environ.get("SOAK") else 1 if os.environ.get("FAULTS") else 0
"""How often things are tried: 0 in every run of the tests, 1 by `make test-faults`, 2 with SOAK=1."""

STARTS = 20.0
"""Seconds after which a run without a process is one whose command has died between making and starting it."""

STEPS = ("first", "second", "third", "last")
COUNT = 200_000
SQUARES = sum(n * n for n in range(COUNT))


def sized(small: int, usual: int, full: int) -> int:
    """Return how often to try: `small` for every change, `usual` by `make test-faults`, `full` with SOAK=1."""
    return (small, usual, full)[SIZE]


def _traced(step: str) -> str:
    return f"with open(os.environ['TRACE'], 'a') as trace: trace.write('{step}\\n')\n"


CELLS: list[CellText] = [
    ("imports", "import os"),
    ("parameters", "salt = 0"),
    (
        "step:first",
        _traced("first") + f"numbers = list(range({COUNT}))\nopen('first.txt', 'w').write(str(salt) * 100_000)",
    ),
    ("step:second", _traced("second") + "squares = [n * n for n in numbers]\ntext = open('first.txt').read() + '2'"),
    ("step:third", _traced("third") + "cubes = {n: n ** 3 for n in numbers}\nopen('third.txt', 'w').write(text + '3')"),
    ("step:last", _traced("last") + "answer = sum(squares) + len(cubes) + len(open('third.txt').read()) + salt"),
    ("pipeline-metrics", "print(answer)"),
]


def answer(salt: int) -> int:
    """Return what the notebook computes."""
    return SQUARES + COUNT + len(str(salt)) * 100_000 + 2 + salt


class Project:
    """The notebook in a project of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.notebook = write_notebook(self.folder / "work.ipynb", CELLS)
        (self.folder / "nbkube.toml").write_text("")
        self.trace = folder / "trace.txt"
        self.trace.write_text("")
        os.environ["TRACE"] = str(self.trace)  # supervisors take it over from whoever starts them
        self.client = Client(self.folder)
        self.store = LocalStore(self.folder / ".nbkube")
        self.work = self.folder / ".nbkube" / "work"

    def submit(self, salt: int) -> str:
        return self.client.submit(self.notebook, parameters={"salt": salt})

    def command(self, *arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "nbkube", *arguments]
        return subprocess.Popen(
            words,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # The tests themselves may run under nohup.
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),
        )

    def supervisor(self, run: str) -> int:
        """Return the process that has a run."""
        process = self.client.status(run).process
        assert process is not None
        return process.pid

    def end(self, run: str, seconds: float = 120.0) -> RunState:
        """Wait until a run has ended or its process has gone, or it is clear that it never had one."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            state = self.client.status(run)
            if state.phase.ended or (state.process and is_alive(state.process) is False):
                return self.client.status(run)
            if state.process is None and time.monotonic() > began + STARTS:
                return state
            time.sleep(0.02)
        raise AssertionError(f"run {run} does not end: {self.client.status(run)}")

    def committed(self) -> set[str]:
        """Return the names of the results in the store; each of them is whole."""
        names = set(self.store.list("steps/"))
        assert all(read_manifest(self.store, name) is not None for name in names)
        return names

    def steps_of(self, names: set[str]) -> list[str]:
        found = []
        for name in sorted(names):
            manifest = read_manifest(self.store, name)
            assert manifest is not None
            found += [unit for unit in manifest.units if unit in STEPS]
        return found

    def traced(self) -> list[str]:
        return self.trace.read_text().split()

    def writing(self) -> bool:
        """Tell whether the store has a temporary file, so that a commit or a put is under way."""
        try:
            return any((self.folder / ".nbkube" / "tmp").iterdir())
        except OSError:
            return False

    def check(self, run: str, salt: int, but: Collection[str] = ()) -> None:
        """Hold that a run has computed the right thing, and that nothing is left of any run (but of some)."""
        self.check_result(run, salt)
        until = time.monotonic() + 20
        while self.leftovers(but) and time.monotonic() < until:
            time.sleep(0.02)  # the run's end is told a moment before its process has gone
        assert self.leftovers(but) == []

    def check_result(self, run: str, salt: int) -> None:
        state = self.client.status(run)
        assert (state.phase, state.reason) == ("Succeeded", ""), state
        assert state.metrics == {"answer": answer(salt)}
        assert all(step.phase in ("Succeeded", "Cached") for step in state.steps)

    def leftovers(self, but: Collection[str] = ()) -> list[str]:
        """Return what ended runs (but some) have left in the folder for running."""
        return [path.name for path in self.work.iterdir() if path.name.partition(".")[0] not in but]


def children(pid: int) -> list[int]:
    """Return the processes that descend from a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
            if parent == pid:
                found += [int(entry.name), *children(int(entry.name))]
    return found


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until_gone(pids: list[int], seconds: float = 20.0) -> None:
    """Steps must not outlive the process that was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and not is_zombie(pid)]
        if not alive:
            return
        time.sleep(0.02)
    pytest.fail(f"processes outlived the one that had the run: {alive}")


def is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def last_line(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text.splitlines()[-1])
    return found
