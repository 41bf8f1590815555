"""A run that is taken up again after a failure: what ran because of the failure is looked at anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.runs import Phase
from tests.building import write_notebook


@pytest.mark.slow
def test_a_resumed_run_repeats_what_ran_because_of_the_failure(tmp_path: Path) -> None:
    project, flag = tmp_path / "project", tmp_path / "flag"
    notebook = write_notebook(
        project / "work.ipynb",
        [
            ("step:a", "x = 1"),
            ("step:b", f"import os\ny = x\nx = 2\nassert os.path.exists({str(flag)!r}), 'not yet'"),
            ("", "%%step c --after-failure\nseen = x"),
            ("pipeline-metrics", "print(seen)"),
        ],
    )
    client = Client(project)
    failed = client.run(notebook)
    assert (failed.phase, failed.repeated) == (Phase.FAILED, ("b", "c"))
    first = failed.step("c")
    assert first is not None
    assert first.phase is Phase.SUCCEEDED
    flag.write_text("")
    client.resume(failed.id)
    state = client.follow(failed.id)
    assert (state.phase, state.metrics, state.repeated) == (Phase.SUCCEEDED, {"seen": 2}, ())
    second = state.step("c")
    assert second is not None
    assert second.manifest != first.manifest
