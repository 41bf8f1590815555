"""What is free is reckoned as the scheduler does; what may not be seen is never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from nbkube.cluster.capacity import Limit, Quota, StorageClass, Taint, amounts, is_device, reckon, requests
from nbkube.cluster.model import Manifest


def node(name: str, labels: dict[str, str] | None = None, ready: str = "True", **spec: Any) -> Manifest:
    allocatable = {"cpu": "4", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2", "hugepages-2Mi": "0"}
    status = {"allocatable": allocatable, "conditions": [{"type": "Ready", "status": ready}]}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec, "status": status}


def pod(where: str, phase: str = "Running", *containers: dict[str, Any], **spec: Any) -> Manifest:
    return {
        "metadata": {"name": "p"},
        "spec": {"nodeName": where, "containers": [{"name": "c", "resources": one} for one in containers], **spec},
        "status": {"phase": phase},
    }


SMALL = {"requests": {"cpu": "500m", "memory": "1Gi"}}


def test_free_is_what_no_unfinished_pod_has_asked_for() -> None:
    pods = [
        pod("a", "Running", SMALL, SMALL),
        pod("a", "Pending", {"limits": {"cpu": "1", "nvidia.com/gpu": "1"}}),
        pod("a", "Succeeded", SMALL),
        pod("a", "Failed", SMALL),
        pod("", "Pending", SMALL),
        pod("b", "Running", {"requests": {"cpu": "9"}}),
    ]
    found = reckon([node("a"), node("b")], pods=pods)
    assert found.source == "nodes and pods"
    first, second = found.nodes
    assert first.free is not None
    assert second.free is not None
    assert first.free == {
        "cpu": 2.0, "memory": 14 * 2.0**30, "pods": 108.0, "nvidia.com/gpu": 1.0, "hugepages-2Mi": 0.0,
    }  # fmt: skip
    assert second.free["cpu"] == 0.0
    assert found.largest("cpu", free=True) == 2.0
    assert found.devices == ("nvidia.com/gpu",)


def test_a_pod_asks_for_the_most_it_ever_needs() -> None:
    big, side = {"requests": {"cpu": "3", "memory": "1Gi"}}, {"requests": {"cpu": "200m"}}
    inits = [
        {"name": "first", "resources": big},
        {"name": "sidecar", "restartPolicy": "Always", "resources": side},
        {"name": "second", "resources": {"requests": {"cpu": "3500m"}}},
    ]
    one = pod("a", "Running", SMALL, SMALL, initContainers=inits, overhead={"cpu": "100m", "memory": "1Mi"})
    assert requests(one) == pytest.approx({"cpu": 3.8, "memory": 2 * 2.0**30 + 2.0**20})
    assert requests(pod("a", "Running", SMALL, initContainers=inits[1:2])) == {"cpu": 0.7, "memory": 2.0**30}
    assert requests({"spec": {}}) == {}


def test_nodes_that_take_no_pods_do_not_count() -> None:
    taints = [
        {"key": "dedicated", "value": "web", "effect": "NoSchedule"},
        {"key": "soft", "effect": "PreferNoSchedule"},
    ]
    found = reckon([node("a", unschedulable=True), node("b", ready="Unknown"), node("c", taints=taints)], pods=[])
    assert [(one.open, one.ready) for one in found.nodes] == [(False, True), (False, False), (True, True)]
    assert found.nodes[2].taints == (Taint("dedicated", "web"),)
    assert str(found.nodes[2].taints[0]) == "dedicated=web:NoSchedule"
    assert reckon([node("a", unschedulable=True)]).largest("cpu") == 0.0


def test_the_ladder() -> None:
    quotas = [{"metadata": {"name": "q"}, "spec": {"hard": {"cpu": "4"}}, "status": {}}]
    assert reckon([node("a")], pods=[]).source == "nodes and pods"
    without = reckon([node("a")])
    assert without.source == "nodes"
    assert without.nodes[0].free is None
    assert reckon(None, quotas).source == "quota"
    assert reckon(None, []).source == reckon(None).source == "unknown"
    assert reckon([]).source == "nodes"


def test_kinds_of_gpu_and_pools() -> None:
    found = reckon([node("a", {"nvidia.com/gpu.product": "NVIDIA-A100", "kubernetes.io/arch": "arm64"})])
    assert (found.nodes[0].product, found.nodes[0].arch, found.elastic) == ("NVIDIA-A100", "arm64", False)
    for label in ("karpenter.sh/nodepool", "cloud.google.com/gke-nodepool", "eks.amazonaws.com/nodegroup"):
        assert reckon([node("a", {label: "x"})]).elastic


def test_quotas_limits_and_classes() -> None:
    quota = {
        "metadata": {"name": "team"},
        "spec": {"hard": {"requests.nvidia.com/gpu": "2"}, "scopes": ["NotTerminating"]},
        "status": {"hard": {"requests.nvidia.com/gpu": "2"}, "used": {"requests.nvidia.com/gpu": "1"}},
    }
    limits = {
        "metadata": {"name": "sizes"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "4Gi"}, "defaultRequest": {"cpu": "100m"}}]},
    }
    classes = [
        {
            "metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "provisioner": "x",
        },
        {"metadata": {"name": "slow"}, "provisioner": "x"},
    ]
    found = reckon(None, [quota], [limits], classes)
    assert found.quotas == (Quota("team", {"requests.nvidia.com/gpu": 2.0}, {"requests.nvidia.com/gpu": 1.0}, True),)
    assert found.limits == (Limit("sizes", "Container", most={"memory": 2.0**32}, default_request={"cpu": 0.1}),)
    assert found.storage_classes == (StorageClass("fast", "x", True), StorageClass("slow", "x"))
    assert reckon(None).storage_classes is None


def test_amounts_and_devices() -> None:
    assert amounts({"cpu": "1500m", "memory": 1024, "x": "much"}) == {"cpu": 1.5, "memory": 1024.0}
    for name in ("nvidia.com/gpu", "nvidia.com/mig-1g.5gb", "habana.ai/gaudi", "google.com/tpu"):
        assert is_device(name)
    for name in ("cpu", "ephemeral-storage", "hugepages-2Mi", "attachable-volumes-aws/ebs", "requests.nvidia.com/gpu"):
        assert not is_device(name)
