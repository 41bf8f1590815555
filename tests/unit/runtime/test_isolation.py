"""A step sees its workspace at the project's path; what is no part of the project stays visible there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SHOW = """
import json, os, sys
from nbkube.runtime.isolation import enter
project, workspace, hold = sys.argv[1:]
place = enter(workspace, project, project + "/.nbkube", hold)
names = sorted(os.listdir(project))
data = open(project + "/.keras/data").read() if place.mounted else ""
print(json.dumps([place.mounted, names, data, sorted(place.made)]))
"""


def test_settings_stay_visible_where_the_project_is_the_home_folder(tmp_path: Path) -> None:
    home, workspace, hold = tmp_path / "home", tmp_path / "work", tmp_path / "hold"
    for folder in (home / ".keras", home / ".nbkube", workspace, hold):
        folder.mkdir(parents=True)
    (home / ".keras" / "data").write_text("kept")
    (home / "unwanted.csv").write_text("")
    (workspace / "nb.ipynb").write_text("")
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(
        [sys.executable, "-c", SHOW, str(home), str(workspace), str(hold)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=60,
        check=True,
    )
    mounted, names, data, made = json.loads(done.stdout)
    if not mounted:
        pytest.fail("this machine allows no mount namespace")
    assert names == [".keras", "nb.ipynb"]
    assert data == "kept"
    assert made == [".keras"]
    assert sorted(os.listdir(home)) == [".keras", ".nbkube", "unwanted.csv"]
