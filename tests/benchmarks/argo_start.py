"""A run on the bench against a bare Argo pod of the same image, and a Workflow of 500 steps.

`python -m tests.benchmarks.argo_start`; the bench has to be up (`python -m tests.cluster up`).
"""

from __future__ import annotations

import secrets
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from nbkube.cluster import Cluster
from nbkube.engines.argo.cluster import ClusterWorkflows
from nbkube.engines.argo.pods import LOCKED, executor_patch, pod_security
from nbkube.engines.argo.workflow import size
from tests.benchmarks.measure import Line, show
from tests.building import CellText
from tests.cluster import bench as running
from tests.cluster import layout, lifecycle
from tests.cluster.api import Api
from tests.cluster.namespaces import RUNNER, make_namespace, remove_namespace
from tests.cluster.projects import Project, project

REPEAT = 5
STEPS = 500
FIRST = "import time; print('first', time.time(), flush=True)"


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    bench = running.replace_images(lifecycle.up(lambda _: None), lifecycle.load_image(layout.CHECKOUT))
    api = Api(bench.kubeconfig)
    namespace = f"test-{secrets.token_hex(4)}"
    make_namespace(api, namespace, bench)
    try:
        with tempfile.TemporaryDirectory() as folder, project(Path(folder) / "project", bench, api, namespace) as mine:
            bare, ours = [], []
            for turn in range(REPEAT + 1):  # the first of each pulls the image
                times = _bare(mine.cluster(), bench.images.base), _ours(mine, turn)
                if turn:
                    bare.append(times[0])
                    ours.append(times[1])
            built = _edits(mine)
            bytes_, seconds = _large(mine)
    finally:
        remove_namespace(api, namespace)
    reference = statistics.median(bare)
    lines = [
        Line("a bare Argo pod: submit to its first line", reference, "s"),
        Line("a step: submit to its first line", statistics.median(ours), "s"),
        Line("a step, of a bare pod", statistics.median(ours) / reference, "x", 1.2),
        Line("a bare Argo pod of the image that nbkube built", built[0], "s"),
        Line("a cell edited to the first line of its step", built[1], "s"),
        Line("a cell edited, of a bare pod", built[1] / built[0], "x", 1.3),
        Line(f"Workflow of {STEPS} steps", bytes_ / (1 << 20), "MiB", 1.0),
        Line(f"{STEPS} steps prepared and submitted", seconds, "s", 5.0),
    ]
    return show(f"On the bench (median of {REPEAT})", lines)


def _bare(cluster: Cluster, image: str) -> float:
    """Return the seconds from the submission of a Workflow with one plain container to its first line."""
    container = {"image": image, "command": ["python3", "-c", FIRST], "securityContext": LOCKED}
    spec = {
        "entrypoint": "main",
        "serviceAccountName": RUNNER,
        "automountServiceAccountToken": False,
        "executor": {"serviceAccountName": RUNNER},
        "securityContext": pod_security(),
        "podSpecPatch": executor_patch(),
        "templates": [{"name": "main", "container": container}],
    }
    name = f"bare-{secrets.token_hex(4)}"
    manifest: dict[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": name, "namespace": cluster.namespace},
        "spec": spec,
    }
    started = time.time()
    workflows = ClusterWorkflows(cluster)
    workflows.send(manifest)
    for _ in workflows.watch(name):
        pass
    lines = [line.text.decode() for line in cluster.logs(name, "main")]
    return float(next(line for line in lines if line.startswith("first")).split()[1]) - started


def _ours(mine: Project, turn: int) -> float:
    """Return the same for a notebook of one step."""
    notebook = mine.notebook([("step:a", f"turn = {turn}\n{FIRST}")])
    started = time.time()
    seen: list[str] = []

    def listen(event: Any) -> None:
        if event.get("event") == "log":
            seen.append(event["text"])

    mine.client().run(notebook, on_event=listen)
    return float("".join(seen).split()[1]) - started


def _edits(mine: Project) -> tuple[float, float]:
    """Return the medians for a bare pod and for a notebook that is edited, its image built by nbkube, caches warm."""
    more = f'base = "{mine.debian()}"\nplain-http = ["{mine.bench.registry}"]\n'
    more += f'registry = "{mine.bench.registry}"\npull-registry = "{layout.NODE_REGISTRY}"'
    mine.configure(image="", more=more)
    bare, edited = [], []
    for turn in range(REPEAT + 1):  # the first builds the image and pulls it
        ours = _ours(mine, 1000 + turn)
        (image,) = {one.reference for one in mine.client().build(mine.folder / "work.ipynb", push=True)}
        theirs = _bare(mine.cluster(), image)
        if turn:
            bare.append(theirs)
            edited.append(ours)
    mine.configure(image=mine.bench.images.base)
    return statistics.median(bare), statistics.median(edited)


def _large(mine: Project) -> tuple[int, float]:
    """Return the size of a Workflow of many steps, and the seconds until it was submitted; it is then stopped."""
    cells: list[CellText] = [("step:s0", "x0 = 0")]
    cells += [(f"step:s{at}", f"x{at} = x{at - 1} + x{max(0, at - 7)}") for at in range(1, STEPS)]
    notebook = mine.notebook(cells, "large")
    started = time.monotonic()
    run = mine.client().submit(notebook)
    seconds = time.monotonic() - started
    from nbkube.cluster.model import WORKFLOW

    found = mine.cluster().get(WORKFLOW, run)
    mine.client().stop(run, now=True)
    return size({key: found[key] for key in ("apiVersion", "kind", "metadata", "spec")}), seconds


if __name__ == "__main__":
    sys.exit(not main())
