"""The sentiment example at full size as a pipeline: time, peak memory and accuracy; beside the plain notebook.

    python -m tests.benchmarks.sentiment DATA [REVIEWS] [SEEDS] [--plain]

With --plain the notebook itself is run in a kernel before each first run of the pipeline. DATA is the folder of
`aclImdb_v1.tar.gz`, the file, or a web address (else NBKUBE_TEST_DATA); REVIEWS is 50,000 unless given; SEEDS how many
seeds to take the mean of (3).
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import NBKUBE, Line, run_once, show

EXAMPLE = Path(__file__).parents[2] / "examples" / "sentiment" / "sentiment.ipynb"
EXECUTE = ["-m", "nbconvert", "--to", "notebook", "--execute", "--ExecutePreprocessor.timeout=-1", "--output", "out"]


def plain_notebook(folder: Path, given: Mapping[str, Any]) -> Path:
    """Write the notebook with its parameters set by a further cell, as papermill does."""
    content = json.loads(EXAMPLE.read_text())
    at = next(at for at, cell in enumerate(content["cells"]) if "parameters" in cell["metadata"].get("tags", ()))
    source = "\n".join(f"{name} = {value!r}" for name, value in given.items())
    cell: dict[str, Any] = {
        "cell_type": "code",
        "id": "given",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": source,
    }
    content["cells"].insert(at + 1, cell)
    path = folder / "plain" / "sentiment.ipynb"
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    return path


def run(data: str, reviews: int, seed: int, *, plain: bool) -> list[Line]:
    """Run the pipeline twice in a folder of its own, perhaps the notebook before; return the figures."""
    given = {"data": data, "reviews": reviews, "seed": seed}
    parameters = [part for name, value in given.items() for part in ("-p", f"{name}={value}")]
    lines = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if plain:
            notebook = plain_notebook(folder, given)
            base = run_once([sys.executable, *EXECUTE, str(notebook)], notebook.parent)
            lines.append(Line(f"seed {seed}: the plain notebook in a kernel", base.wall, "s"))
            lines.append(Line(f"seed {seed}: its processor time", base.cpu, "s"))
        project = folder / "project"
        project.mkdir()
        command = [*NBKUBE, "run", str(shutil.copy(EXAMPLE, project)), "--json", *parameters]
        first, second = run_once(command, project), run_once(command, project)
    result, again = (json.loads(one.output.strip().splitlines()[-1]) for one in (first, second))
    if not all(step["cached"] for step in again["steps"].values()):
        raise RuntimeError(f"the second run ran steps: {again['steps']}")
    lines += [
        Line(f"seed {seed}: time", first.wall, "s"),
        Line(f"seed {seed}: processor time", first.cpu, "s"),
        *([Line(f"seed {seed}: of the plain notebook's time", first.wall / base.wall, "x", 1.05)] if plain else ()),
        Line(f"seed {seed}: time of the second run", second.wall, "s", 2.0),
        Line(f"seed {seed}: largest process", first.peak / 1e6, "MB"),
        Line(f"seed {seed}: accuracy", float(result["metrics"]["accuracy"]), ""),
    ]
    return lines


def main(arguments: list[str]) -> bool:
    """Measure and print; tell whether the bars are kept."""
    plain = "--plain" in arguments
    arguments = [one for one in arguments if one != "--plain"]
    data = arguments[0] if arguments else os.environ.get("NBKUBE_TEST_DATA", "")
    if not data:
        sys.stderr.write("Say where aclImdb_v1.tar.gz is: make sentiment DATA=FOLDER\n")
        return False
    if "://" not in data:
        data = str(Path(data).resolve())
    reviews = int(arguments[1]) if len(arguments) > 1 else 50_000
    seeds = int(arguments[2]) if len(arguments) > 2 else 3
    lines = [line for seed in range(seeds) for line in run(data, reviews, seed, plain=plain)]
    accuracies = [line.value for line in lines if line.what.endswith("accuracy")]
    full = reviews >= 50_000
    lines.append(Line("mean accuracy", statistics.mean(accuracies), "", 0.88 if full else None, at_least=True))
    return show(f"Sentiment, {reviews:,} reviews", lines)


if __name__ == "__main__":
    sys.exit(not main(sys.argv[1:]))
