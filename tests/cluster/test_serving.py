"""Models served on the cluster: from a project to an endpoint that answers, its versions changed under load."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from typing import Any

import pytest

from nbkube.cluster import connect
from nbkube.models import ModelRegistry
from nbkube.profiles import Profile, StoreAccess
from nbkube.profiles.model import Serve
from nbkube.serving import rollout
from nbkube.serving.load import Answer, OpenLoop, request_of
from nbkube.serving.model import Pods
from nbkube.serving.objects import router_objects, token_secret, version_objects
from nbkube.serving.requests import predict_url
from nbkube.serving.runtimes import RUNTIMES
from nbkube.storage import open_store
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import Project, project
from tests.serving import constant_of

ROOT = Path(__file__).parents[2]
SOAK = os.environ.get("SOAK") == "1"
RATE = 200.0 if SOAK else 50.0
ROUNDS = 20 if SOAK else 2
SECONDS = 60.0 if SOAK else 5.0
BODY = b'{"instances": [[1.0, 2.0]]}'
SMALL = ["--cpu", "20m", "--memory", "256Mi"]


class Shell:
    """The command line in a project's folder."""

    def __init__(self, found: Project) -> None:
        self.project = found
        self.env = {**os.environ, "NO_COLOR": "1"}

    def __call__(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "nbkube", *words],
            cwd=self.project.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout + (done.stderr if code else "")

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json").splitlines()[-1])


@pytest.fixture
def shell(bench: Bench, api: Api, namespace: str, serve_image: str, tmp_path: Path) -> Iterator[Shell]:
    with project(tmp_path / "work", bench, api, namespace, serve_image) as found:
        yield Shell(found)


def _pods(api: Api, namespace: str, role: str) -> list[dict[str, Any]]:
    query = {"labelSelector": f"nbkube.io/role={role}"}
    found = api.request("GET", f"/api/v1/namespaces/{namespace}/pods", query=query)
    return [one for one in found["items"] if "deletionTimestamp" not in one["metadata"]]


def _left(api: Api, namespace: str) -> list[str]:
    """Return the names of all objects that endpoints are made of."""
    paths = (
        "/api/v1/namespaces/{}/pods", "/api/v1/namespaces/{}/services", "/api/v1/namespaces/{}/secrets",
        "/apis/apps/v1/namespaces/{}/deployments", "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
        "/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers",
        "/apis/networking.k8s.io/v1/namespaces/{}/ingresses",
    )  # fmt: skip
    found = [one for path in paths for one in api.get(path.format(namespace))["items"]]
    return [one["metadata"]["name"] for one in found if "nbkube.io/endpoint" in (one["metadata"].get("labels") or {})]


