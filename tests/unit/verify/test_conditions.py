"""Steps under a condition are left out by the notebook's kernel as by the pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building import CellText
from tests.unit.verify.proof import verdict

pytestmark = pytest.mark.slow


def cells(condition: str) -> list[CellText]:
    return [
        ("step:a", "x = 1\ny = 'as it was'"),
        ("", f"%%step b --when '{condition}'\ny = 'changed'\nextra = x"),
        ("step:c", "z = (x, y)"),
    ]


@pytest.mark.parametrize("condition", ["x > 1", "x < 2"])
def test_both_leave_out_or_run_the_same(tmp_path: Path, condition: str) -> None:
    project = tmp_path / "project"
    project.mkdir()
    found = verdict(project, cells(condition))
    assert found.equal, found.differences


def test_a_pipeline_that_decides_otherwise_is_found_out(tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    found = verdict(project, cells("x > 1"), pipeline=cells("x > 0"))
    assert {one.name for one in found.differences} == {"y", "extra", "z"}
