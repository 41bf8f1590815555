"""A run begins with what a live kernel has: its values, definitions, settings, and nobody else finds the results."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.runs import Phase
from tests.building import CellText, write_notebook
from tests.unit.interactive.kernel import LiveKernel, live_kernel

CELLS: list[CellText] = [
    ("imports", "import decimal\nimport os\nimport random\nimport numpy as np"),
    ("imports", "decimal.getcontext().prec = 5"),
    ("functions", "def grow(x):\n    return x + step_size"),
    ("parameters", "step_size = 1"),
    ("step:slow", "open('slow.txt', 'a').write('ran ')\nrows = [1, 2]\nsame = {'rows': rows}\nrandom.seed(3)"),
    (
        "step:use",
        "total = grow(sum(rows))\nrows.append(3)\nshared = same['rows'] is rows\nthird = str(decimal.Decimal(1) / 3)\n"
        "where = os.path.basename(os.getcwd())\ncolour = os.environ.get('COLOUR')\ndrawn = random.random()",
    ),
    ("step:end", "print(total, shared, third, where, colour, len(same['rows']), drawn)"),
]


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    (tmp_path / "nbkube.toml").write_text("")
    (tmp_path / "inner").mkdir()
    return write_notebook(tmp_path / "work.ipynb", CELLS)


def executed(kernel: LiveKernel, *sources: str) -> None:
    for source in ("%load_ext nbkube", *sources):
        kernel.run_well(source)


def test_values_definitions_and_settings_are_the_kernels(notebook: Path) -> None:
    cells = [source for _, source in CELLS]
    with live_kernel(notebook.parent) as kernel:
        executed(kernel, *cells[:5], "rows.append(100)", "def grow(x):\n    return -x", "decimal.getcontext().prec = 3")
        executed(kernel, "os.environ['COLOUR'] = 'blue'", "os.chdir('inner')")
        shown = kernel.run_well(f"%nbkube run {notebook} --from use").text
        assert "what has been run here and is in no cell before: `rows.append(100)`, `def grow(x):`" in shown
        assert "the kernel's grow is not the one that the cells define; the run takes the kernel's" in shown
        assert "Succeeded in" in shown
        expected = kernel.run_well("random.random()").values[0]
        assert kernel.run_well("rows, os.path.basename(os.getcwd())").values == ["([1, 2, 100], 'inner')"]
    client = Client(notebook.parent)
    state = client.status("last")
    assert [step.name for step in state.steps] == ["use", "end"]
    assert state.run.begins == "use"
    printed = "".join(piece.text for _, piece in client.logs("last", "end"))
    assert printed == f"-103 True 0.333 inner blue 4 {expected}\n"
    assert (notebook.parent / "slow.txt").read_text() == "ran ", "the kernel's own run, and no other"


def test_no_other_run_finds_the_results(notebook: Path) -> None:
    client = Client(notebook.parent)
    with live_kernel(notebook.parent) as kernel:
        executed(kernel, *[source for _, source in CELLS[:5]])
        shown = kernel.run_well(f"%nbkube run {notebook} --from use").text
        assert "Not as in the notebook" not in shown
    live = client.status("last")
    plain = client.run(notebook)
    assert plain.phase is Phase.SUCCEEDED
    assert not any(step.cached for step in plain.steps)
    assert {step.manifest for step in plain.steps}.isdisjoint(step.manifest for step in live.steps)
    # And what it began with can be opened again.
    opened = client.open_step(live.id, "use")
    with live_kernel(notebook.parent) as kernel:
        first, second = kernel.run_all(opened.path)
        assert (first.error, second.error) == ("", "")
        assert kernel.run_well("total, shared, grow(1)").values == ["(4, True, 2)"]


def test_what_the_kernel_lacks_is_said_before_anything_is_run(notebook: Path) -> None:
    with live_kernel(notebook.parent) as kernel:
        executed(kernel, CELLS[2][1], "same = (n for n in ())")
        shown = kernel.run(f"%nbkube run {notebook} --from use").text
        assert (
            "work.ipynb:cell 6 (cell-6):line 1: `rows` is not in this kernel. Fix: run step slow in the kernel" in shown
        )
        assert (
            "work.ipynb:cell 1:line 1: this import has not been run in this kernel, and decimal is used later" in shown
        )
        executed(kernel, *[source for _, source in CELLS[:5]], "same = (n for n in ())")
        shown = kernel.run(f"%nbkube run {notebook} --from use").text
        assert "`same`" in shown
        shown = kernel.run(f"%nbkube run {notebook} --from used").text
        assert "there is no step 'used'. The steps of" in shown
    assert Client(notebook.parent).runs() == []


def test_it_says_where_the_kernel_is_not_what_the_notebook_says(notebook: Path) -> None:
    (notebook.parent / "helpers.py").write_text("def one():\n    return 1\n")
    with live_kernel(notebook.parent) as kernel:
        executed(kernel, CELLS[0][1], "import helpers", CELLS[4][1], CELLS[2][1], "step_size = 7")
        (notebook.parent / "helpers.py").write_text("def one():\n    return 2\n")
        shown = kernel.run_well(f"%nbkube run {notebook} --from use -q").text
    assert "Not as in the notebook: cells 2, 4 have not been run here as they are written." in shown
    assert "is in no cell before: `import helpers`, `step_size = 7`." in shown
    assert "cells have been run in the order 1, 5, 3." in shown
    assert "the module helpers is not what its file says now; the run takes the file." in shown
