"""Which databases `dbm` and `shelve` use in a pod: those of the notebook's Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nbkube.runtime.databases import database_kinds

_OPENS_ONE = """
import dbm, sys
from nbkube.runtime.databases import keep_to
keep_to(sys.argv[1])
with dbm.open("store", "c") as store:
    store["x"] = "1"
print(dbm.whichdb("store"), *dbm._modules)
"""


def opened(folder: Path, kinds: str) -> list[str]:
    """Return which kind a new process opened, and those it looked for until then."""
    argv = [sys.executable, "-c", _OPENS_ONE, kinds]
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("kinds", ["dbm.dumb", "dbm.nosuch dbm.dumb"])
def test_only_what_the_notebook_has_is_used(tmp_path: Path, kinds: str) -> None:
    assert opened(tmp_path, kinds) == ["dbm.dumb", "dbm.dumb"]


@pytest.mark.parametrize("kinds", ["", database_kinds()])
def test_where_both_have_the_same_python_chooses(tmp_path: Path, kinds: str) -> None:
    assert opened(tmp_path, kinds)[0] == database_kinds().split()[0]


def test_what_this_python_has() -> None:
    assert database_kinds().split()[-1] == "dbm.dumb"
