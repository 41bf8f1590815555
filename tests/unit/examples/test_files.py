"""The committed example files themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest

from tests.unit.examples.notebooks import EXAMPLES

NOTEBOOKS = sorted(EXAMPLES.rglob("*.ipynb"))


def test_every_example_is_here() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["diabetes", "digits", "sentiment"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_example_is_a_valid_notebook_without_outputs(path: Path) -> None:
    document = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(document)
    assert (document["nbformat"], document["nbformat_minor"]) == (4, 5)
    for cell in document["cells"]:
        assert re.fullmatch(r"[a-z][a-z0-9-]+", cell["id"]), "ids are words, so that they stay when cells move"
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_an_example_explains_itself_and_is_tagged(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    tags = [tag for cell in cells for tag in cell["metadata"].get("tags", [])]
    assert cells[0]["cell_type"] == "markdown"
    assert sum(cell["cell_type"] == "markdown" for cell in cells) >= 5
    assert {"imports", "parameters", "checks", "pipeline-metrics"} <= set(tags)
    assert sum(tag.startswith("step:") for tag in tags) >= 5
    assert not any(tag.startswith("prev:") for tag in tags), "edges are found, not written"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_parameter_has_a_help_comment(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    (cell,) = (cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    for line in "".join(cell["source"]).splitlines():
        assert re.fullmatch(r"\w+ = .+  # \S.+", line), line
