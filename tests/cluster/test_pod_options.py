"""Each option of a step by the kubelet's view and by its effect inside the pod."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nbkube.errors import NotebookError
from nbkube.runs import Phase, RunState
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, pods, project, volume_claim

pytestmark = pytest.mark.timeout(1800)
SECRET = "s3cr3t-9f2c1b"


@pytest.fixture
def mine(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> Iterator[Project]:
    with project(tmp_path / "project", bench, api, namespace) as found:
        found.configure(bench.images.base, allow='secrets = ["mine"]\nvolumes = ["shared"]')
        yield found


def succeeded(state: RunState) -> RunState:
    why = {step.name: (step.phase, step.reason, step.failure) for step in state.steps}
    assert state.phase is Phase.SUCCEEDED, (state.reason, why)
    return state


def pod_of(api: Api, namespace: str, step: str) -> dict[str, Any]:
    return next(one for one in pods(api, namespace) if one["metadata"]["labels"]["nbkube.io/step"] == step)


def main_of(pod: dict[str, Any]) -> dict[str, Any]:
    return next(one for one in pod["spec"]["containers"] if one["name"] == "main")


LIMITS = """
from pathlib import Path
root = Path('/sys/fs/cgroup')
if (root / 'cgroup.controllers').exists():
    memory = int((root / 'memory.max').read_text())
    quota, period = map(int, (root / 'cpu.max').read_text().split())
else:
    memory = int((root / 'memory/memory.limit_in_bytes').read_text())
    quota, period = (int((root / f'cpu/cpu.cfs_{one}_us').read_text()) for one in ('quota', 'period'))
