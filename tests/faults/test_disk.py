"""A disk that is full or reports errors: no false success, no partial result, a sentence that says so, and a way on."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.building import write_notebook
from tests.faults import full_disk
from tests.faults.project import Project, answer, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(sized(300, 600, 7200))]

STRACE = shutil.which("strace")


def can_mount() -> bool:
    done = subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(not can_mount(), reason="NOT TESTED: no mount namespace can be made here")
def test_a_full_disk(tmp_path: Path) -> None:
    project = tmp_path / "project"
    cells = [
        ("step:small", "x = 1"),
        ("step:large", "import os\ndata = os.urandom(9_000_000)"),
        ("pipeline-metrics", "size = len(data) + x"),
    ]
    write_notebook(project / "work.ipynb", cells)
    (project / "nbkube.toml").touch()
    command = ["unshare", "-rm", sys.executable, full_disk.__file__, str(project)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    failed, store, resumed = map(json.loads, done.stdout.splitlines())
    assert failed["phase"] in ("Failed", "Unknown"), failed
    assert "disk full" in failed["failure"] + failed["reason"], failed
    assert store == {"whole": True, "results": store["results"], "left": 0}
    assert store["results"] <= 1
    assert (resumed["phase"], resumed["metrics"]) == ("Succeeded", {"size": 9_000_001})


@pytest.mark.skipif(STRACE is None, reason="NOT TESTED: strace is not installed (apt-get install strace)")
@pytest.mark.parametrize("fault", ["write:error=ENOSPC", "fsync:error=EIO", "link:error=EIO", "fsync:signal=KILL"])
def test_a_fault_at_some_call_of_the_process_that_has_the_run(tmp_path: Path, fault: str) -> None:
    """Every process and thread of a whole run meets the fault at its Nth call; afterwards the run is resumed."""
    project = Project(tmp_path)
    call, _, what = fault.partition(":")
    chance = random.Random(fault)
    successes, count = 0, sized(1, 2, 20)
    for salt in range(1, count + 1):
        at = chance.randint(1, 6)
        assert STRACE is not None
        words = [STRACE, "-f", "-qq", "--seccomp-bpf", "-o", os.devnull, "-e", f"inject={call}:{what}:when={at}"]
        words += [sys.executable, "-m", "nbkube", "run", str(project.notebook), "-p", f"salt={salt}", "--json"]
        done = subprocess.run(words, cwd=project.folder, capture_output=True, text=True, timeout=120, check=False)
        assert "Traceback" not in done.stderr, done.stderr[-3000:]
        runs = project.client.runs(limit=1)
        if not runs or runs[0].run.parameters.get("salt") != salt:
            continue  # it never began
        run = runs[0].id
        state = project.end(run)
        successes += state.phase == "Succeeded"
        assert state.phase != "Succeeded" or state.metrics == {"answer": answer(salt)}
        assert project.committed() is not None
        project.client.resume(run)
        assert project.end(run).phase == "Succeeded", project.client.status(run)
        assert project.client.status(run).metrics == {"answer": answer(salt)}
    assert successes < count, "an injection that never hits proves nothing"
