"""Converting a notebook of 34 cells in 9 steps, beside Kale 2.3: `python -m tests.benchmarks.conversion`.

Kale lives in an environment of its own: NBKUBE_KALE_PYTHON names its interpreter.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import passengers
from tests.benchmarks.measure import NBKUBE, Line, median_cpu, median_wall, run_in_turn, run_once, show

REPEAT = 7

IN_PROCESS = """
import statistics, sys, time
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline, to_json

def convert():
    started = time.perf_counter()
    to_json(build_pipeline(read_notebook(sys.argv[1])))
    return time.perf_counter() - started

convert()
print(statistics.median(convert() for _ in range(30)))
"""


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = passengers.write(Path(folder))
        commands = {"nbkube": [*NBKUBE, "show", str(notebook), "--json"]}
        kale = os.environ.get("NBKUBE_KALE_PYTHON")
        if kale:
            commands["kale"] = [str(Path(kale).with_name("kale")), "--nb", str(notebook)]
        samples = run_in_turn(commands, Path(folder), REPEAT)
        inside = float(run_once([sys.executable, "-c", IN_PROCESS, str(notebook)], Path(folder)).output.split()[-1])
    ours = median_wall(samples["nbkube"])
    lines = [
        Line("nbkube show --json, wall", ours, "s", 0.3),
        Line("nbkube show --json, processor", median_cpu(samples["nbkube"]), "s"),
        Line("in process", 1000 * inside, "ms", 50),
    ]
    if kale:
        theirs = median_wall(samples["kale"])
        lines += [
            Line("kale --nb, wall", theirs, "s"),
            Line("kale --nb, processor", median_cpu(samples["kale"]), "s"),
            Line("times faster than kale, wall", theirs / ours, "x", 12, at_least=True),
        ]
    else:
        sys.stdout.write("\nNBKUBE_KALE_PYTHON is not set: no comparison with Kale.\n")
    return show(f"Conversion of 34 cells in 9 steps (median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
