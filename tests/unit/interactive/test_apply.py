"""What was mended in an opened step goes back to its notebook, and nothing else does."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.errors import NbkubeError, NotebookError, NotFoundError
from tests.unit.documents import code, document, written

CELLS = (
    code("a = 1\n", "parameters"),
    code("%%step fit --retries 0\nb = a\n", options={"timeout": "1h"}, outputs=[]),
    code(["c = 0  # é\n", "1 / c"], collapsed=True),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, Path]:
    folder = tmp_path_factory.mktemp("apply")
    notebook = written(folder, document(*CELLS), "work.ipynb")
    client = Client(folder)
    opened = client.open_step(client.run(notebook).id, "fit")
    return notebook.read_bytes(), opened.path


@pytest.fixture
def case(made: tuple[bytes, Path], tmp_path: Path) -> tuple[Path, Path]:
    data, opened = made
    (tmp_path / "work.ipynb").write_bytes(data)
    copy = tmp_path / "opened.ipynb"
    copy.write_bytes(opened.read_bytes())
    return tmp_path / "work.ipynb", copy


def edit(opened: Path, number: int, source: str) -> None:
    raw = json.loads(opened.read_text())
    for cell in raw["cells"]:
        if cell["metadata"].get("nbkube_source", {}).get("cell") == number:
            cell["source"] = source.splitlines(keepends=True)
    opened.write_text(json.dumps(raw))


def test_only_the_source_of_the_changed_cells_is_touched(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    before = notebook.read_text()
    edit(opened, 2, "%%replayed\nb = a + 1\n")
    edit(opened, 3, 'c = 4  # é "quoted"\n1 / c')
    client = Client()
    changes = client.changes_of(opened)
    assert notebook.read_text() == before
    client.apply(changes)
    lines = difflib.unified_diff(before.splitlines(), notebook.read_text().splitlines(), n=0, lineterm="")
    assert [line.strip() for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")] == [
        '-   "source": "%%step fit --retries 0\\nb = a\\n"',
        '+   "source": "%%step fit --retries 0\\nb = a + 1\\n"',
        '-    "c = 0  # é\\n",',
        '+    "c = 4  # é \\"quoted\\"\\n",',
    ]
    assert client.changes_of(opened).edits == (), "a second time there is nothing to do"


def test_the_difference_is_shown_cell_by_cell(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    edit(opened, 3, "c = 4  # é\n1 / c")
    assert Client().changes_of(opened).diff() == (
        f"--- {notebook}:cell 3 (c3)\n+++ {notebook}:cell 3 (c3)\n@@ -1,2 +1,2 @@\n-c = 0  # é\n+c = 4  # é\n 1 / c\n"
    )


def test_nothing_is_written_where_a_cell_has_changed_since(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    edit(opened, 2, "b = 5\n")
    edit(opened, 3, "c = 4\n")
    raw = json.loads(notebook.read_text())
    raw["cells"][2]["source"] = ["c = 2\n", "1 / c"]
    notebook.write_text(json.dumps(raw))
    with pytest.raises(NotebookError, match=r"work.ipynb:cell 3 \(c3\): this cell has changed in the notebook since"):
        Client().changes_of(opened)


def test_a_cell_that_has_moved_is_found_by_its_id(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    edit(opened, 3, "c = 4\n")
    raw = json.loads(notebook.read_text())
    raw["cells"].insert(0, {**raw["cells"][0], "id": "new"})
    notebook.write_text(json.dumps(raw))
    assert [one.number for one in Client().changes_of(opened).edits] == [4]
    del raw["cells"][3]
    notebook.write_text(json.dumps(raw))
    with pytest.raises(NotebookError, match="cell 3 of the run is no longer there"):
        Client().changes_of(opened)


def test_a_change_while_the_person_thinks_is_not_overwritten(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    edit(opened, 3, "c = 4\n")
    changes = Client().changes_of(opened)
    notebook.write_text(notebook.read_text() + "\n")
    before = notebook.read_bytes()
    with pytest.raises(NotebookError, match="was changed by another program meanwhile"):
        Client().apply(changes)
    assert notebook.read_bytes() == before


def test_values_given_for_parameters_are_never_written_back(tmp_path: Path) -> None:
    notebook = written(tmp_path, document(code("a = 1", "parameters"), code("1 / a", "step:fit")), "work.ipynb")
    client = Client(tmp_path)
    opened = client.open_step(client.run(notebook, parameters={"a": "3"}).id, "setup").path
    assert client.changes_of(opened).edits == ()
    edit(opened, 1, "a = 7")
    with pytest.raises(NotebookError, match="the run gave this cell's parameters other values"):
        client.changes_of(opened)


def test_files_that_are_no_opened_steps(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    with pytest.raises(NbkubeError, match="is no opened step. Fix: give a file that nbkube open has written"):
        Client().changes_of(notebook)
    notebook.rename(notebook.with_name("renamed.ipynb"))
    with pytest.raises(NotFoundError, match="the notebook is not there. Fix: name it with --to NOTEBOOK"):
        Client().changes_of(opened)
    assert Client().changes_of(opened, notebook.with_name("renamed.ipynb")).edits == ()


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        {"nbkube_source": 1},
        {"nbkube_source": {"notebook": 1}},
        {"nbkube_source": {"notebook": "a\0b"}},
        {"nbkube_source": {"notebook": ""}},
    ],
)
def test_metadata_that_others_have_written(case: tuple[Path, Path], metadata: object) -> None:
    _, opened = case
    raw = json.loads(opened.read_text())
    opened.write_text(json.dumps({**raw, "metadata": metadata}))
    with pytest.raises(NbkubeError, match="is no opened step"):
        Client().changes_of(opened)


@pytest.mark.parametrize("kept", [{"cell": "x"}, {"cell": 1, "id": 2, "sha256": ""}, {"cell": 1, "id": "c1"}])
def test_cells_that_others_have_written(case: tuple[Path, Path], kept: object) -> None:
    _, opened = case
    raw = json.loads(opened.read_text())
    raw["cells"][1]["metadata"] = {"nbkube_source": kept}
    opened.write_text(json.dumps(raw))
    with pytest.raises(NbkubeError, match="is no opened step"):
        Client().changes_of(opened)


def command(*arguments: object, answer: str = "") -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "nbkube", *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, input=answer, timeout=60, check=False)


def test_on_the_command_line_nobody_is_asked_who_is_not_there(case: tuple[Path, Path]) -> None:
    notebook, opened = case
    edit(opened, 3, "c = 4  # é\n1 / c")
    before = notebook.read_bytes()
    done = command("apply", opened)
    assert (done.returncode, "+c = 4" in done.stdout) == (2, True)
    assert "There is nobody to ask, and nothing has been written. Fix: add --yes." in done.stderr
    assert notebook.read_bytes() == before
    done = command("apply", opened, "--yes")
    assert (done.returncode, "1 cell written." in done.stderr) == (0, True)
    done = command("apply", opened, "--json")
    assert json.loads(done.stdout) == {"notebook": str(notebook), "edits": [], "diff": "", "written": False}
