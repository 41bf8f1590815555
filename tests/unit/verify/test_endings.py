"""Notebooks that fail, differences of one run only, tolerances, notebooks in folders."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nbkube.client import Client
from nbkube.errors import NotebookError, RunError
from nbkube.storage import open_store
from nbkube.verify.session import Session, kernel_environment
from tests.building import CellText, write_notebook
from tests.unit.verify.proof import plan_of, verdict

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
FAILING: list[CellText] = [("step:a", "x = 1"), ("step:b", "y = x / 0"), ("step:c", "z = 1")]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "nbkube.toml").touch()
    return folder


def test_both_fail_in_the_same_way(project: Path) -> None:
    found = verdict(project, FAILING)
    assert found.equal
    assert found.failure == "fails in cell 2 with ZeroDivisionError: division by zero"


def test_both_die_in_the_same_cell(project: Path) -> None:
    found = verdict(project, [("step:a", "x = 1"), ("step:b", "import os\nos._exit(3)"), ("step:c", "y = 1")])
    assert found.equal
    assert found.failure.startswith("fails in cell 2")


def test_a_kernel_that_cannot_start_says_why(project: Path, tmp_path: Path) -> None:
    notebook = write_notebook(project / "work.ipynb", [("step:a", "x = 1")])
    plan = plan_of(notebook)
    (tmp_path / "session").mkdir()
    files = plan.files(tmp_path / "files")
    session = Session(files, "nowhere", tmp_path / "session", open_store(tmp_path / "store"), kernel_environment())
    with pytest.raises(RunError, match=r"kernel did not start: .*nowhere"):
        session.__enter__()


def test_the_pipeline_fails_otherwise(project: Path) -> None:
    found = verdict(project, FAILING, pipeline=[FAILING[0], ("step:b", "y = x + 'a'"), FAILING[2]])
    assert [one.aspect for one in found.differences] == ["outcome"]
    assert "TypeError" in found.differences[0].right


def test_only_the_notebook_fails(project: Path) -> None:
    found = verdict(project, FAILING, pipeline=[FAILING[0], ("step:b", "y = x"), FAILING[2]])
    assert found.differences[0].right == "ends well"


def test_a_difference_of_one_run_is_said_to_be_of_that_run(project: Path) -> None:
    cells: list[CellText] = [("step:a", "x = 1"), ("step:b", "y = x")]
    found = verdict(project, cells, pipeline=[cells[0], ("step:b", "y = x + 1")], only_adversarial=True)
    assert [(one.name, one.run) for one in found.differences] == [("y", "adversarial")]


def test_a_notebook_that_sometimes_fails_cannot_be_verified(project: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    source = f"import os\nassert not os.path.exists({str(mark)!r})\n_ = open({str(mark)!r}, 'w').close()"
    with pytest.raises(RunError, match="failed the second time"):
        verdict(project, [("step:a", source)], pipeline=[("step:a", "import os")])


def test_a_value_that_does_not_load_is_a_difference(project: Path) -> None:
    # Loads in the step's process, where it is tried, and not in a kernel.
    source = """\
import os
class Shy:
    def __getstate__(self):
        return {'x': 1}
    def __setstate__(self, state):
        assert 'JPY_PARENT_PID' not in os.environ, 'not in a kernel'
shy = Shy()
bold = 1
"""
    found = verdict(project, [("step:a", source)])
    assert [one.name for one in found.differences] == ["shy"]
    assert found.differences[0].right == "cannot be loaded: AssertionError: not in a kernel"


def test_paths_are_those_of_the_project(project: Path) -> None:
    (project / "notebooks").mkdir()
    (project / "data.csv").write_text("1\n2\n")
    cells: list[CellText] = [
        ("step:a", "from pathlib import Path\nhere = Path.cwd()\nrows = open('../data.csv').read().split()"),
        ("step:b", "_ = (here / 'sum.txt').write_text(str(len(rows)))\nplace = str(here)"),
    ]
    notebook = write_notebook(project / "notebooks" / "work.ipynb", cells)
    found = Client(project).verify(notebook)
    assert found.differences == ()
    assert not (project / "notebooks" / "sum.txt").exists()
    assert not (project / ".nbkube").exists()


def test_a_tolerance_written_in_the_notebook(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # An environment variable stands for what makes small differences: another processor, another number of threads.
    cells: list[CellText] = [
        ("step:a", "import os\nloss = 1.0 + 1e-9 * ('NBKUBE_TEST_TILT' in os.environ)\nexact = loss"),
        ("pipeline-metrics", "final = loss"),
    ]
    notebook = write_notebook(project / "work.ipynb", cells, nbkube={"tolerance": {"loss": 1e-6, "final": 1e-6}})
    client = Client(project)
    tilted = {**kernel_environment(), "NBKUBE_TEST_TILT": "1"}
    monkeypatch.setattr("nbkube.verify.check.kernel_environment", lambda: tilted)
    found = client.verify(notebook)
    assert [one.name for one in found.differences] == ["exact"]


def test_a_tolerance_that_is_none(project: Path) -> None:
    notebook = write_notebook(project / "work.ipynb", [("step:a", "x = 1")], nbkube={"tolerance": "small"})
    with pytest.raises(NotebookError, match="tolerance"):
        Client(project).verify(notebook)


def test_the_verdict_is_json(project: Path) -> None:
    found = verdict(project, [("step:a", "x = 1")], pipeline=[("step:a", "x = 2")])
    plain = msgspec.to_builtins(found.differences[0])
    assert plain == {"aspect": "variable", "name": "x", "path": "x", "left": "1", "right": "2", "run": "both"}
