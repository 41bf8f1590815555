"""What keeps a pod from running becomes one sentence with what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbkube.cluster.explain import explain, explain_message
from nbkube.cluster.model import Manifest
from nbkube.pipeline.placement import product_affinity
from tests.cluster.troubles import CASES


def pod(status: dict[str, Any], **spec: Any) -> Manifest:
    main = {"name": "main", "image": "registry.example:5000/team/base:1"} | spec.pop("main", {})
    metadata = {"name": "digits-1-train", "namespace": "n", "uid": "u"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [main], "nodeName": "node-1"} | spec,
        "status": {"phase": "Pending"} | status,
    }


def unscheduled(message: str) -> dict[str, Any]:
    return {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}],
    }


def state(name: str = "main", image: str = "", /, **state: Any) -> dict[str, Any]:
    return {
        "containerStatuses": [{"name": name, "image": image or "registry.example:5000/team/base:1", "state": state}]
    }


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return state(waiting={"reason": reason, "message": message})


def told(one: Manifest, events: list[Manifest] | None = None) -> tuple[str, str, str]:
    found = explain(one, events or [])
    assert found is not None
    return found.kind, found.message, found.hint


def event(reason: str, message: str, at: str = "2026-11-27T13:00:00Z", kind: str = "Warning") -> Manifest:
    return {"kind": "Event", "type": kind, "reason": reason, "message": message, "lastTimestamp": at}


GPU = {"resources": {"requests": {"nvidia.com/gpu": "3", "cpu": "8"}}}


@pytest.mark.parametrize(
    ("message", "sentence", "hint"),
    [
        (
            "0/1 nodes are available: 1 Insufficient nvidia.com/gpu. no new claims to deallocate, preemption: 0/1 "
            "nodes are available: 1 No preemption victims found for incoming pod.",
            "none of 1 node takes the pod: too little nvidia.com/gpu free on 1 (asked for 3)",
            "ask for less gpu, or wait until others have ended",
        ),
        (
            "0/6 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane: }, "
            "2 Insufficient cpu, 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/6 nodes.",
            "none of 6 nodes takes the pod: taint node-role.kubernetes.io/control-plane not tolerated on 1; "
            "too little cpu free on 2 (asked for 8); label disk=ssd missing on 3",
            "add toleration node-role.kubernetes.io/control-plane",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: web}.",
            "none of 1 node takes the pod: taint dedicated=web not tolerated on 1",
            "add toleration dedicated=web",
        ),
        (
            "0/1 nodes are available: 1 node(s) had untolerated taint(s).",
            "none of 1 node takes the pod: a taint not tolerated on 1",
            "see kubectl describe nodes, and add the toleration",
        ),
        (
            "0/2 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/disk-pressure: }, "
            "1 node(s) were unschedulable. preemption: no",
            "none of 2 nodes takes the pod: disk-pressure on 1; closed for new pods: 1",
            "",
        ),
        ("0/1 nodes are available: 1 Too many pods.", "none of 1 node takes the pod: no room for another pod on 1",
         "wait until others have ended"),
        ("no nodes available to schedule pods", "no node takes the pod: no nodes available to schedule pods", ""),
    ],
)  # fmt: skip
def test_no_node(message: str, sentence: str, hint: str) -> None:
    one = pod(unscheduled(message), main=GPU, nodeSelector={"disk": "ssd"})
    assert told(one) == ("unschedulable", sentence, hint)
    assert told(pod({}, main=GPU, nodeSelector={"disk": "ssd"}), [event("FailedScheduling", message)])[1] == sentence


def test_no_node_with_the_model_of_a_gpu() -> None:
    message = "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes."
    one = pod(unscheduled(message), main=GPU, nodeSelector={"disk": "ssd"}, affinity=product_affinity("H100"))
    sentence = "none of 3 nodes takes the pod: label disk=ssd or GPU model H100 missing on 3"
    assert told(one) == ("unschedulable", sentence, "correct node-selector or gpu-type")


def test_a_volume_that_is_not_there() -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/1 nodes."
    kind, sentence, hint = told(pod(unscheduled(unbound), volumes=volumes))
    assert (kind, sentence) == ("volume", "the volume claim data is not bound to any volume")
    assert "storage class" in hint
    absent = '0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: 0/1 nodes are available.'
    assert told(pod(unscheduled(absent), volumes=volumes))[:2] == ("volume", "there is no volume claim data")


@pytest.mark.parametrize(
    ("message", "why", "hint"),
    [
        (
            "ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "
            '"registry.example:5000/team/base:1": not found',
            "there is no such image",
            "check its name and tag",
        ),
        (
            "dial tcp 127.0.0.1:9: connect: connection refused",
            "the registry registry.example:5000 cannot be reached",
            "check the host name as the nodes see it",
        ),
        (
            "failed to authorize: 401 Unauthorized",
            "the registry registry.example:5000 does not let the node in",
            "give the service account an imagePullSecret",
        ),
        ("something odd", "something odd", ""),
    ],
)
@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff"])
def test_an_image_that_cannot_be_pulled(reason: str, message: str, why: str, hint: str) -> None:
    said = f"the image registry.example:5000/team/base:1 cannot be pulled: {why}"
    assert told(pod(waiting(reason, message))) == ("image", said, hint)


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        ('secret "hub" not found', "there is no secret hub in the namespace"),
        ('configmap "settings" not found', "there is no config map settings in the namespace"),
        ("couldn't find key token in Secret n/hub", "the secret hub has no key token"),
        (
            "container has runAsNonRoot and image will run as root (pod: x, container: main)",
            "the image runs as root, and the namespace does not allow that",
        ),
        ("what now", "the container cannot be set up: what now"),
    ],
)
def test_a_container_that_cannot_be_set_up(message: str, sentence: str) -> None:
    assert told(pod(waiting("CreateContainerConfigError", message)))[:2] == ("configuration", sentence)


def test_too_much_memory() -> None:
    killed = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    one = pod({"phase": "Failed"} | state(**killed), main={"resources": {"limits": {"memory": "64Mi"}}})
    said = "container main used more memory than its limit of 64Mi and was killed (OOMKilled)"
    assert told(one) == ("out-of-memory", said, "raise memory")
    found = explain(one)
    assert found is not None
    assert found.ended
    assert str(found) == f"{said}. Fix: raise memory"


def test_a_kill_whose_cause_the_node_has_missed() -> None:
    killed = {"terminated": {"reason": "Error", "exitCode": 137}}
    one = pod({"phase": "Failed"} | state(**killed), main={"resources": {"limits": {"memory": "64Mi"}}})
    said = "container main was killed (signal 9), as when it uses more memory than its limit of 64Mi"
    assert told(one)[:2] == ("exit", said)
    assert told(pod({"phase": "Failed"} | state(**killed)))[1] == (
        "container main ended with exit code 137 (killed by signal 9)"
    )


def test_an_earlier_instance_says_why_it_crashed() -> None:
    status = state(waiting={"reason": "CrashLoopBackOff", "message": "back-off"})
    status["containerStatuses"][0]["lastState"] = {"terminated": {"reason": "Error", "exitCode": 3}}
    assert told(pod({"phase": "Running"} | status))[:2] == ("exit", "container main ended with exit code 3")


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (
            {"reason": "Evicted", "message": "The node was low on resource: memory. Threshold quantity: 100Mi, …"},
            "evicted",
            "node node-1 ran low on memory, and the pod had to go",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "DisruptionTarget",
                        "status": "True",
                        "reason": "EvictionByEvictionAPI",
                        "message": "Eviction API: evicting",
                    }
                ]
            },
            "evicted",
            "the pod was evicted from node node-1: Eviction API: evicting",
        ),
        (
            {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}]},
            "preempted",
            "the pod had to make room for one of higher priority",
        ),
        (
            {"reason": "DeadlineExceeded", "message": "Pod was active on the node longer than the specified deadline"},
            "deadline",
            "the pod took more than its 5 s and was ended",
        ),
        (
            {"reason": "UnexpectedAdmissionError", "message": "Allocate failed due to no healthy devices present"},
            "node",
            "the node did not take the pod: Allocate failed due to no healthy devices present",
        ),
        ({"reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}, "node",
         "the node did not take the pod: Node didn't have enough resource: cpu"),
    ],
)  # fmt: skip
def test_ended_by_the_cluster(status: dict[str, Any], kind: str, sentence: str) -> None:
    one = pod({"phase": "Failed"} | status, activeDeadlineSeconds=5)
    assert told(one)[:2] == (kind, sentence)
    found = explain(one)
    assert found is not None
    assert found.ended


def test_the_init_container_comes_first() -> None:
    status = waiting("PodInitializing")
    status["initContainerStatuses"] = waiting("ImagePullBackOff", "not found")["containerStatuses"]
    status["initContainerStatuses"][0]["name"] = "init"
    assert told(pod(status))[0] == "image"


@pytest.mark.parametrize(
    ("reason", "message", "kind", "sentence"),
    [
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "t" : secret "nbkube-runner.service-account-token" not found',
            "configuration",
            "there is no secret nbkube-runner.service-account-token in the namespace",
        ),
        (
            "FailedMount",
            'MountVolume.SetUp failed for volume "s" : references non-existent secret key: token',
            "configuration",
            "a secret lacks a key that is mounted: MountVolume.SetUp failed for volume \"s\" : references non-existent "
            "secret key: token",
        ),
        ("FailedCreatePodSandBox", "no IP", "node", "the node cannot set up the pod: no IP"),
    ],
)  # fmt: skip
def test_events_speak_where_the_status_is_silent(reason: str, message: str, kind: str, sentence: str) -> None:
    one = pod(waiting("PodInitializing"))
    assert told(one, [event(reason, message)])[:2] == (kind, sentence)
    later = event("Started", "Started container init", "2026-11-27T13:00:05Z", "Normal")
    assert explain(one, [later, event(reason, message)]) is None


@pytest.mark.parametrize(
    "one",
    [
        pod({}),
        pod(waiting("ContainerCreating")),
        pod({"phase": "Running"} | state(running={"startedAt": "x"})),
        pod({"phase": "Succeeded"} | state(terminated={"exitCode": 0, "reason": "Completed"})),
        {"metadata": {"name": "x"}},
    ],
    ids=["new", "creating", "running", "done", "bare"],
)
def test_nothing_is_wrong(one: Manifest) -> None:
    assert explain(one, [event("Pulling", "Pulling image", kind="Normal")]) is None


def test_words_of_the_cluster_that_are_no_pod() -> None:
    quota = (
        'pods "x" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=2, '
        "used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=1"
    )
    found = explain_message(quota)
    assert found is not None
    assert found.kind == "quota"
    assert "asked for requests.nvidia.com/gpu=2" in found.message
    policy = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    refused = explain_message(policy)
    assert refused is not None
    assert refused.kind == "policy"
    account = explain_message('error looking up service account n/runner: serviceaccount "runner" not found')
    assert account is not None
    assert account.message == "there is no service account runner in the namespace"
    assert explain_message("all is well") is None


RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_a_real_cluster_said(name: str) -> None:
    """The recordings are those of `tests/cluster/test_explain.py`, which looks at the same pods alive."""
    recorded = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    found = explain(recorded["pod"], recorded["events"])
    assert found is not None
    assert found.kind == CASES[name].kind
    assert CASES[name].said in found.message
    assert CASES[name].hint in found.hint
    assert "\n" not in str(found)


def test_a_pod_evicted_from_a_real_cluster() -> None:
    recorded = json.loads((RECORDED / "evicted.json").read_text(encoding="utf-8"))
    assert told(recorded["pod"])[:2] == ("evicted", "the pod was evicted from node node1: Eviction API: evicting")


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_truncated_status_never_breaks_it(name: str) -> None:
    recorded = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    for section in ("spec", "status"):
        for key in list(recorded["pod"][section]):
            rest = {inner: one for inner, one in recorded["pod"][section].items() if inner != key}
            explain(recorded["pod"] | {section: rest}, recorded["events"])
