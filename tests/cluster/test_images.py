"""Images that nbkube builds by itself, in the bench's registry and in its pods."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from nbkube.images.lock import RUNTIME
from nbkube.images.registry import Registry
from nbkube.runs import Phase
from tests import registries
from tests.cluster import layout, network
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import finished, log, pod
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
    with project(tmp_path / "project", bench, api, namespace) as found:
        found.configure_building()
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_registry_pods_take_what_the_base_lacks_from_the_store(building: Project, api: Api) -> None:
    base, registry = building.debian(), building.bench.registry
    closed = f"127.0.0.1:{registries.free_port()}"
    more = [f'base = "{base}"', f'registry = "{closed}/team"', f'plain-http = ["{registry}", "{closed}"]']
    building.configure(image="", more="\n".join(more))
    # Steps beside each other: a pod that runs no cells judges them, which needs nbkube, too.
    beside = ("step:beside", "other = float(np.arange(4.0).sum())")
    notebook = building.notebook(
        [*_CELLS[:3], beside, ("pipeline-metrics", "print(user, written, total, ours, other)")]
    )
    told: list[dict[str, Any]] = []
    state = building.client().run(notebook, on_event=lambda event: told.append(dict(event)))
    assert state.phase is Phase.SUCCEEDED, state
    assert state.metrics == {"user": 1000, "written": 0, "total": 45.0, "ours": 1, "other": 6.0}
    said = [one["message"] for one in told if one["event"] == "image"]
    assert any(f"the base and distributions from the store: {closed} cannot be reached" in one for one in said), said
    ran = [one for one in pods(api, building.namespace) if "nbkube.io/step" in one["metadata"]["labels"]]
    unpacking = [c for one in ran for c in one["spec"]["initContainers"] if c["name"] == "wheels"]
    assert {one["image"] for one in unpacking} == {one["spec"]["containers"][-1]["image"] for one in ran}
    assert all(one["spec"]["containers"][-1]["image"].startswith(f"{registry}/nbkube/debian@sha256:") for one in ran)
    # What was stored once is not sent again, and a step whose result is known needs no pod.
    assert building.client().run(notebook).phase is Phase.SUCCEEDED


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_archive_that_a_node_imports_runs_steps_without_any_registry(building: Project, api: Api) -> None:
    base, registry = building.debian(), building.bench.registry
    building.configure(image="", more=f'base = "{base}"\nplain-http = ["{registry}"]')
    notebook = building.notebook(list(_CELLS))
    archive = building.folder.parent / "steps.tar"
    (built,) = building.client().build(notebook, output=archive)
    assert built.reference.startswith("nbkube.local/nbkube-steps:")
    try:
        # What `kind load image-archive`, `k3d image import` and `minikube image load` do on their nodes.
        said = _ctr(building.bench, "images", "import", str(archive))
        assert built.reference in said
        listed = _ctr(building.bench, "images", "list", f"name=={built.reference}")
        assert built.digest in listed
        building.configure(image=built.reference)
        state = building.client().run(notebook)
        assert state.phase is Phase.SUCCEEDED, state
        assert state.metrics == {"user": 1000, "written": 0, "total": 45.0, "ours": 1}
        ran = [one for one in pods(api, building.namespace) if "nbkube.io/step" in one["metadata"]["labels"]]
        assert {one["spec"]["containers"][-1]["image"] for one in ran} == {built.reference}
    finally:
        _ctr(building.bench, "images", "remove", built.reference)


def _ctr(bench: Bench, *arguments: str) -> str:
    place = f"--address={bench.run_folder / 'containerd.sock'}"
    argv = network.inside(["/usr/bin/ctr", place, "--namespace=k8s.io", *arguments])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{arguments}: {done.stderr}"
    return done.stdout + done.stderr


_INSIDE = """
import json, os
from pathlib import Path
work = Path("/tmp/work")
work.mkdir()
for name in ("work.ipynb", "nbkube.toml"):
    (work / name).write_text(os.environ[name.replace(".", "_").upper()])
(work / "uv.toml").write_text("no-index = true\\nfind-links = [%r]" % "/opt/nbkube/project/found")
os.environ["UV_CONFIG_FILE"] = str(work / "uv.toml")
from nbkube.client import Client
(built,) = Client(work).build(work / "work.ipynb", push=True, on_event=lambda event: print(event, flush=True))
print("BUILT", json.dumps([built.reference, built.bytes_pushed, os.getuid()]))
"""


def _fetch_wheels(folder: Path) -> None:
    """Fetch the wheels of nbkube's own requirements: pods have no way to an index."""
    names = sorted({requirement for name in RUNTIME for requirement in _closure(name)})
    pins = [f"{name}=={metadata.version(name)}" for name in names]
    argv = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary",
        ":all:",
        "-d",
        str(folder),
    ]
    subprocess.run([*argv, *pins], check=True)


def _closure(name: str) -> set[str]:
    from packaging.requirements import Requirement

    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            parsed = [Requirement(text) for text in metadata.requires(one) or ()]
            waiting += [part.name for part in parsed if part.marker is None or part.marker.evaluate({"extra": ""})]
    return found


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_notebook_pod_builds_and_pushes_as_a_normal_user(building: Project, bench: Bench, api: Api) -> None:
    notebook = building.notebook([("step:a", "x = 1")])
    client = building.client()
    _fetch_wheels(building.folder / "found")
    (tools,) = client.build(notebook, push=True, bake=True, extra=["uv", "isal", "packaging"])
    profile = (building.folder / "nbkube.toml").read_text()
    profile = profile.replace(f'registry = "{bench.registry}"\n', f'registry = "{bench.registry}/inside"\n')
    given = {"WORK_IPYNB": notebook.read_text(), "NBKUBE_TOML": profile}
    made = pod(
        building.namespace,
        "builder",
        tools.reference,
        _INSIDE,
        env=[{"name": name, "value": value} for name, value in given.items()],
        volumes=[{"name": "tmp", "emptyDir": {}}],
        volumeMounts=[{"name": "tmp", "mountPath": "/tmp"}],
    )
    main = made["spec"]["containers"][0]
    main["securityContext"] = {**main["securityContext"], "readOnlyRootFilesystem": True}
    api.create(made)
    finished(api, building.namespace, "builder", 400)
    said = log(api, building.namespace, "builder")
    line = next((one for one in said.splitlines() if one.startswith("BUILT ")), said)
    reference, sent, user = json.loads(line.removeprefix("BUILT "))
    assert reference.startswith(f"{layout.NODE_REGISTRY}/nbkube-steps@sha256:")
    assert (sent > 0, user) == (True, 1000)
    there = Registry(bench.registry, plain_http=True)
    assert there.has_manifest("inside/nbkube-steps", reference.partition("@")[2])