@pytest.mark.parametrize("expose", ["port-forward", "node-port", "load-balancer", "ingress"])
@pytest.mark.parametrize("runtime", ["", *RUNTIMES])
def test_the_cluster_takes_the_objects(
    bench: Bench, namespace: str, expose: Any, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strict dry runs: unknown fields are refused, and what violates Pod Security is."""
    monkeypatch.setenv("KUBECONFIG", bench.kubeconfig)
    cluster = connect("nbkube-bench", namespace)
    store = StoreAccess("s3://bucket/lab", endpoint=bench.minio.endpoint, secret="keys")
    serve = Serve(expose=expose, host="models.example.com", tls_secret="models-tls", ingress_class="nginx")
    profile = Profile("bench", engine="argo", store=store, serve=serve, pull_secrets=("login",))
    pods = Pods(image=bench.images.base, runtime=runtime, runtime_image="registry/other:1", gpu={"nvidia.com/gpu": 1})
    objects = [
        *version_objects("small", 1, pods, profile),
        *router_objects("small", pods, profile, "endpoints/small/clusters/1.json"),
        token_secret("small", "a-token-of-more-than-sixteen-letters"),
    ]
    templates = [one["spec"]["template"] for one in objects if one["kind"] == "Deployment"]
    # Pod Security judges pods, not what makes them.
    metadata = {"name": "small", "namespace": namespace}
    made = [{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": one["spec"]} for one in templates]
    assert len(made) == 2
    rollout.dry_run(cluster, [*objects, *made])


@pytest.mark.timeout(600)
def test_from_a_model_to_an_endpoint_and_to_nothing(shell: Shell, api: Api, namespace: str) -> None:
    store = shell.project.store()
    digests = [constant_of(store, "small", number).digest for number in (1, 2)]
    shell.env["XDG_STATE_HOME"] = str(shell.project.folder / "another-person")
    assert digests[0] in shell("serve", "small", "--version", "1", "--detach", *SMALL, code=2)
    assert shell.json("endpoints") == []

    served = shell.json("serve", "small", "--version", "1", "--trust", digests[0], "--detach", *SMALL)
    assert (served["name"], served["version"], served["phase"]) == ("small", 1, "Ready")
    assert served["url"].startswith("http://127.0.0.1:")
    assert shell.json("predict", "small", "[[1.0, 2.0], [3.0, 4.0]]") == [1.0, 1.0]
    assert "Expected" in shell("predict", "small", '["x"]', code=2)
    for pod in _pods(api, namespace, "model"):
        assert pod["spec"]["automountServiceAccountToken"] is False
        [container] = pod["spec"]["containers"]
        assert not any(one["name"].startswith("AWS_") for one in container["env"])  # code of models gets no keys
        assert container["resources"]["requests"] == {"cpu": "20m", "memory": "256Mi"}

    assert shell.json("serve", "small", "--trust", digests[1], "--detach", *SMALL)["version"] == 2
    assert shell.json("predict", "small", "[[1.0, 2.0]]") == [2.0]
    assert shell.json("endpoints", "rollback", "small")["version"] == 1
    assert shell.json("predict", "small", "[[1.0, 2.0]]") == [1.0]
    shell("endpoints", "canary", "small", "2", "50")
    answers = [shell.json("predict", "small", "[[1.0, 2.0]]")[0] for _ in range(8)]
    assert set(answers) == {1.0, 2.0}
    assert shell.json("endpoints", "canary", "small", "2", "0")["version"] == 1
    measured = shell.json("endpoints", "bench", "small", "--rate", "20", "--seconds", "2")
    assert (measured["sent"], measured["failed"], measured["versions"]) == (40, 0, {"1": 40})
    [listed] = shell.json("endpoints")
    assert (listed["name"], listed["phase"], listed["routing"]["version"]) == ("small", "Ready", 1)

    assert shell.json("endpoints", "stop", "small")["phase"] == "Stopped"
    assert _left(api, namespace) == []
    assert "is not being served" in shell("predict", "small", code=2)
    actions = [one["action"] for one in shell.json("endpoints", "history", "small")]
    assert actions == ["started", "switched", "rolled back", "canary", "canary", "stopped"]


@pytest.mark.timeout(600)
def test_a_run_on_the_cluster_registers_its_model_and_another_profile_serves_it(shell: Shell) -> None:
    """Trained there, served there; and trained here, served there."""
    folder = shell.project.copy(ROOT / "examples" / "digits")
    shell("run", str(folder / "digits.ipynb"), "--quiet")
    [model] = shell.json("models")
    assert (model["name"], [one["version"] for one in model["versions"]]) == ("digits", [1])
    assert model["versions"][0]["metrics"]["accuracy"] > 0.9
    served = shell.json("serve", "digits", "--detach", *SMALL)
    assert (served["version"], served["phase"]) == (1, "Ready")
    remote = shell("predict", "digits")
    shell("endpoints", "stop", "digits")

    # The same model here is the same version there: its files are known by their digests.
    toml = (folder / "nbkube.toml").read_text()
    (folder / "nbkube.toml").write_text(toml.replace('default = "bench"', 'default = "local"'))
    here = constant_of(open_store(folder / ".nbkube"), "small", 5)
    assert [one["name"] for one in shell.json("models")] == ["small"]
    served = shell.json("serve", "small", "--profile", "bench", "--detach", *SMALL)
    assert (served["version"], served["phase"]) == (1, "Ready")
    assert shell.json("predict", "small", "[[1.0, 2.0]]", "--profile", "bench") == [5.0]
    there = shell.project.store()
    assert [one.digest for one in ModelRegistry(there).versions("small")] == [here.digest]
    shell("endpoints", "stop", "small", "--profile", "bench")
    assert remote.startswith("predict [")


class Phase:
    """What must answer between two orders: `since` the one has returned, until the next one began."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.since = time.perf_counter()
        self.until = float("inf")


class Orders:
    """Orders under load, each with the time from which on its version alone may answer."""

    def __init__(self, version: int) -> None:
        self.phases = [Phase(version)]

    def __call__(self, version: int, order: Callable[[], Any]) -> None:
        self.phases[-1].until = time.perf_counter()
        order()
        self.phases.append(Phase(version))
        time.sleep(0.3)  # so that requests fall between two orders

    def wrong(self, answers: list[Answer]) -> list[Answer]:
        """Return the answers that began after an order had returned and ended before the next, by another version."""
        return [
            one
            for phase in self.phases
            for one in answers
            if phase.since <= one.started and one.ended <= phase.until and one.version != str(phase.version)
        ]


@pytest.mark.timeout(900)
def test_no_request_is_lost_while_versions_change_and_pods_are_deleted(
    shell: Shell, api: Api, namespace: str, record_property: Callable[[str, object], None]
) -> None:
    store = shell.project.store()
    for number in (1, 2):
        constant_of(store, "small", number)
    shell.project.configure(image=shell.project.client().profile().image, more='serve.expose = "node-port"')
    served = shell.json("serve", "small", "--version", "1", "--detach", "--replicas", "2", *SMALL)
    assert not served["url"].startswith("http://127.0.0.1")
    client = shell.project.client()
    client.serve("small", 2)
    client.rollback_endpoint("small")
    orders = Orders(1)

    def change() -> None:
        for turn in range(ROUNDS):
            orders(2, lambda: client.serve("small", 2))
            orders(1, lambda: client.rollback_endpoint("small"))
            # One pod after the other, as an operator would: the next one only when the last has been replaced.
            name = _one_of_two(api, namespace, ("model", "router")[turn % 2])
            api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}")
            assert client.predict("small", [[1.0, 2.0]]) == [1.0]  # while a pod goes
            os.kill(_worker({pod["metadata"]["name"] for pod in _pods(api, namespace, "model")} - {name}), SIGKILL)
            assert client.predict("small", [[1.0, 2.0]]) == [1.0]

    began = time.monotonic()
    answers = _under_load(predict_url(served["url"], "small"), change)
    took = time.monotonic() - began
    record_property("requests a second", round(len(answers) / took))
    slowest = max(one.seconds for one in answers)
    print(f"{len(answers)} requests in {took:.0f} s, {len(orders.phases) - 1} changes, slowest {slowest:.2f} s")  # noqa: T201
    assert len(answers) >= RATE
    assert [(one.status, one.body) for one in answers if one.status != 200] == []
    assert orders.wrong(answers) == []
    client.stop_endpoint("small")
    assert _left(api, namespace) == []


