"""Each example runs from top to bottom as an ordinary notebook."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.examples.notebooks import copy_of, run


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_digits(tmp_path: Path) -> None:
    printed = run(copy_of("digits", tmp_path))
    accuracy, mistakes = printed["metrics"].split()
    assert float(accuracy) > 0.97
    assert int(mistakes) < 14
    assert files(tmp_path / "results") == ["confusion.csv", "model.joblib", "scores.json"]
    assert json.loads((tmp_path / "results/scores.json").read_text())["scores"].keys() == {"forest", "neighbours"}


def test_diabetes(tmp_path: Path) -> None:
    printed = run(copy_of("diabetes", tmp_path))
    r2, error = map(float, printed["metrics"].split())
    assert 0.35 < r2 < 0.6
    assert 35 < error < 50
    assert files(tmp_path / "figures") == ["bmi.png", "correlation.png", "guesses.png"]
    assert files(tmp_path / "tables") == ["patients.csv", "scores.csv", "summary.json"]
    assert "- 9 outliers pulled in (hdl most)" in (tmp_path / "report.md").read_text()


def test_a_parameter_changes_the_result(tmp_path: Path) -> None:
    printed = run(copy_of("digits", tmp_path), trees=1, test_size=0.5)
    assert "899 to test on" in printed["split"]
    forest = float(printed["compare"].splitlines()[0].split()[1])
    assert forest < 0.9, "one tree cannot read so well"


@pytest.mark.parametrize("values", [{"neighbours": 900}], ids=["too many neighbours"])
def test_a_check_stops_a_bad_result(tmp_path: Path, values: dict[str, int]) -> None:
    path = copy_of("digits", tmp_path)
    with pytest.raises(Exception, match="reads only .* of the digits"):
        run(path, trees=1, **values)
    assert not (tmp_path / "results").exists()
