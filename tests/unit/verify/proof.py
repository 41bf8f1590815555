"""A notebook verified against a pipeline that may have been tampered with."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

from nbkube.engines.local import LocalEngine
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.storage import open_store
from nbkube.verify import PipelineResult, Verification, verify_notebook
from tests.building import CellText, write_notebook

_numbers = itertools.count()


def plan_of(notebook: Path) -> Plan:
    return Plan.of(build_pipeline(read_notebook(notebook)), notebook)


def verdict(
    project: Path, cells: Sequence[CellText], *, pipeline: Sequence[CellText] = (), only_adversarial: bool = False
) -> Verification:
    """Verify a notebook of `cells`; the pipeline runs the cells `pipeline` instead, if there are any."""
    notebook = write_notebook(project / "work.ipynb", cells)
    honest = plan_of(notebook)
    other = notebook
    if pipeline:
        # The same notebook file for both, so that the project's files are the same, too.
        other = write_notebook(project / "work.ipynb", pipeline)
    tampered = plan_of(other)
    write_notebook(project / "work.ipynb", cells)
    scratch = project.parent / f"scratch-{next(_numbers)}"
    scratch.mkdir()
    files = honest.files(scratch / "project")

    def run_pipeline(adversarial: bool) -> PipelineResult:
        plan = tampered if adversarial or not only_adversarial else honest
        store = open_store(scratch / f"store-{int(adversarial)}")
        began = time.monotonic()
        submission = plan.submission("verify", adversarial=adversarial)
        run = LocalEngine(store, scratch / "work", files).submit(submission, lambda _: None)
        assert run.wait(100)
        seconds = time.monotonic() - began
        return PipelineResult(run.bindings(), run.files(), run.metrics(), run.failure(), seconds, store.url)

    return verify_notebook(honest.subject(files), run_pipeline, open_store(scratch / "store"))
