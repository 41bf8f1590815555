"""What an empty step costs, beside papermill on an empty notebook: `python -m tests.benchmarks.step_overhead`.

Steps are forked from a template, as usual, or each is a new interpreter, as where nothing can be forked. papermill is
measured where NBKUBE_PAPERMILL_PYTHON (else this interpreter) has it; install it with compiled modules, or its first
run compiles them.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import NBKUBE, Line, Sample, median_cpu, median_wall, run_in_turn, show
from tests.benchmarks.warm_steps import empty_steps, run

STEPS = 6
REPEAT = 5


def write(path: Path, sources: Sequence[str]) -> Path:
    """Write a notebook with one step for each source."""
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {"tags": [f"step:s{number}"]},
            "execution_count": None,
            "outputs": [],
            "source": source,
        }
        for number, source in enumerate(sources)
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    path.write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))
    return path


def papermill(folder: Path) -> dict[str, list[str]]:
    """Return the command that runs an empty notebook; none where papermill is not installed."""
    python = os.environ.get("NBKUBE_PAPERMILL_PYTHON", sys.executable)
    if python == sys.executable and not importlib.util.find_spec("papermill"):
        sys.stdout.write("\nNBKUBE_PAPERMILL_PYTHON is not set: papermill is left out.\n")
        return {}
    empty = write(folder / "empty.ipynb", [""])
    return {"papermill": [python, "-m", "papermill", "-k", "python3", str(empty), str(folder / "out.ipynb")]}


def measure(folder: Path) -> tuple[dict[str, list[Sample]], list[float]]:
    """Return what was measured of each command, and the seconds of each step that was a new interpreter; in turn."""
    # Each step takes a number from the one before, so that they run one after another.
    one = write(folder / "one.ipynb", ["n = 0"])
    many = write(folder / "many.ipynb", ["n = 0", *(f"n = n + {number}" for number in range(STEPS))])
    three = write(folder / "three.ipynb", ["n = 0", "n = n + 1", "n = n + 2"])
    commands = {
        "one": [*NBKUBE, "run", str(one), "--no-cache"],
        "three": [*NBKUBE, "run", str(three), "--no-cache"],
        "many": [*NBKUBE, "run", str(many), "--no-cache"],
        **papermill(folder),
    }
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    spawned: list[float] = []
    for _ in range(REPEAT):
        for name, (sample,) in run_in_turn(commands, folder, 1).items():
            samples[name].append(sample)
        spawned += run(empty_steps(STEPS + 1), adversarial=True).gaps()
    return samples, spawned


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    with tempfile.TemporaryDirectory() as name:
        samples, spawned = measure(Path(name))
    seven = samples["many"]
    ours = (median_wall(seven) - median_wall(samples["one"])) / STEPS
    processor = (median_cpu(seven) - median_cpu(samples["one"])) / STEPS
    cold = statistics.median(spawned)
    lines = [
        Line("nbkube run with 1 empty step", median_wall(samples["one"]), "s"),
        Line(f"nbkube run with {STEPS + 1}", median_wall(seven), "s"),
        Line("nbkube run with 3", median_wall(samples["three"]), "s", 0.5),
        Line("one more empty step", ours, "s", 0.04),
        Line("one more empty step, processor", processor, "s"),
        Line("an empty step that is a new interpreter", cold, "s", 0.4),
    ]
    if "papermill" in samples:
        theirs, their_processor = median_wall(samples["papermill"]), median_cpu(samples["papermill"])
        lines += [
            Line("papermill on an empty notebook", theirs, "s"),
            Line("papermill on an empty notebook, processor", their_processor, "s"),
            Line("times less than papermill", theirs / ours, "x", 30, at_least=True),
            Line("times less processor", their_processor / processor, "x", 30, at_least=True),
            Line("times less than papermill, a new interpreter", theirs / cold, "x", 3, at_least=True),
        ]
    return show(f"An empty step (median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
