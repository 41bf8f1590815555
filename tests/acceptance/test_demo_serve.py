"""`make demo-serve` from end to end: the recipe of the Makefile, in a copy of the examples."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_demo_serve(tmp_path: Path) -> None:
    assert shutil.which("make"), "make is not installed"
    shutil.copytree(ROOT / "examples" / "digits", tmp_path / "examples" / "digits", ignore=_left_out)
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    # Everything is installed in this environment: the copy has it as its own.
    own = tmp_path / ".venv"
    own.mkdir()
    (own / "bin").symlink_to(Path(sys.executable).parent)
    for name in (".demo", ".serve"):
        (own / name).touch()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path / "state"), "NO_COLOR": "1", "COLUMNS": "160"}
    done = subprocess.run(
        ["make", "demo-serve"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=540, check=False
    )
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    order = (
        r"digits version 1 is Ready at http://127\.0\.0\.1:\d+/v2/models/digits",
        r"500 requests sent, 500 answered, 0 failed",
    )
    for pattern in order:
        assert re.search(pattern, said), f"{pattern}\n{said}"
    assert "pip install" not in said
    asked = subprocess.run(
        [sys.executable, "-m", "nbkube", "endpoints", "history", "digits", "--json"],
        cwd=tmp_path / "examples" / "digits",
        env={**env, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    actions = [one["action"] for one in json.loads(asked.stdout)]
    assert actions == ["started", "canary", "rolled back", "stopped"]


def _left_out(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name in (".nbkube", "__pycache__", ".ipynb_checkpoints")]
