"""What would be refused or never start is told before a submission, with step and option."""

from __future__ import annotations

from typing import Any

import pytest

from nbkube.cluster.capacity import Capacity, Limit, NodeCapacity, Quota, StorageClass, Taint
from nbkube.pipeline import Pipeline
from nbkube.preflight import Surroundings, refusals
from nbkube.profiles import Allowed, DefaultResources, Profile, StoreAccess
from tests.unit.documents import code, pipeline

GI = 2.0**30
SMALL = NodeCapacity("small", {"cpu": 4.0, "memory": 15.3 * GI, "pods": 110.0}, arch="amd64", labels={"disk": "ssd"})
GPU = NodeCapacity(
    "gpu",
    {"cpu": 16.0, "memory": 62.1 * GI, "nvidia.com/gpu": 2.0},
    product="NVIDIA-A100-SXM4-40GB",
    labels={"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB"},
    taints=(Taint("nvidia.com/gpu"),),
)
CLOSED = NodeCapacity("closed", {"cpu": 64.0, "memory": 500 * GI}, taints=(Taint("dedicated", "web"),))
CLASSES = (StorageClass("standard", default=True), StorageClass("fast"))
LAB = Profile("lab", engine="argo", registry="registry.example:5000/team", image="docker.io/team/base:1")


def steps(**options: Any) -> Pipeline:
    return pipeline(code("x = 1", "step:train", options=options))


def around(*nodes: NodeCapacity, **more: Any) -> Surroundings:
    missing = frozenset(more.pop("missing", ()))
    capacity = Capacity("nodes", nodes or (SMALL, GPU, CLOSED), storage_classes=more.pop("classes", CLASSES), **more)
    return Surroundings("team-a", capacity, missing)


def told(profile: Profile, options: dict[str, Any], where: Surroundings | None = None) -> list[tuple[str, str, str]]:
    found = refusals(profile, steps(**options), where)
    return [(one.severity, one.message.removeprefix("step train, "), one.hint) for one in found]


def test_a_modest_step_is_let_through() -> None:
    options = {"cpu": "2", "memory": "4Gi", "volume": ["new:10Gi:/scratch"], "node-selector": {"disk": "ssd"}}
    assert told(LAB, options, around()) == []
    assert told(LAB, {"gpu": 2, "gpu-type": "NVIDIA-A100-SXM4-40GB", "memory": "60Gi"}, around()) == []


def test_the_place_is_the_steps_first_cell() -> None:
    (found,) = refusals(LAB, steps(secret="hub"))
    assert (found.place.cell, found.place.cell_id, found.code) == (1, "c1", "not-allowed")


@pytest.mark.parametrize(
    ("options", "message", "add"),
    [
        (
            {"image": "docker.io/evil/miner:1"},
            "image: docker.io/evil/miner:1 is not on",
            '"docker.io/evil/miner:1" to images',
        ),
        ({"image": "registry.example:5000/teamx/a"}, "image: registry.example:5000/teamx/a", "to images"),
        ({"secret": "hub-token"}, "secret: hub-token is not on", '"hub-token" to secrets'),
        ({"volume": "data:/data"}, "volume: data is not on", '"data" to volumes'),
    ],
)
def test_what_the_profile_does_not_allow(options: dict[str, Any], message: str, add: str) -> None:
    ((severity, said, hint),) = told(LAB, options)
    assert severity == "error"
    assert said.startswith(f"option {message}")
    assert add in hint
    assert "[profiles.lab.allow]" in hint


def test_what_the_profile_allows() -> None:
    allow = Allowed(("docker.io/library/python:*",), ("hub-*",), ("data",), ("disk=*",))
    profile = Profile("lab", registry=LAB.registry, image=LAB.image, allow=allow)
    options = {"secret": ["hub-token"], "volume": "data:/data", "node-selector": {"disk": "ssd"}}
    for image in ("docker.io/library/python:3.12", "registry.example:5000/team/a:1", "docker.io/team/base:1"):
        assert told(profile, options | {"image": image}) == []
    ((_, message, _),) = told(profile, {"node-selector": {"zone": "a"}})
    assert "zone=a is not on the list of the profile lab (it allows disk=*)" in message


