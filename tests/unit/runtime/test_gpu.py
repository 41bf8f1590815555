"""GPU use of a step. There is no GPU here: a stand-in found on PATH answers as the driver's program is documented to,
so what is tested is that it is asked, that its answer is read, and that what it tells reaches the result."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.runs.model import StepRun
from nbkube.runs.usage import is_worth_telling, proposal
from nbkube.runtime import gpu
from nbkube.runtime.gpu import used_by
from tests.unit.runtime.trial import Trial

# Every process holds 300 MiB on one GPU and 200 MiB on another; then the step may go on.
STAND_IN = """#!/bin/sh
for process in /proc/[0-9]*; do
  echo "GPU-1111, ${process#/proc/}, 300"
  echo "GPU-2222, ${process#/proc/}, 200"
done
echo "$@" > "${0%/*}/asked"
"""


@pytest.fixture(autouse=True)
def _not_known_before() -> None:
    gpu._program.cache_clear()


def test_its_lines_are_read() -> None:
    text = "GPU-a, 10, 300\nGPU-b, 10, 20\nGPU-a, 11, 1\nGPU-a, 12, 5000\nGPU-c, 11, [N/A]\n\nno line\n"
    assert used_by(text, {10, 11}) == (321 << 20, 3)
    assert used_by(text, {99}) == (0, 0)
    assert used_by("", {10}) == (0, 0)


def test_what_the_driver_tells_is_in_the_result(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trial.folder / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(STAND_IN)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    wait = f"import os, time\nwhile not os.path.exists({str(folder / 'asked')!r}): time.sleep(0.05)"
    result = trial.good(wait).finished.result
    assert (result.gpu_memory, result.gpus) == (500 << 20, 2)
    assert (folder / "asked").read_text().split()[0] == "--query-compute-apps=gpu_uuid,pid,used_memory"


def test_without_a_driver_nothing_is_known(trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = trial.good("x = 1").finished.result
    assert (result.gpu_memory, result.gpus) == (0, 0)


def test_a_driver_that_fails_tells_nothing(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = trial.folder / "bin"
    folder.mkdir()
    (folder / "nvidia-smi").write_text("#!/bin/sh\necho 'GPU-1, 1, 5'\nexit 9\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    assert trial.good("x = 1").finished.result.gpus == 0


def test_gpus_are_proposed() -> None:
    step = StepRun("train", peak_memory=100 << 20, seconds=1.0, cpu_seconds=0.5, gpus=1, gpu_memory=3 << 30)
    found = proposal(step)
    assert found is not None
    assert str(found) == "train used 100Mi, 0.5 cpu, 1 gpu with 3.0Gi: ask for memory 128Mi, cpu 0.5, gpu 1"
    assert is_worth_telling(found)
