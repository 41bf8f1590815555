"""Five steps in one pod against a pod for each, on the bench: `python -m tests.benchmarks.chains`."""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path

from nbkube.runs import Phase
from tests.benchmarks.measure import Line, show
from tests.building import CellText
from tests.cluster import bench as running
from tests.cluster import layout, lifecycle
from tests.cluster.api import Api
from tests.cluster.namespaces import make_namespace, remove_namespace
from tests.cluster.projects import Project, project

REPEAT = 3


def main() -> bool:
    """Measure and print; tell whether the bar is kept."""
    bench = running.replace_images(lifecycle.up(lambda _: None), lifecycle.load_image(layout.CHECKOUT))
    api = Api(bench.kubeconfig)
    namespace = f"test-{secrets.token_hex(4)}"
    make_namespace(api, namespace, bench)
    found: dict[bool, list[float]] = {True: [], False: []}
    try:
        with tempfile.TemporaryDirectory() as folder, project(Path(folder) / "project", bench, api, namespace) as mine:
            for turn in range(REPEAT + 1):  # the first pulls the image
                for fuse, times in found.items():
                    seconds = _chain(mine, turn, fuse=fuse)
                    if turn:
                        times.append(seconds)
    finally:
        remove_namespace(api, namespace)
    together, alone = statistics.median(found[True]), statistics.median(found[False])
    lines = [
        Line("five steps in one pod", together, "s"),
        Line("five steps in a pod each", alone, "s"),
        Line("of a pod each", together / alone, "x", 0.4),
    ]
    return show(f"A chain on the bench (median of {REPEAT})", lines)


def _chain(mine: Project, turn: int, *, fuse: bool) -> float:
    mark = f"{turn}-{fuse}"
    cells: list[CellText] = [("step:s0", f"values = ['{mark}']")]
    cells += [(f"step:s{at}", f"values.append({at})") for at in range(1, 5)]
    notebook = mine.notebook(cells, f"chain-{mark.lower()}")
    began = time.perf_counter()
    state = mine.client().run(notebook, fuse=fuse)
    if state.phase is not Phase.SUCCEEDED:
        raise RuntimeError(f"the run ended as {state.phase}: {state.reason}")
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(not main())