@pytest.mark.parametrize("pattern", ["hub[a-z]", "hub?", "h*b[x]"])
def test_only_the_star_is_special(pattern: str) -> None:
    assert told(Profile("lab", allow=Allowed(secrets=(pattern,))), {"secret": "hubx"}) != []


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            {"memory": "64Gi"},
            "option memory: asks for 64Gi, and no node it could use has more than 15.3Gi",
            "ask for less than 15.3Gi",
        ),
        (
            {"memory": "64Gi", "gpu": 1},
            "option memory: asks for 64Gi, and no node it could use has more than 62.1Gi",
            "ask for less than 62.1Gi",
        ),
        ({"gpu": 4}, "option gpu: asks for 4, and no node it could use has more than 2", "ask for at most 2"),
        ({"gpu": "amd.com/gpu=1"}, "option gpu: no node has amd.com/gpu", "there are: nvidia.com/gpu"),
        (
            {"gpu": 1, "gpu-type": "NVIDIA-A100-SXM4-80GB"},
            "option gpu-type: no node has a GPU of type NVIDIA-A100-SXM4-80GB",
            "did you mean NVIDIA-A100-SXM4-40GB?",
        ),
        (
            {"node-selector": {"disk": "hdd"}},
            "option node-selector: no node has the label disk=hdd",
            "see kubectl get nodes --show-labels",
        ),
        (
            {"volume": "new:1Gi:fsat:/x"},
            "option volume: there is no storage class fsat",
            "did you mean fast?",
        ),
    ],
)
def test_what_no_node_can_give(options: dict[str, Any], message: str, hint: str) -> None:
    assert told(LAB, options, around()) == [("error", message, hint)]


def test_a_taint_that_is_not_tolerated() -> None:
    where = around(CLOSED)
    assert told(LAB, {"cpu": 1}, where) == [
        (
            "error",
            "option toleration: every node it could use has a taint that it does not tolerate, "
            "such as dedicated=web:NoSchedule",
            "add toleration dedicated=web:NoSchedule",
        )
    ]
    for toleration in ("dedicated", "dedicated=web", "dedicated=web:NoSchedule"):
        assert told(LAB, {"cpu": 1, "toleration": toleration}, where) == []
    assert told(LAB, {"cpu": 1, "toleration": "dedicated=db"}, where) != []


def test_no_single_node_has_it_all() -> None:
    many = NodeCapacity("many", {"cpu": 32.0, "memory": 8 * GI})
    ((_, message, _),) = told(LAB, {"cpu": 8, "memory": "12Gi"}, around(SMALL, many))
    assert message == "option cpu: no single node has 8 and 12Gi"


def test_nodes_that_come_on_demand_make_it_a_warning() -> None:
    assert [one[0] for one in told(LAB, {"memory": "64Gi"}, around(SMALL, elastic=True))] == ["warning"]


def test_nothing_is_concluded_from_what_may_not_be_seen() -> None:
    hidden = Surroundings("team-a", Capacity("unknown", hidden=("nodes",)))
    assert told(LAB, {"memory": "64Gi", "gpu": "amd.com/gpu=4", "volume": "new:1Gi:x:/x"}, hidden) == []


def test_quotas_and_limits() -> None:
    quotas = (
        Quota("team", {"requests.memory": 8 * GI, "requests.nvidia.com/gpu": 1.0, "limits.cpu": 2.0}, {}),
        Quota("best-effort", {"cpu": 0.0}, {}, scoped=True),
    )
    limits = (Limit("sizes", "Container", least={"memory": GI}, most={"cpu": 1.5}),)
    where = around(quotas=quotas, limits=limits)
    assert [one[1] for one in told(LAB, {"memory": "9Gi", "gpu": 2, "cpu": 2}, where)] == [
        "option memory: asks for 9Gi, and the quota team of team-a allows 8Gi in all",
        "option gpu: asks for 2, and the quota team of team-a allows 1 in all",
        "option cpu: asks for 2, and the limit range sizes of team-a allows at most 1.5",
    ]
    assert [one[1] for one in told(LAB, {"memory": "512Mi"}, where)] == [
        "option memory: asks for 512Mi, and the limit range sizes of team-a wants at least 1Gi"
    ]


def test_the_profiles_defaults_count() -> None:
    profile = Profile("lab", resources=DefaultResources(memory="64Gi"))
    assert [one[1] for one in told(profile, {}, around(SMALL))] == [
        "option memory: asks for 64Gi, and no node it could use has more than 15.3Gi"
    ]
    assert told(profile, {"memory": "1Gi"}, around(SMALL)) == []


def test_what_is_missing() -> None:
    profile = Profile(
        "lab",
        allow=Allowed(secrets=("*",), volumes=("*",)),
        store=StoreAccess(secret="keys"),
        priority_class="low",
        service_account="runner",
    )
    where = around(
        missing=[
            ("Secret", "hub"),
            ("Secret", "keys"),
            ("PersistentVolumeClaim", "data"),
            ("ServiceAccount", "runner"),
            ("PriorityClass", "low"),
        ],
        classes=(StorageClass("fast"),),
    )
    options = {"secret": "hub", "volume": ["data:/data", "new:1Gi:/x"]}
    assert [one[1] for one in told(profile, options, where)] == [
        "option secret: there is no secret hub in team-a",
        "option volume: there is no volume claim data in team-a",
        "option volume: the cluster has no default storage class",
        "there is no service account runner in team-a",
        "there is no priority class low",
        "there is no secret keys in team-a, which gives pods the store's keys",
    ]
