"""Images that nbkube builds by itself, in the bench's registry and in its pods."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.runs import Phase
from tests import registries
from tests.cluster import layout
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, pods, project

_LOOK = """
user = os.getuid()
try:
    open("/opt/nbkube/written", "w")
    written = 1
except OSError:
    written = 0
total = float(values.sum())
ours = int(np.__file__.startswith("/opt/nbkube/site-packages/"))
"""
_CELLS = (
    ("imports", "import os\n\nimport numpy as np"),
    ("step:make", "values = np.arange(10.0)"),
    ("step:look", _LOOK),
    ("pipeline-metrics", "print(user, written, total, ours)"),
)


@pytest.fixture
def building(tmp_path: Path, bench: Bench, api: Api, namespace: str) -> Iterator[Project]:
    """A project whose profile names a registry and a bare Debian as base, and no image."""
    base = registries.push_base(bench.registry, "nbkube/debian", [registries.debian_layer().read_bytes()])
    with project(tmp_path / "project", bench, api, namespace) as found:
        more = f"""
base = "{base}"
registry = "{bench.registry}"
pull-registry = "{layout.NODE_REGISTRY}"
plain-http = ["{bench.registry}"]
"""
        found.configure(image="", more=more)
        yield found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_run_builds_what_is_missing_and_its_pods_use_it(building: Project, api: Api) -> None:
    notebook = building.notebook(list(_CELLS))
    told: list[dict[str, Any]] = []
    client = building.client()
    state = client.run(notebook, on_event=lambda event: told.append(dict(event)))
    assert state.phase is Phase.SUCCEEDED, state
    assert state.metrics == {"user": 1000, "written": 0, "total": 45.0, "ours": 1}
    said = [one["message"] for one in told if one["event"] == "image"]
    assert any("nbkube-steps@sha256:" in one and "the base lacks" in one for one in said), said
    images = {
        one["spec"]["containers"][-1]["image"]
        for one in pods(api, building.namespace)
        if "nbkube.io/step" in one["metadata"]["labels"]
    }
    assert images
    assert all(one.startswith(f"{layout.NODE_REGISTRY}/nbkube-steps@sha256:") for one in images)
