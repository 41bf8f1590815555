"""Percent scripts are read as notebooks; tags and changed cells are written back, nothing else."""

from __future__ import annotations

import difflib
import json
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbkube.client import Client
from nbkube.errors import NotebookError
from nbkube.notebook import read_notebook, set_sources, set_tags

SCRIPT = '''\
# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A title

# %% tags=["parameters"]
n = 2  # how many

# %% load the data  tags=["step:load"]  nbkube={"cpu": "2",  "memory": "1Gi"}
# %matplotlib inline
# !echo hello
x = list(range(n))


# %% {"tags": ["step:sum"], "nbkube": {"timeout": "1h"}}
text = """
as text
"""
total = sum(x)

# %%
# %%time
print(total)
'''


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "work.py"
    path.write_text(SCRIPT)
    return path


def changed(before: str, path: Path) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), path.read_text().splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("+++", "---")]


def test_cells_tags_and_options(script: Path) -> None:
    cells = read_notebook(script).cells
    assert [(cell.number, cell.code_number, cell.tags, cell.options) for cell in cells] == [
        (2, 1, ("parameters",), {}),
        (3, 2, ("step:load",), {"cpu": "2", "memory": "1Gi"}),
        (4, 3, ("step:sum",), {"timeout": "1h"}),
        (5, 4, (), {}),
    ]
    assert cells[1].source == "%matplotlib inline\n!echo hello\nx = list(range(n))"
    assert cells[3].source == "%%time\nprint(total)"
    assert read_notebook(script).diagnostics == ()


def test_it_runs_as_the_notebook_would(script: Path) -> None:
    client = Client(script.parent)
    assert [step.name for step in client.show(script).steps] == ["setup", "load", "sum"]
    assert client.run(script, parameters={"n": "4"}).phase == "Succeeded"
    shown = "".join(piece.text for _, piece in client.logs("last", "sum"))
    assert shown.startswith("6\n")
    assert client.check(script) == ()


@pytest.mark.parametrize(
    ("cell", "tags", "options", "line"),
    [
        (
            3,
            ["step:get", "x y"],
            None,
            '# %% load the data  tags=["step:get", "x y"]  nbkube={"cpu": "2",  "memory": "1Gi"}',
        ),
        (3, [], {"gpu": "1"}, '# %% load the data  nbkube={"gpu": "1"}'),
        (4, ["step:add"], None, '# %% {"nbkube": {"timeout": "1h"}, "tags": ["step:add"]}'),
        (5, ["step:show"], {"cpu": "1"}, '# %% tags=["step:show"] nbkube={"cpu": "1"}'),
        (2, [], None, "# %%"),
    ],
)
def test_only_the_line_that_begins_the_cell_changes(
    script: Path, cell: int, tags: list[str], options: dict[str, str] | None, line: str
) -> None:
    assert set_tags(script, cell, tags=tags, options=options)
    before = [one for one in changed(SCRIPT, script) if one[0] == "-"]
    assert [one for one in changed(SCRIPT, script) if one[0] == "+"] == ["+" + line]
    assert len(before) == 1
    found = next(one for one in read_notebook(script).cells if one.number == cell)
    assert list(found.tags) == tags
    assert not set_tags(script, cell, tags=tags, options=options), "a second time nothing changes"


def test_a_first_cell_without_a_line_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "work.py"
    path.write_bytes(b"import os\r\n\r\n# %%\r\nx = 1\r\n")
    assert set_tags(path, 1, tags=["imports"])
    assert path.read_bytes() == b'# %% tags=["imports"]\r\nimport os\r\n\r\n# %%\r\nx = 1\r\n'


def test_a_changed_cell_goes_back_with_its_magics(script: Path) -> None:
    digest = read_notebook(script).digest
    set_sources(script, {3: "%matplotlib inline\n!echo bye\nx = [n]", 5: "print(total + 1)"}, digest=digest)
    assert changed(SCRIPT, script) == [
        "-# !echo hello",
        "-x = list(range(n))",
        "+# !echo bye",
        "+x = [n]",
        "-# %%time",
        "-print(total)",
        "+print(total + 1)",
    ]
    assert read_notebook(script).cells[1].source == "%matplotlib inline\n!echo bye\nx = [n]"


def test_an_opened_step_of_a_script_goes_back_to_it(script: Path) -> None:
    script.write_text(SCRIPT.replace("total = sum(x)", "total = 1 / (len(x) - 2)"))
    client = Client(script.parent)
    opened = client.open_step(client.run(script).id, "sum").path
    raw = json.loads(opened.read_text())
    for cell in raw["cells"]:
        cell["source"] = [line.replace("1 / (len(x) - 2)", "sum(x)") for line in cell["source"]]
    opened.write_text(json.dumps(raw))
    client.apply(client.changes_of(opened))
    assert script.read_text() == SCRIPT


def test_what_looks_like_a_cell_inside_a_text_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "work.py"
    text = '# %%\na = """\n# %%\n"""\n\n# %%\nb = 1\n'
    path.write_text(text)
    assert set_tags(path, 2, tags=["step:a"])
    assert path.read_text() == text.replace("# %%\nb", '# %% tags=["step:a"]\nb')


def test_an_edit_that_would_change_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "work.py"
    # An older kind of mark, which begins a cell, too.
    text = "# %%\na = 1\n\n# In[2]:\n\nb = 1\n# %%\nc = 1\n"
    path.write_text(text)
    with pytest.raises(NotebookError, match="cannot be edited so that nothing else changes; it is as it was"):
        set_sources(path, {1: "# %%\nd = 1"}, digest=read_notebook(path).digest)
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import os\nprint(1)\n", "is a Python script without cells. Fix: begin each cell with a line `# %%`"),
        ("", "is empty"),
        ("# %%\nx = (\n", "is not valid Python"),
    ],
)
def test_files_that_are_no_percent_scripts(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "work.py"
    path.write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "nbkube", "check", path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_without_jupytext_it_says_what_to_install(script: Path, tmp_path: Path) -> None:
    (tmp_path / "jupytext.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
         f"from nbkube.cli import main; main(['show', {str(script)!r}])"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "reading it needs jupytext. Fix: pip install 'nbkube[jupytext]'" in done.stderr


@given(
    st.lists(
        st.sampled_from(
            ["x = 1", "%ls", "!ls a", "# a comment", "", "y = '# %%'", "%%time\nx", "if x:\n    !ls", "f = 'é'"]
        ),
        min_size=1,
        max_size=5,
    ),
    st.integers(0, 4),
    st.lists(st.sampled_from(["step:a", "prev:b", 'quo"te', "a b"]), max_size=2, unique=True),
)
def test_tags_of_any_script_that_jupytext_writes(
    tmp_path_factory: pytest.TempPathFactory, sources: list[str], at: int, tags: list[str]
) -> None:
    notebook = jupytext.reads("# %%\n", fmt="py:percent")
    cell = notebook.cells[0]
    notebook.cells = [type(cell)({**cell, "id": f"c{number}", "source": one}) for number, one in enumerate(sources)]
    path = tmp_path_factory.mktemp("any") / "work.py"
    path.write_text(jupytext.writes(notebook, fmt="py:percent"))
    before = read_notebook(path)
    number = before.cells[at % len(before.cells)].number
    set_tags(path, number, tags=tags)
    after = read_notebook(path)
    assert [one.source for one in after.cells] == [one.source for one in before.cells]
    assert {one.number: list(one.tags) for one in after.cells if one.tags} == ({number: tags} if tags else {})
