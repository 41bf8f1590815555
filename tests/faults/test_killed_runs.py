"""SIGKILL of the command or of a step at random moments: what was finished stays, what was not is made again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.building import CellText, write_notebook

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

STEPS = ("first", "second", "third", "last")


def trace(step: str) -> str:
    """Source that tells a file outside the project that the step has run."""
    return f"with open(os.environ['TRACE'], 'a') as trace: trace.write('{step}\\n')\n"


CELLS: list[CellText] = [
    ("imports", "import os, random"),
    ("step:first", trace("first") + "numbers = list(range(200_000))\nopen('first.txt', 'w').write('1' * 100_000)"),
    ("step:second", trace("second") + "squares = [n * n for n in numbers]\ntext = open('first.txt').read() + '2'"),
    ("step:third", trace("third") + "cubes = {n: n ** 3 for n in numbers}\nopen('third.txt', 'w').write(text + '3')"),
    ("step:last", trace("last") + "answer = sum(squares) + len(cubes) + len(open('third.txt').read())"),
    ("pipeline-metrics", "print(answer)"),
]
ANSWER = sum(n * n for n in range(200_000)) + 200_000 + 100_002


class Project:
    """A notebook, and the command that runs it in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.notebook = write_notebook(self.folder / "work.ipynb", CELLS)
        (self.folder / "nbkube.toml").write_text("")
        self.trace = folder / "trace.txt"
        self.trace.write_text("")
        self.errors = folder / "errors.txt"

    def start(self) -> subprocess.Popen[str]:
        with self.errors.open("a") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "nbkube", "run", str(self.notebook), "--json"],
                env={**os.environ, "TRACE": str(self.trace)},
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def finish(self) -> dict[str, Any]:
        process = self.start()
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, self.errors.read_text()[-3000:]
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer

    def committed(self) -> set[str]:
        store = self.folder / ".nbkube" / "steps"
        found = [json.loads(path.read_bytes()) for path in store.rglob("*.json")] if store.is_dir() else []
        return {unit for manifest in found for unit in manifest["units"]}

    def traced(self) -> list[str]:
        return self.trace.read_text().split()

    def writing(self) -> bool:
        """Tell whether the store has a temporary file, so that a commit or a put is under way."""
        folder = self.folder / ".nbkube" / "tmp"
        try:
            return any(folder.iterdir())
        except OSError:
            return False


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


def check_next_run(project: Project) -> None:
    kept = project.committed()
    before = project.traced()
    result = project.finish()
    assert result["phase"] == "Succeeded"
    assert result["metrics"] == {"answer": ANSWER}
    again = project.traced()[len(before) :]
    assert not kept.intersection(again), f"finished steps ran again: {kept.intersection(again)}"
    assert {name for name, step in result["steps"].items() if step["cached"]} >= kept
    assert all(step["cached"] for step in project.finish()["steps"].values())


@pytest.mark.parametrize("seed", range(20))
def test_killed_at_a_random_moment(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    project = Project(tmp_path)
    process = project.start()
    time.sleep(chance.uniform(0.2, 4.0))
    family = children(process.pid)
    if seed % 2 and family:
        kill(chance.choice(family))
        process.communicate(timeout=120)
    else:
        kill(process.pid)
        process.communicate(timeout=120)
        wait_until_gone(family)
    check_next_run(project)


@pytest.mark.parametrize("seed", range(10))
def test_killed_inside_a_commit(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    project = Project(tmp_path)
    process = project.start()
    wanted = chance.randint(1, 12)
    seen = 0
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if project.writing():
            seen += 1
            if seen >= wanted:
                break
            while project.writing() and time.monotonic() < deadline:
                time.sleep(0.0002)
        time.sleep(0.0002)
    family = children(process.pid)
    for pid in [process.pid, *family] if seed % 2 else [process.pid]:
        kill(pid)
    process.communicate(timeout=120)
    wait_until_gone(family)
    check_next_run(project)


def wait_until_gone(pids: list[int]) -> None:
    """Steps must not outlive the command that was killed."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        alive = [pid for pid in pids if Path(f"/proc/{pid}").exists() and not zombie(pid)]
        if not alive:
            return
        time.sleep(0.05)
    pytest.fail(f"processes outlived the command: {alive}")


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
