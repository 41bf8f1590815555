"""The sentiment example at full size as a pipeline: time, peak memory and accuracy.

    python -m tests.benchmarks.sentiment DATA [REVIEWS] [SEEDS]

DATA is the folder of `aclImdb_v1.tar.gz`, the file, or a web address (else NBKUBE_TEST_DATA); REVIEWS is 50,000
unless given; SEEDS how many seeds to take the mean of (3).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.measure import NBKUBE, Line, run_once, show

EXAMPLE = Path(__file__).parents[2] / "examples" / "sentiment" / "sentiment.ipynb"


def run(data: str, reviews: int, seed: int) -> list[Line]:
    """Run the pipeline in a folder of its own; return its figures."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = shutil.copy(EXAMPLE, folder)
        given = {"data": data, "reviews": reviews, "seed": seed}
        parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
        sample = run_once([*NBKUBE, "run", str(notebook), "--json", *parameters], Path(folder))
    result = json.loads(sample.output.strip().splitlines()[-1])
    return [
        Line(f"seed {seed}: time", sample.wall, "s"),
        Line(f"seed {seed}: largest process", sample.peak / 1e6, "MB"),
        Line(f"seed {seed}: accuracy", float(result["metrics"]["accuracy"]), ""),
    ]


def main(arguments: list[str]) -> bool:
    """Measure and print; tell whether the mean accuracy keeps its bar."""
    data = arguments[0] if arguments else os.environ.get("NBKUBE_TEST_DATA", "")
    if not data:
        sys.stderr.write("Say where aclImdb_v1.tar.gz is: make sentiment DATA=FOLDER\n")
        return False
    if "://" not in data:
        data = str(Path(data).resolve())
    reviews = int(arguments[1]) if len(arguments) > 1 else 50_000
    seeds = int(arguments[2]) if len(arguments) > 2 else 3
    lines = [line for seed in range(seeds) for line in run(data, reviews, seed)]
    accuracies = [line.value for line in lines if line.what.endswith("accuracy")]
    full = reviews >= 50_000
    lines.append(Line("mean accuracy", statistics.mean(accuracies), "", 0.88 if full else None, at_least=True))
    return show(f"Sentiment, {reviews:,} reviews", lines)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
