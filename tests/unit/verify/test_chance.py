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


def test_shuffled_labels(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    found = verdict(project, CELLS)
    assert found.equal, found.differences
    assert set(found.varying) >= {"labels", "column", "frame"}
