"""Pickles written by a notebook are compared by what they hold where their bytes differ."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.building import CellText
from tests.unit.verify.proof import verdict

CELLS: list[CellText] = [
    ("imports", "import pickle"),
    ("step:make", "word = 'gr' + str(1)[:0] + 'een'\ncolours = [word, word, {word: [1, 2]}]"),
    ("step:save", "with open('colours.pkl', 'wb') as file:\n    pickle.dump([colours, word + ''], file)"),
]


@pytest.mark.parametrize(("number", "equal"), [("[1, 2]", True), ("[1, 3]", False)])
def test_a_pickle_with_other_bytes(tmp_path: Path, number: str, equal: bool) -> None:
    project = tmp_path / "project"
    project.mkdir()
    # An equal string that is another object: other bytes, the same content.
    changed = CELLS[2][1].replace("[colours, word + '']", "[colours, ''.join(list(word))]").replace("colours,", "own,")
    own = f"own = [word, word, {{word: {number}}}]\n"
    pipeline = [*CELLS[:2], ("step:save", own + changed + "\ndel own")]
    found = verdict(project, CELLS, pipeline=pipeline)
    assert [one.name for one in found.differences] == ([] if equal else ["colours.pkl"])
