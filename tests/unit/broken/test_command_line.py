"""The same corpus through the command line: exit code 2, messages on stderr, JSON on stdout, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nbkube.cli import main
from tests.unit.broken.row import Broken
from tests.unit.broken.test_broken import ALL, GROUPS

_SAMPLE = [rows[len(rows) * part // 2] for rows, _ in GROUPS.values() for part in range(2)]


def _arguments(row: Broken, path: Path, outside: Path) -> list[str]:
    """Return the arguments of `check`; values that are no text are given by a file."""
    given: list[str] = []
    if any(not isinstance(value, str) for value in row.parameters.values()):
        values = outside / "values.json"
        values.write_text(json.dumps(row.parameters))
        given = ["--params", str(values)]
    else:
        given = [part for name, value in row.parameters.items() for part in ("-p", f"{name}={value}")]
    return ["check", str(path), "--json", *given]


def _assert_clear(row: Broken, code: object, out: str, err: str) -> None:
    assert code == 2, err
    assert "Traceback" not in out + err
    found = [one for one in json.loads(out)["diagnostics"] if one["severity"] == "error"]
    assert len(found) == 1 + row.others
    assert row.code in [one["code"] for one in found]
    assert "Fix: " in err


@pytest.mark.parametrize("row", ALL)
def test_in_this_process(
    row: Broken, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = row.make(tmp_path)
    before = _listing(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(_arguments(row, path, tmp_path_factory.mktemp("outside")))
    shown = capsys.readouterr()
    _assert_clear(row, caught.value.code, shown.out, shown.err)
    assert _listing(tmp_path) == before


@pytest.mark.parametrize("row", _SAMPLE, ids=lambda row: row.name)
def test_in_a_process_of_its_own(row: Broken, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> None:
    path = row.make(tmp_path)
    before = _listing(tmp_path)
    command = [sys.executable, "-m", "nbkube", *_arguments(row, path, tmp_path_factory.mktemp("outside"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment, check=False
    )
    _assert_clear(row, done.returncode, done.stdout, done.stderr)
    assert _listing(tmp_path) == before


def _listing(folder: Path) -> dict[str, Any]:
    return {str(one): ((status := one.lstat()).st_size, status.st_mtime_ns) for one in folder.rglob("*")}
