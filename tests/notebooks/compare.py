"""One run of a notebook against one run of its pipeline, by the parts that `nbkube verify` is made of.

`verify` runs both twice, to find out what varies by itself and that the schedule does not matter. In the table each
case says what varies, so one run of each is enough and takes half the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.client import Client
from nbkube.engines.local import LocalEngine
from nbkube.plan import Plan
from nbkube.runtime.program import Failure
from nbkube.storage import open_store
from nbkube.verify.check import Answer, Subject
from nbkube.verify.files import compare_files
from nbkube.verify.session import Session, kernel_environment

SECONDS = 100


class Ended(msgspec.Struct, frozen=True):
    """How both ended, the pipeline's metrics, and every difference as a sentence."""

    notebook: Failure | None
    pipeline: Failure | None
    metrics: dict[str, Any]
    differences: list[str]


def compare(
    path: Path, parameters: Mapping[str, Any], varies: Collection[str] = (), *, adversarial: bool = False
) -> Ended:
    """Run the notebook in a kernel and as a pipeline; compare variables by identity and value, and files.

    Raises:
        NotebookError: nbkube refuses the notebook.
    """
    plan = Plan.of(Client().show(path, parameters), path)
    with tempfile.TemporaryDirectory(prefix="nbkube-cases-") as folder:
        place = Path(folder)
        files = plan.files(place / "project")
        subject = plan.subject(files)
        store = open_store(place / "store")
        run = LocalEngine(store, place / "work", files).submit(
            plan.submission("case", adversarial=adversarial), lambda _: None
        )
        kernel = place / "kernel"
        kernel.mkdir()
        with Session(files, subject.cwd, kernel, store, kernel_environment()) as session:
            notebook = session.run(subject.programs, lambda _: None)
            try:
                assert run.wait(SECONDS), "the pipeline did not end in time"
            finally:
                run.cancel()
            pipeline = run.failure()
            if notebook is not None or pipeline is not None:
                return Ended(notebook, pipeline, {}, [])
            found = _variables(session, subject, run.bindings(), store.url, varies)
            session.close()
            found += [
                f"file {name}: {left} in the notebook, {right} in the pipeline"
                for name, (left, right) in compare_files(session.files(), run.files()).items()
            ]
        return Ended(None, None, run.metrics(), found)


def _variables(
    session: Session, subject: Subject, bindings: Mapping[str, Any], store: str, varies: Collection[str]
) -> list[str]:
    request = {"store": store, "bindings": dict(bindings), "replayed": list(subject.replayed), "tolerance": {}}
    answer = msgspec.convert(session.ask("compare", request), Answer)
    return [
        f"{one.kind} {one.path}: {one.left} in the notebook, {one.right} in the pipeline"
        for one in answer.findings
        if not (one.name in varies and one.kind == "value")
    ]
