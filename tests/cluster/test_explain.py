"""Pods that cannot run, on a real node: the reason is told in one sentence, within seconds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from nbkube.cluster import Cluster, connect
from nbkube.cluster.explain import Trouble, explain, explain_message
from nbkube.cluster.model import EVENT, POD, Manifest
from nbkube.errors import RefusedError
from tests.cluster.bench import Bench
from tests.cluster.namespaces import pod
from tests.cluster.troubles import CASES, SLEEP, SMALL, manifest

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def cluster(bench: Bench, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The bench through nbkube's own client, with an administrator's rights, in the test's namespace."""
    monkeypatch.setenv("KUBECONFIG", bench.kubeconfig)
    return connect(namespace=namespace)


def events_of(events: list[Manifest], name: str) -> list[Manifest]:
    return [one for one in events if one["involvedObject"].get("name") == name]


def record(name: str, found: Manifest, events: list[Manifest]) -> None:
    folder = os.environ.get("NBKUBE_RECORD")
    if not folder:
        return
    for one in (found, *events):
        one["metadata"].pop("managedFields", None)
    data = msgspec.json.format(msgspec.json.encode({"pod": found, "events": events}), indent=1)
    (Path(folder) / f"{name}.json").write_bytes(data + b"\n")


def test_each_trouble_is_told(bench: Bench, cluster: Cluster) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "unbound"},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "no-such-class",
            "resources": {"requests": {"storage": "1Mi"}},
        },
    }
    cluster.create(claim)
    for name, case in CASES.items():
        cluster.create(manifest(bench, cluster.namespace, name, case))
    told: dict[str, Trouble] = {}
    until = time.monotonic() + 120
    while time.monotonic() < until and len(told) < len(CASES):
        pods = {one["metadata"]["name"]: one for one in cluster.list(POD)}
        events = cluster.list(EVENT)
        for name, case in CASES.items():
            found = explain(pods[name], events_of(events, name))
            if name in told or found is None:
                continue
            if found.kind in (case.kind, case.or_kind) and case.said in found.message:
                told[name] = found
                record(name, pods[name], events_of(events, name))
        time.sleep(0.5)
    pods = {one["metadata"]["name"]: one for one in cluster.list(POD)}
    events = cluster.list(EVENT)
    wrong = {
        name: (str(explain(pods[name], events_of(events, name))), pods[name]["status"])
        for name in CASES.keys() - told.keys()
    }
    assert wrong == {}
    assert {name: found.hint for name, found in told.items() if CASES[name].hint not in found.hint} == {}


def test_an_evicted_pod_says_so(bench: Bench, cluster: Cluster) -> None:
    cluster.create(pod(cluster.namespace, "evicted", bench.images.base, SLEEP, resources=SMALL))
    last: Manifest = {}
    with cluster.watch(POD, fields="metadata.name=evicted", idle=2.0) as watch:
        for change in watch:
            last = change.object or last
            if change.what == "deleted":
                break
            if change.what in ("added", "modified") and change.object["status"]["phase"] == "Running":
                _evict(cluster, "evicted")
    record("evicted", last, [])
    found = explain(last)
    assert found is not None
    assert (found.kind, found.ended) == ("evicted", True)
    assert found.message.startswith(f"the pod was evicted from node {bench.node}")


def _evict(cluster: Cluster, name: str) -> None:
    from nbkube.cluster import Kind

    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": cluster.namespace},
    }
    path = f"/api/v1/namespaces/{cluster.namespace}/pods/{name}/eviction"
    assert Kind.of(eviction).kind == "Eviction"
    cluster._connection.call("POST", path, "evict", body=eviction)


def test_a_quota_that_is_used_up_refuses_with_the_amounts(bench: Bench, cluster: Cluster) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "1"}},
    }
    cluster.create(quota)
    made = pod(cluster.namespace, "greedy", bench.images.base, SLEEP)
    made["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": "2"}}
    # The quota counts once its controller has seen it.
    until = time.monotonic() + 100
    while True:
        try:
            cluster.create(made, dry_run=True)
        except RefusedError as error:
            if "exceeded quota" in str(error) or "the quota team" in str(error):
                refusal = str(error)
                break
        assert time.monotonic() < until
        time.sleep(0.2)
    assert refusal == (
        "create Pod greedy: the quota team does not allow it: asked for requests.nvidia.com/gpu=2, "
        "used requests.nvidia.com/gpu=0 of requests.nvidia.com/gpu=1. "
        "Fix: ask for less, or wait until something has ended"
    )


def test_pod_security_refuses_with_what_is_wrong(bench: Bench, cluster: Cluster) -> None:
    made = pod(cluster.namespace, "root", bench.images.base, SLEEP)
    made["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
    with pytest.raises(RefusedError, match="Pod Security does not allow it: .*violates PodSecurity") as caught:
        cluster.create(made, dry_run=True)
    found = explain_message(str(caught.value))
    assert found is not None
    assert found.kind == "policy"
