"""A template that comes to its end while a step has only just been forked from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbkube.runtime.attempt import Attempt
from nbkube.runtime.program import ReplayProgram, StepTask
from nbkube.runtime.spawning import StepProcess, environment_of, supported
from nbkube.runtime.template import Template
from nbkube.state.model import FileReads
from nbkube.state.snapshot import snapshot
from tests.unit.runtime.trial import Trial

pytestmark = pytest.mark.skipif(not supported(), reason="steps are forked on Linux only")

STARTS_A_PROCESS = ReplayProgram("import subprocess\nprocess = subprocess.Popen(['sleep', '5'])")


class _Ending(Template):
    """Forks a step, and is over before the step has heard of its task."""

    def fork(self, *given: Any) -> tuple[StepProcess, FileReads]:
        forked = super().fork(*given)
        self.reach((STARTS_A_PROCESS,))
        self._thread.join()
        return forked


@pytest.mark.parametrize("where", [".", "part"])
def test_a_step_goes_on_although_its_template_is_over(tmp_path: Path, where: str) -> None:
    trial = Trial(tmp_path)
    (trial.project / where).mkdir(exist_ok=True)
    (trial.project / where / "number.txt").write_text("7")
    view = snapshot(trial.project)
    program = trial.program("import os\nprint(open('number.txt').read(), os.getppid())")
    template = _Ending(
        view,
        tmp_path / "template",
        trial.store,
        root=str(trial.project),
        cwd=where,
        filename="note.ipynb",
        environment=environment_of({}),
    )
    try:
        task = StepTask(
            program, "one", {}, trial.store.url, str(tmp_path / "work" / "project"), str(trial.project), where
        )
        attempt = Attempt(task, view, trial.store, trial.events.append, warm=(template, ()))
        executed = attempt.execute(60)
        finished = attempt.finish()
    finally:
        template.close()
    log = trial.store.get(finished.log).decode()
    assert executed.failure is None
    assert template.reason().endswith("has started a process, which cannot be inherited")
    assert log.startswith("7 "), log
    assert "new interpreter" not in log
    assert not (tmp_path / "template").exists()
