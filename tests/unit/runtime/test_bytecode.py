"""What Python compiles is kept beside installed modules, so that it is done once, and never beside the project's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import nbkube

PROGRAM = """
import sys
sys.path[:0] = sys.argv[1:]
from nbkube.runtime.bytecode import keep_out_of_projects
keep_out_of_projects()
import installed, own
"""


def compiled(folder: Path) -> list[str]:
    return [path.name.partition(".")[0] for path in folder.glob("__pycache__/*.pyc")]


@pytest.mark.parametrize("wanted", [True, False])
def test_only_installed_modules_are_kept_compiled(tmp_path: Path, wanted: bool) -> None:
    installed, project = tmp_path / "lib" / "site-packages", tmp_path / "project"
    for folder, name in ((installed, "installed"), (project, "own")):
        folder.mkdir(parents=True)
        (folder / f"{name}.py").write_text("x = 1\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(nbkube.__file__).parents[1])}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment.pop("PYTHONPYCACHEPREFIX", None)
    if not wanted:
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
    subprocess.run([sys.executable, "-c", PROGRAM, installed, project], env=environment, check=True, timeout=60)
    assert compiled(installed) == (["installed"] if wanted else [])
    assert compiled(project) == []
