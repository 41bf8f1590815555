"""Every broken input gets one clear message with its place and the way out: no traceback, nothing written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbkube.errors import Diagnostic, NotebookError
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline, check
from tests.unit.broken import files, formats, names, parameters, quantities, sources, tags
from tests.unit.broken.accepted import ACCEPTED
from tests.unit.broken.row import Broken
from tests.unit.documents import written

GROUPS = {
    "files": (files.ROWS, 65),
    "formats": (formats.ROWS, 40),
    "tags": (tags.ROWS, 40),
    "quantities": (quantities.ROWS, 30),
    "sources": (sources.ROWS, 20),
    "names": (names.ROWS, 25),
    "parameters": (parameters.ROWS, 25),
}
ALL = [pytest.param(row, id=f"{group}-{row.name}") for group, (rows, _) in GROUPS.items() for row in rows]


@pytest.mark.parametrize("group", GROUPS)
def test_the_corpus_is_as_large_as_promised(group: str) -> None:
    rows, least = GROUPS[group]
    assert len(rows) >= least
    assert len({row.name for row in rows}) == len(rows)


@pytest.mark.parametrize("row", ALL)
def test_one_clear_message_and_nothing_written(row: Broken, tmp_path: Path) -> None:
    path = row.make(tmp_path)
    before = _listing(tmp_path)
    found = _errors(path, row.parameters)
    assert _listing(tmp_path) == before
    assert len(found) == 1 + row.others
    one = next(one for one in found if one.code == row.code)
    assert row.says in str(one)
    assert one.place.file == str(path)
    assert one.place.cell == row.cell
    for each in found:
        assert str(each).startswith(f"{path}:")
        assert ". Fix: " in str(each)
        assert each.hint
        assert str(each).isprintable()
        assert len(str(each)) <= len(str(path)) + 600


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_only_looks_odd_is_read(name: str, tmp_path: Path) -> None:
    pipeline = build_pipeline(read_notebook(written(tmp_path, ACCEPTED[name])))
    check(pipeline)
    assert pipeline.steps


def _errors(path: Path, given: dict[str, Any]) -> list[Diagnostic]:
    try:
        check(build_pipeline(read_notebook(path), given))
    except NotebookError as error:
        return [one for one in error.diagnostics if one.severity == "error"]
    return []


def _listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(one): ((status := one.lstat()).st_size, status.st_mtime_ns) for one in folder.rglob("*")}
