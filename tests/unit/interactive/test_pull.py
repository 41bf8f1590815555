"""Results come into a kernel; what the kernel has of its own stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.client import Client
from tests.building import CellText, write_notebook
from tests.unit.interactive.kernel import LiveKernel, live_kernel

CELLS: list[CellText] = [
    ("imports", "import math"),
    (
        "functions",
        "class Box:\n    def __init__(self, x):\n        self.x = x\n    def doubled(self):\n        return 2 * self.x",
    ),
    ("functions", "def total():\n    return sum(box.x for box in boxes) + offset"),
    ("step:load", "offset = 10\none = Box([1])\nboxes = [Box(1), Box(2)]\nmade = {'one': one, 'again': one}"),
    ("step:sum", "result = total()\nhow = total\nlast = (n for n in ())"),
]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pull")
    client = Client(folder)
    assert client.run(write_notebook(folder / "work.ipynb", CELLS)).phase == "Succeeded"
    return folder


def load(kernel: LiveKernel, *sources: str) -> None:
    for source in ("%load_ext nbkube", *sources):
        kernel.run_well(source)


def test_all_results_of_a_step_with_what_they_share(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel)
        assert "Bound: boxes, made, offset, one." in kernel.run_well("%nbkube pull last load").text
        assert kernel.run_well("made['one'] is one and made['again'] is one, boxes[1].doubled()").values == [
            "(True, 4)"
        ]


def test_single_names_functions_see_the_kernels_names(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel, "offset = 100")
        kernel.run_well("%nbkube pull last sum total boxes")
        assert kernel.run_well("total(), total.__globals__ is globals()").values == ["(103, True)"]


def test_the_kernels_equal_class_is_the_class_of_what_comes(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel, CELLS[1][1], "mine = Box")
        shown = kernel.run_well("%nbkube pull last load one Box")
        assert "Bound: one." in shown.text
        assert "The same here already: Box." in shown.text
        assert kernel.run_well("isinstance(one, Box), Box is mine").values == ["(True, True)"]


def test_a_class_in_another_version_stays_and_the_other_comes_beside_it(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel, "class Box:\n    'mine'\nmine = Box", "def total():\n    return 'mine'", "offset = -1")
        shown = kernel.run_well("%nbkube pull last sum one how total result")
        assert "Bound: one, how, result." in shown.text
        assert "Not those of this kernel, which stay as they are: pulled.total, pulled.Box." in shown.text
        assert kernel.run_well("Box is mine, total(), offset").values == ["(True, 'mine', -1)"]
        assert kernel.run_well("type(one) is pulled.Box, one.doubled()").values == ["(True, [1, 1])"]
        # What came beside sees the run's names, not the kernel's.
        assert kernel.run_well("pulled.total(), how is pulled.total, result").values == ["(13, True, 13)"]


def test_nothing_of_the_kernel_is_overwritten_unasked(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel, "one = 'mine'\nboxes = 'mine'")
        shown = kernel.run("%nbkube pull last load one offset boxes")
        assert "This kernel has one, boxes already. Fix: name what you want, or add --overwrite." in shown.text
        assert kernel.run_well("one, boxes, 'offset' in globals()").values == ["('mine', 'mine', False)"]
        kernel.run_well("%nbkube pull last load one offset --overwrite")
        assert kernel.run_well("one.x, boxes, offset").values == ["([1], 'mine', 10)"]


def test_what_is_not_there_is_said(project: Path) -> None:
    with live_kernel(project) as kernel:
        load(kernel)
        shown = kernel.run("%nbkube pull last sum reslt")
        assert "there is no `reslt` after this step, which put out: how, last, result." in shown.text
        assert "Traceback" not in shown.text
        assert "`last`" in kernel.run("%nbkube pull last sum last").text
        shown = kernel.run_well("%nbkube pull last sum")
        assert "Bound: how, result." in shown.text
        assert "Not stored: last" in shown.text
