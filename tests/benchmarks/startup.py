"""How long `import nbkube` and `nbkube --help` take: `python -m tests.benchmarks.startup`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.benchmarks.measure import NBKUBE, Line, median_wall, run_in_turn, show

REPEAT = 15


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    commands = {
        "bare": [sys.executable, "-c", "pass"],
        "import": [sys.executable, "-c", "import nbkube"],
        "help": [*NBKUBE, "--help"],
    }
    samples = run_in_turn(commands, Path.cwd(), REPEAT)
    bare = median_wall(samples["bare"])
    lines = [
        Line("python that does nothing", bare, "s"),
        Line("import nbkube, beyond that", median_wall(samples["import"]) - bare, "s", 0.1),
        Line("nbkube --help, whole process", median_wall(samples["help"]), "s", 0.25),
    ]
    return show(f"Start-up (median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
