"""A step process that is started before its task is known: forked where the interpreter hashes as steps do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.jupyter import ROOT

PROGRAM = """
import json, os, sys
from nbkube.runtime.spawning import Ahead
ahead = Ahead()
from pathlib import Path
from nbkube.runtime.attempt import Attempt
from nbkube.runtime.program import CellProgram, StepProgram, StepTask
from nbkube.state.snapshot import snapshot
from nbkube.storage import LocalStore

folder, source = Path(sys.argv[1]), sys.argv[2]
project = folder / "project"
project.mkdir()
store = LocalStore(project / ".nbkube")
program = StepProgram("unit", "digest", (CellProgram(1, 1, "id1", source),), filename="note.ipynb")
task = StepTask(program, "work", {}, store.url, str(folder / "work"), str(project))
attempt = Attempt(task, snapshot(project), store, lambda _: None, ahead=ahead)
executed, finished = attempt.execute(60), attempt.finish()
left = []
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    left = None
print(json.dumps({
    "kind": type(ahead.process.started).__name__,
    "failure": executed.failure and executed.failure.kind,
    "exit": executed.failure and executed.failure.exit_code,
    "log": store.get(finished.log).decode(),
    "outputs": sorted(finished.result.outputs),
    "children": left,
    "private": ahead.private.exists(),
}))
"""
LOOK = """
import gc, os, sys
print([hash("x"), os.environ["PYTHONHASHSEED"], os.environ["MPLBACKEND"], sys.argv, sys.path[0], gc.isenabled(), \\
       os.getsid(0) == os.getpid(), sys.stdin.read(), sorted(os.listdir("/proc/self/fd"), key=int)[:3], __name__])
"""


def ran(folder: Path, source: str, *, seed: str = "0") -> dict[str, Any]:
    argv = [sys.executable, "-c", PROGRAM, str(folder), source]
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: steps are forked on Linux")
def test_a_forked_step_is_as_a_new_interpreter(tmp_path: Path) -> None:
    places = tmp_path / "forked", tmp_path / "new"
    for place in places:
        place.mkdir()
    forked, new = ran(places[0], LOOK), ran(places[1], LOOK, seed="1")
    assert (forked["kind"], new["kind"]) == ("_Branch", "Popen")
    assert forked["failure"] is None
    assert forked["log"] == new["log"]
    assert (forked["outputs"], forked["children"], forked["private"]) == (new["outputs"], None, False)


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: steps are forked on Linux")
@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("raise ValueError('no')", "error"),
        ("import os; os._exit(7)", "exit"),
        ("import os; os.kill(os.getpid(), 9)", "killed"),
    ],
)
def test_how_a_forked_step_ends_is_told(tmp_path: Path, source: str, kind: str) -> None:
    places = tmp_path / "forked", tmp_path / "new"
    for place in places:
        place.mkdir()
    forked, new = ran(places[0], source), ran(places[1], source, seed="1")
    assert (forked["kind"], forked["failure"]) == ("_Branch", kind)
    assert (forked["failure"], forked["exit"]) == (new["failure"], new["exit"])
    assert forked["children"] is None


@pytest.mark.skipif(sys.platform != "linux", reason="NOT RUN: steps are forked on Linux")
def test_one_that_is_of_no_use_is_ended(tmp_path: Path) -> None:
    code = (
        "from nbkube.runtime.spawning import Ahead\nahead = Ahead()\nahead.close()\nprint(ahead.process.started.wait())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "0", "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "0"
    assert not list(tmp_path.iterdir())
