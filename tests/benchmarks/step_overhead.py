"""What an empty step costs, beside papermill on an empty notebook: `python -m tests.benchmarks.step_overhead`.

papermill is measured where NBKUBE_PAPERMILL_PYTHON (else this interpreter) has it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import NBKUBE, Line, median_cpu, median_wall, run_in_turn, show

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


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Each step takes a number from the one before, so that they run one after another.
        one = write(folder / "one.ipynb", ["n = 0"])
        many = write(folder / "many.ipynb", ["n = 0", *(f"n = n + {number}" for number in range(STEPS))])
        three = write(folder / "three.ipynb", ["n = 0", "n = n + 1", "n = n + 2"])
        empty = write(folder / "empty.ipynb", [""])
        commands = {
            "one": [*NBKUBE, "run", str(one), "--no-cache"],
            "three": [*NBKUBE, "run", str(three), "--no-cache"],
            "many": [*NBKUBE, "run", str(many), "--no-cache"],
        }
        papermill = os.environ.get("NBKUBE_PAPERMILL_PYTHON", sys.executable)
        if papermill != sys.executable or importlib.util.find_spec("papermill"):
            commands["papermill"] = [
                papermill,
                "-m",
                "papermill",
                "-k",
                "python3",
                str(empty),
                str(folder / "out.ipynb"),
            ]
        samples = run_in_turn(commands, folder, REPEAT)
    seven = samples["many"]
    ours = (median_wall(seven) - median_wall(samples["one"])) / STEPS
    lines = [
        Line("nbkube run with 1 empty step", median_wall(samples["one"]), "s"),
        Line(f"nbkube run with {STEPS + 1}", median_wall(samples["many"]), "s"),
        Line("nbkube run with 3", median_wall(samples["three"]), "s", 0.5),
        Line("one more empty step", ours, "s", 0.04),
        Line("one more empty step, processor", (median_cpu(seven) - median_cpu(samples["one"])) / STEPS, "s"),
    ]
    if "papermill" in samples:
        theirs = median_wall(samples["papermill"])
        lines += [
            Line("papermill on an empty notebook", theirs, "s"),
            Line("papermill on an empty notebook, processor", median_cpu(samples["papermill"]), "s"),
            Line("times less than papermill", theirs / ours, "x", 30, at_least=True),
        ]
    return show(f"An empty step (median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
