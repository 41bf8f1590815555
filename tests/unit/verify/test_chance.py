"""Arrays that vary by themselves are excused wherever their first other element happens to be."""

from __future__ import annotations

from pathlib import Path

from tests.building import CellText
from tests.unit.verify.proof import verdict

CELLS: list[CellText] = [
    ("imports", "import numpy as np\nimport pandas as pd"),
    (
        "step:draw",
        "labels = np.random.permutation(np.arange(50) // 10)\ncolumn = pd.Series(np.random.permutation(50) % 5)",
    ),
    ("step:use", "frame = pd.DataFrame({'labels': labels, 'fixed': np.arange(50)})"),
]


def _turn(count: Path) -> str:
    """Return the beginning of a cell: `turn` tells how often it has run before, in notebook and pipeline together."""
    read = f"path = {str(count)!r}\nturn = len(open(path).read()) if __import__('os').path.exists(path) else 0\n"
    return read + "_ = open(path, 'a').write('x')\n"


def test_shuffled_labels(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    found = verdict(project, CELLS)
    assert found.equal, found.differences
    assert set(found.varying) >= {"labels", "column", "frame"}


def test_a_draw_of_few_values_that_was_equal_by_chance(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    # The notebook's runs draw 0, 0, 1, … one after the other: two are equal, the pipeline and further runs are not.
    draw = _turn(tmp_path / "count.txt")
    draw += "noise = turn\ndrawn = 0 if turn in (0, 3) else turn\ndel turn"
    found = verdict(project, [("step:draw", draw), ("pipeline-metrics", "print(drawn)")])
    assert found.equal, found.differences
    assert "drawn" in found.varying


def test_a_size_that_was_equal_by_chance(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    # Three runs of the notebook draw 3, the pipeline and the fourth draw others.
    draw = _turn(tmp_path / "count.txt")
    draw += "import numpy as np\nsize = 3 if turn in (0, 3, 4) else 4 + turn\ndel turn"
    found = verdict(project, [("step:draw", draw), ("step:use", "drawn = np.zeros(size)\ndel size")])
    assert found.equal, found.differences
    assert "drawn" in found.varying


def test_a_file_that_was_equal_by_chance(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    draw = _turn(tmp_path / "count.txt")
    draw += "order = 'ab' if turn in (0, 3) else 'ba'\n"
    draw += "_ = open('order.txt', 'w').write(order)\ndel turn, order"
    found = verdict(project, [("step:write", draw)])
    assert found.equal, found.differences
    assert "order.txt" in found.varying
