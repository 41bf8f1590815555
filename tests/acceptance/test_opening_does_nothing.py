"""Looking at a notebook opens no socket, starts no process and writes no file, as the system calls show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.runs import Phase
from tests.building import CellText, write_notebook

CELLS: list[CellText] = [
    ("imports", "import os, socket, subprocess\nimport planted"),
    ("parameters", "n = 1"),
    ("step:one", "!touch stolen.txt\nsubprocess.run(['touch', 'stolen.txt'])\nx = n"),
    ("step:two", "%run other.py\nsocket.create_connection(('127.0.0.1', 9))\ny = x"),
    ("step:three", "%%writefile stolen.txt\n{y}"),
]

pytestmark = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace is not installed (Debian: apt-get install strace)"
)


@pytest.mark.parametrize("command", [["check"], ["show"], ["show", "--json"], ["show", "--mermaid"]])
def test_no_socket_no_process_no_write(tmp_path: Path, command: list[str]) -> None:
    project = tmp_path / "project"
    notebook = write_notebook(project / "work.ipynb", CELLS)
    (project / "planted.py").write_text("open('stolen.txt', 'w')\n")
    (project / "other.py").write_text("open('stolen.txt', 'w')\n")
    _require_quiet(tmp_path, project, notebook, command)


def test_neither_for_a_script(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    marks = {True: "# %%", False: "# %% tags={}"}
    cells = [
        marks[not tags].format(json.dumps(tags.split()))
        + "\n"
        + "\n".join(f"# {line}" if line[0] in "%!" else line for line in source.splitlines())
        for tags, source in CELLS
    ]
    (project / "work.py").write_text("\n\n".join(cells) + "\n")
    (project / "jupytext.toml").write_text('formats = "ipynb,py:percent"\n')
    shown = _require_quiet(tmp_path, project, project / "work.py", ["show", "--json"])
    assert [step["name"] for step in json.loads(shown)["steps"]] == ["setup", "one", "two", "three"]


def test_neither_where_an_earlier_run_is_looked_at(tmp_path: Path) -> None:
    project = tmp_path / "project"
    notebook = write_notebook(project / "work.ipynb", [("step:one", "x = 1"), ("step:two", "open('y', 'w').write('')")])
    assert Client(project).run(notebook).phase is Phase.SUCCEEDED
    # The run's process clears up after it has told the end.
    until = time.monotonic() + 20
    while any((project / ".nbkube" / "work").glob("*.lock")) and time.monotonic() < until:
        time.sleep(0.05)
    shown = _require_quiet(tmp_path, project, notebook, ["show"])
    assert "seen in a run" in shown


def _require_quiet(tmp_path: Path, project: Path, notebook: Path, command: list[str]) -> str:
    """Run a command on a notebook and look at its system calls; return what it prints."""
    before = sorted(project.rglob("*"))
    trace = tmp_path / "trace.txt"
    watched = "execve,clone,clone3,fork,vfork,socket,connect,open,openat,creat,mkdir,mkdirat,rename,renameat2,unlink"
    done = subprocess.run(
        [
            "strace",
            "-f",
            "-qq",
            "-e",
            f"trace={watched}",
            "-o",
            trace,
            sys.executable,
            "-m",
            "nbkube",
            *command,
            notebook,
        ],
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(project.rglob("*")) == before
    calls = trace.read_text().splitlines()
    assert any("openat(" in call and notebook.name in call for call in calls), "the trace saw nothing"
    assert [call for call in calls if re.search(r"\b(socket|connect)\(", call)] == []
    assert len([call for call in calls if "execve(" in call and " = 0" in call]) == 1
    assert [call for call in calls if re.search(r"\b(clone3?|v?fork)\(", call) and "CLONE_THREAD" not in call] == []
    written = [call for call in calls if re.search(r"O_WRONLY|O_RDWR|O_CREAT|\b(creat|mkdir|rename|unlink)", call)]
    assert [call for call in written if "/dev/" not in call and " = -1 " not in call] == []
    return done.stdout
