"""Checking a notebook of 10,000 cells with 5 lines each: `python -m tests.benchmarks.ten_thousand`."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import NBKUBE, Line, median_cpu, median_wall, run_in_turn, show

CELLS = 10_000
STEPS = 50
REPEAT = 3


def write(path: Path, cells: int = CELLS) -> Path:
    """Write a notebook whose cells use each other's names as real ones do: mostly those of the cells just above."""
    documents = []
    for number in range(cells):
        before = f"v{number - 1}" if number else "[1, 2, 3]"
        source = (
            f"v{number} = [x + {number} for x in {before}]  # a list from a list\n"
            f"total_{number} = sum(v{number}) / max(len(v{number}), 1)\n"
            f"if total_{number} > {number}:\n"
            f"    v{number}.append(round(total_{number}))\n"
            f"print(f'{{total_{number}:.2f}}', len({before}))"
        )
        tags = [f"step:s{number * STEPS // cells}"] if number % (cells // STEPS) == 0 else []
        cell = {"cell_type": "code", "id": f"c{number}", "metadata": {"tags": tags} if tags else {}, "source": source}
        documents.append({**cell, "execution_count": None, "outputs": []})
    path.write_text(json.dumps({"cells": documents, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1))
    return path


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = write(Path(folder, "large.ipynb"))
        samples = run_in_turn({"check": [*NBKUBE, "check", str(notebook)]}, Path(folder), REPEAT)["check"]
    lines = [
        Line("processor", median_cpu(samples), "s", 2),
        Line("wall", median_wall(samples), "s"),
        Line("peak memory", max(sample.peak for sample in samples) / 1e6, "MB", 300),
    ]
    return show(f"nbkube check on {CELLS:,} cells of 5 lines (median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
