"""Work is done once: what is executed again after each kind of change, and what is not."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.runs import Phase
from tests.building import CellText, write_notebook

CELLS: list[CellText] = [
    ("imports", "import csv\nfrom statistics import mean"),
    ("functions", "def scale(rows, factor):\n    return [row * factor for row in rows]"),
    ("parameters", "factor = 2\nlabel = 'run'"),
    ("step:load", "with open('data.csv') as file:\n    rows = [float(line) for line in file]\nlargest = max(rows)"),
    ("step:scale", "scaled = scale(rows, factor)"),
    ("step:count", "csv.QUOTE_ALL\nimport tools\ncount = tools.count(rows)"),
    ("step:report", "title = label.upper()\nresult = (title, sum(scaled), count)"),
    ("pipeline-metrics", "total = sum(scaled)"),
]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    write_notebook(folder / "work.ipynb", CELLS)
    (folder / "nbkube.toml").write_text("")
    (folder / "data.csv").write_text("1\n2\n3\n")
    (folder / "tools.py").write_text("def count(rows):\n    return len(rows)\n")
    (folder / "unused.txt").write_text("nobody reads this\n")
    executed(folder)
    return folder


def executed(folder: Path, *, parameters: Mapping[str, Any] | None = None, options: Any = None) -> set[str]:
    """Run the notebook in a fresh client and return the steps that were executed."""
    state = Client(folder).run(folder / "work.ipynb", parameters=parameters or {}, options=options or {})
    assert state.phase is Phase.SUCCEEDED, state
    return {step.name for step in state.steps if not step.cached}


def edit(folder: Path, old: str, new: str) -> None:
    cells = [(tags, source.replace(old, new)) for tags, source in CELLS]
    assert cells != CELLS
    write_notebook(folder / "work.ipynb", cells)


def test_nothing_changed(project: Path) -> None:
    assert executed(project) == set()


def test_a_comment_and_layout_edited(project: Path) -> None:
    edit(project, "scaled = scale(rows, factor)", "# scaled\nscaled = scale( rows,\n  factor )  # now")
    assert executed(project) == set()


def test_a_data_file_touched(project: Path) -> None:
    os.utime(project / "data.csv")
    assert executed(project) == set()


def test_a_file_nobody_reads_edited_or_added(project: Path) -> None:
    (project / "unused.txt").write_text("changed\n")
    (project / "added.txt").write_text("new\n")
    assert executed(project) == set()


def test_the_last_cell_edited(project: Path) -> None:
    edit(project, "total = sum(scaled)", "total = sum(scaled) + 0")
    assert executed(project) == {"metrics"}


def test_the_last_cell_reads_another_name_of_the_first_step(project: Path) -> None:
    edit(project, "total = sum(scaled)", "total = largest")
    assert executed(project) == {"metrics"}


def test_a_middle_cell_edited(project: Path) -> None:
    edit(project, "scaled = scale(rows, factor)", "scaled = scale(rows, factor + 1)")
    assert executed(project) == {"scale", "report", "metrics"}


def test_a_function_edited_reruns_its_users(project: Path) -> None:
    edit(project, "row * factor", "factor * row + 1")
    assert executed(project) == {"setup", "scale", "report", "metrics"}


def test_one_parameter(project: Path) -> None:
    assert executed(project, parameters={"label": "other"}) == {"setup", "report"}
    assert executed(project, parameters={"factor": 3}) == {"setup", "scale", "report", "metrics"}
    assert executed(project, parameters={"label": "other"}) == set()


def test_one_environment_variable(project: Path) -> None:
    assert executed(project, options={"count": {"env": {"MODE": "fast"}}}) == {"count"}


def test_the_data_file_edited_and_edited_back(project: Path) -> None:
    (project / "data.csv").write_text("1\n2\n4\n")
    assert executed(project) == {"load", "scale", "count", "report", "metrics"}
    (project / "data.csv").write_text("1\n2\n3\n")
    assert executed(project) == set()


def test_a_local_module_edited(project: Path) -> None:
    (project / "tools.py").write_text("def count(rows):\n    return len(rows) + 1\n")
    assert executed(project) == {"count", "report"}


def test_another_notebook_beside_it_edited(project: Path) -> None:
    write_notebook(project / "other.ipynb", [("step:a", "x = 1")])
    assert executed(project) == set()
    write_notebook(project / "other.ipynb", [("step:a", "x = 2")])
    assert executed(project) == set()


def test_the_version_of_a_library_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    libraries = tmp_path / "lib" / "site-packages"

    def install(version: str) -> None:
        shutil.rmtree(libraries, ignore_errors=True)
        info = libraries / f"measures-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: measures\nVersion: {version}\n")
        (info / "RECORD").write_text(f"measures.py,,\n{info.name}/METADATA,,\n")
        (libraries / "measures.py").write_text("def measure(value):\n    return value * 2\n")

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(libraries), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(libraries))
    folder = tmp_path / "project"
    cells: list[CellText] = [
        ("step:load", "value = 21"),
        ("step:measure", "import measures\nmeasured = measures.measure(value)"),
        ("step:other", "other = value + 1"),
        ("pipeline-metrics", "print(measured)"),
    ]
    write_notebook(folder / "work.ipynb", cells)
    install("1.0")
    assert executed(folder) == {"load", "measure", "other", "metrics"}
    assert executed(folder) == set()
    install("1.1")
    assert executed(folder) == {"measure"}
    install("1.0")
    assert executed(folder) == set()
