"""Every case of the table, run as a notebook and as a pipeline and compared by what `nbkube verify` uses.

The notebook runs in a real kernel; its living variables are compared with the pipeline's in that very process, object
by object, and so are files, deletions and metrics. `verify` itself runs everything twice to find out what varies; here
the case names that, and both run once, which halves the time. Cases are spread by pytest-xdist (`-n 2`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.notebooks.kernel import run_notebook
from tests.notebooks.table import Case, load_cases, write_project

CASES = load_cases()


@pytest.mark.parametrize("case", [pytest.param(one, id=one.name) for one in CASES if not one.refusal()])
def test_case_runs_as_notebook(case: Case, tmp_path: Path) -> None:
    ended = run_notebook(write_project(case, tmp_path, given=True))
    assert ended.split(":")[0] == (case.fails[1] if case.fails else "")
