"""Workspaces of 20,000 files, beside a bare copy: `python -m tests.benchmarks.workspaces`.

The peer is `cp --archive --reflink=auto` of the same files, in turn. A run makes one workspace per step that goes on at
a time; every further step gets one that was used before.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from nbkube.state.snapshot import snapshot
from nbkube.state.workspace import prepare
from nbkube.storage import LocalStore
from tests.benchmarks.data_path import seconds
from tests.benchmarks.measure import Line, show

FILES = 20_000
SIZE = 3_000
REPEAT = 5


def make_project(folder: Path) -> None:
    """Write the files, a hundred to a folder."""
    for number in range(FILES):
        place = folder / f"part{number // 100}"
        if number % 100 == 0:
            place.mkdir(parents=True)
        (place / f"{number}.txt").write_bytes(number.to_bytes(4, "big") * (SIZE // 4))


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    bare, fresh, again = [], [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_project(folder / "project")
        store = LocalStore(folder / "store")
        taken, view = seconds(lambda: snapshot(folder / "project").freeze(folder / "base"))
        for turn in range(REPEAT + 1):
            command = ["cp", "--archive", "--reflink=auto", str(folder / "project"), str(folder / "copy")]
            copied, _ = seconds(lambda: subprocess.run(command, check=True))  # noqa: B023
            shutil.rmtree(folder / "copy")
            view = snapshot(folder / "project").freeze(folder / f"base{turn}")
            first, workspace = seconds(lambda: prepare(view, folder / "first", store))  # noqa: B023
            workspace.observe()
            workspace.remove()  # parked
            second, workspace = seconds(lambda: prepare(view, folder / "second", store))  # noqa: B023
            workspace.observe()
            shutil.rmtree(folder / "second")
            if turn:
                bare.append(copied)
                fresh.append(first)
                again.append(second)
    lines = [
        Line("the project's files taken at the start of a run", taken, "s"),
        Line("a bare copy", statistics.median(bare), "s"),
        Line("a workspace", statistics.median(fresh), "s"),
        Line("a workspace beside a bare copy", statistics.median(fresh) / statistics.median(bare), "x", 1.2),
        Line("the next one, made from it", statistics.median(again), "s"),
        Line("the next one beside a bare copy", statistics.median(again) / statistics.median(bare), "x", 0.2),
    ]
    return show(f"Workspaces of {FILES:,} files (median of {REPEAT}, in turn)", lines)


if __name__ == "__main__":
    sys.exit(not main())