cores = quota / period
"""


def test_amounts_devices_places_secrets_and_volumes(mine: Project, api: Api, bench: Bench) -> None:
    data = {"TOKEN": b64encode(SECRET.encode()).decode()}
    metadata = {"name": "mine", "namespace": mine.namespace}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    volume_claim(api, mine.namespace, "shared")
    hostile = "{{workflow.name}} $(id) 'quoted' \"twice\" %s \\ ünï"
    cells = [
        ("step:limits", LIMITS),
        ("step:devices", "import os\nnvidia = os.environ['NVIDIA_VISIBLE_DEVICES']"),
        (
            "step:given",
            "import os, hashlib, pathlib\ngreeting = os.environ['GREETING']\n"
            "digest = hashlib.sha256(os.environ['TOKEN'].encode()).hexdigest()\n"
            "same = pathlib.Path('/keys/TOKEN').read_text() == os.environ['TOKEN']\n"
            "who, root = os.getuid(), os.access('/usr', os.W_OK)\n"
            "account = os.path.exists('/var/run/secrets/kubernetes.io/serviceaccount/token')",
        ),
        (
            "step:volumes",
            "import pathlib\npathlib.Path('/shared/note').write_text('kept')\n"
            "pathlib.Path('/scratch/free').write_bytes(bytes(1 << 20))\n"
            "note = pathlib.Path('/shared/note').read_text()",
        ),
        ("step:placed label:team:ml annotation:example.com/owner:me", "here = 1"),
        ("pipeline-metrics", "print(memory, cores, nvidia, greeting, digest, same, who, root, account, note)"),
    ]
    options: dict[str, dict[str, Any]] = {
        "limits": {"memory": "300Mi", "cpu": "150m"},
        "devices": {"gpu": 1},
        "given": {"env": [f"GREETING={hostile}"], "secret": ["mine", "mine:/keys"]},
        "volumes": {"volume": ["shared:/shared", "new:16Mi:standard:/scratch"]},
        "placed": {
            "node-selector": [f"kubernetes.io/hostname={bench.node}"],
            "toleration": ["dedicated=ml:NoSchedule"],
        },
    }
    state = succeeded(mine.client().run(mine.notebook(cells), options=options))
    import hashlib

    assert state.metrics == {
        "memory": 300 << 20,
        "cores": 0.15,
        "nvidia": state.metrics["nvidia"],
        "greeting": hostile,
        "digest": hashlib.sha256(SECRET.encode()).hexdigest(),
        "same": True,
        "who": 1000,
        "root": False,
        "account": False,
        "note": "kept",
    }
    assert state.metrics["nvidia"].startswith("NVIDIA-")
    limits = main_of(pod_of(api, mine.namespace, "limits"))["resources"]
    assert limits["limits"] == limits["requests"] == {"memory": "300Mi", "cpu": "150m"}
    assert main_of(pod_of(api, mine.namespace, "devices"))["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    placed = pod_of(api, mine.namespace, "placed")
    assert placed["spec"]["nodeSelector"] == {"kubernetes.io/hostname": bench.node}
    assert {"key": "dedicated", "operator": "Equal", "value": "ml", "effect": "NoSchedule"} in placed["spec"][
        "tolerations"
    ]
    assert placed["metadata"]["labels"]["team"] == "ml"
    assert placed["metadata"]["annotations"]["example.com/owner"] == "me"


def test_more_memory_than_the_limit(mine: Project) -> None:
    cells = [("step:small", "x = 1"), ("step:big", "import ctypes\nx\nheld = bytearray(600 << 20)")]
    state = mine.client().run(mine.notebook(cells), options={"big": {"memory": "256Mi"}})
    failed = state.steps[1]
    assert (state.phase, state.steps[0].phase, failed.phase) == (Phase.FAILED, Phase.SUCCEEDED, Phase.FAILED)
    assert failed.failure is not None
    assert failed.failure.type == "OOMKilled"
    assert "256Mi" in failed.failure.message
    assert failed.attempts == 1, "no silent retry"


@pytest.fixture
def labelled(api: Api, bench: Bench) -> Iterator[str]:
    """A model of GPU that the node's label names, as AMD's own labeller writes it."""
    path, label, product = f"/api/v1/nodes/{bench.node}", "amd.com/gpu.product-name", "AMD-Instinct-MI300X"
    api.patch(path, {"metadata": {"labels": {label: product}}})
    yield product
    api.patch(path, {"metadata": {"labels": {label: None}}})


def test_two_steps_that_ask_for_the_only_device_take_turns(mine: Project, labelled: str) -> None:
    source = "import time\nbegan_{0} = time.time()\ntime.sleep(8)\nended_{0} = time.time()"
    cells = [("step:a", source.format("a")), ("step:b", source.format("b"))]
    cells.append(("pipeline-metrics", "apart = ended_a <= began_b or ended_b <= began_a"))
    options = {"a": {"gpu": "amd.com/gpu=1"}, "b": {"gpu": "amd.com/gpu=1", "gpu-type": labelled}}
    reasons: list[str] = []
    state = mine.client().run(
        mine.notebook(cells),
        options=options,
        on_event=lambda event: reasons.append(event["reason"]) if event.get("event") == "pod" else None,
    )
    assert succeeded(state).metrics == {"apart": True}
    assert any("amd.com/gpu" in one for one in reasons), reasons


def test_what_can_never_start_is_refused_before_the_launch(mine: Project, api: Api) -> None:
    notebook = mine.notebook([("step:a", "x = 1")])
    for options in (
        {"gpu": 8},
        {"memory": "900Gi"},
        {"secret": ["other"]},
        {"volume": ["absent:/x"]},
        {"gpu": "example.com/none=1"},
        {"gpu": "amd.com/gpu=1", "gpu-type": "MI999"},
    ):
        with pytest.raises(NotebookError, match="step a, option"):
            mine.client().run(notebook, options={"a": options})
    assert pods(api, mine.namespace) == []
    assert mine.client().runs() == []


def test_an_image_that_cannot_be_had_is_told_while_it_waits(mine: Project, bench: Bench) -> None:
    mine.configure(f"{bench.node_registry}/nothing/there:1")
    run = mine.client().submit(mine.notebook([("step:a", "x = 1")]))
    told: list[str] = []
    control = mine.client()._control_of(run)
    import threading

    def listen(event: Any) -> None:
        if event.get("event") == "pod" and event.get("reason"):
            told.append(event["reason"])

    follower = threading.Thread(target=lambda: control.follow(run, listen), daemon=True)
    follower.start()
    until = time.monotonic() + 90
    while not told and time.monotonic() < until:
        time.sleep(0.5)
    assert any("nothing/there:1" in one and "no such image" in one for one in told), told
    assert mine.client().stop(run, now=True).phase is Phase.CANCELLED
    follower.join(30)