def _one_of_two(api: Api, namespace: str, role: str) -> str:
    """Return the name of a pod that is ready, when another of the same Deployment is ready, too."""
    while True:  # the test's own time limit ends it
        ready: dict[str, list[str]] = {}
        for pod in _pods(api, namespace, role):
            conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", ())}
            if conditions.get("Ready") == "True":
                ready.setdefault(pod["metadata"]["labels"]["pod-template-hash"], []).append(pod["metadata"]["name"])
        for names in ready.values():
            if len(names) > 1:
                return names[0]
        time.sleep(0.2)


def _worker(pods: set[str]) -> int:
    """Return a process of this machine, which is the node, in which one of some pods predicts."""
    while True:  # the test's own time limit ends it
        for place in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it may have ended meanwhile
                if b"nbkube.serving.worker" in (place / "cmdline").read_bytes():
                    variables = (place / "environ").read_bytes().split(b"\0")
                    if any(b"HOSTNAME=" + pod.encode() in variables for pod in pods):
                        return int(place.name)
        time.sleep(0.2)


def _under_load(url: str, work: Callable[[], None]) -> list[Answer]:
    """Do something while requests come at a steady rate; return all answers."""
    loop = OpenLoop(url, lambda _: request_of(url, BODY), keep=True)
    ended = threading.Event()

    async def run() -> None:
        while not ended.is_set() or len(loop.answers) < RATE * SECONDS:
            await loop.run(RATE, 1.0)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        work()
    finally:
        ended.set()
        thread.join()
    return loop.answers


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_pods_follow_the_load(shell: Shell, api: Api, namespace: str) -> None:
    constant_of(shell.project.store(), "small", 1)
    shell.project.configure(image=shell.project.client().profile().image, more='serve.expose = "node-port"')
    served = shell.json("serve", "small", "--detach", "--replicas", "1:3", *SMALL)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/nbkube-serve-small-v1"

    def grown() -> None:
        api.wait(path, lambda found: found["status"].get("readyReplicas") == 3, 150, "three pods under load")

    answers = _under_load(predict_url(served["url"], "small"), grown)
    assert [(one.status, one.body) for one in answers if one.status != 200] == []
    api.wait(path, lambda found: found["status"].get("replicas") == 1, 150, "one pod without load")
    shell("endpoints", "stop", "small")
