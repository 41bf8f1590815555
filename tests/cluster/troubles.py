"""Pods that cannot run, each for one reason, for real: what the cluster says of them is what people will see.

`NBKUBE_RECORD=FOLDER` makes the test write down each pod with its events; the recordings in
`tests/unit/cluster/recorded` were made so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.cluster.api import Object
from tests.cluster.bench import Bench
from tests.cluster.namespaces import pod

SLEEP = "import time; time.sleep(600)"
SMALL = {"requests": {"cpu": "10m"}}


@dataclass(frozen=True)
class Case:
    """A pod that cannot run (`program` and `spec` as for `namespaces.pod`), and what is to be told of it.

    `main` changes its container. `kind` (or `or_kind`) is the kind of trouble, `said` a part of the sentence, `hint`
    of the way out.
    """

    kind: str
    said: str
    hint: str = ""
    image: str = ""
    program: str = SLEEP
    spec: dict[str, Any] = field(default_factory=dict)
    main: dict[str, Any] = field(default_factory=dict)
    or_kind: str = ""


def _env(kind: str, name: str, key: str) -> dict[str, Any]:
    return {"env": [{"name": "X", "valueFrom": {f"{kind}KeyRef": {"name": name, "key": key}}}]}


def _claim(name: str) -> dict[str, Any]:
    return {"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]}


CASES: dict[str, Case] = {
    "gpu": Case(
        "unschedulable",
        "none of 1 node takes the pod: too little nvidia.com/gpu free on 1 (asked for 3)",
        "ask for less gpu",
        main={"resources": {"requests": {"cpu": "10m"}, "limits": {"nvidia.com/gpu": "3"}}},
    ),
    "cpu": Case(
        "unschedulable",
        "too little cpu free on 1 (asked for 500)",
        "ask for less cpu",
        main={"resources": {"requests": {"cpu": "500"}}},
    ),
    "memory": Case(
        "unschedulable",
        "too little memory free on 1 (asked for 900Gi)",
        "ask for less memory",
        main={"resources": {"requests": {"cpu": "10m", "memory": "900Gi"}}},
    ),
    "selector": Case(
        "unschedulable",
        "label disk=none missing on 1",
        "correct node-selector",
        spec={"nodeSelector": {"disk": "none"}},
    ),
    "claim-absent": Case("volume", "there is no volume claim nowhere", "correct the option", spec=_claim("nowhere")),
    "claim-unbound": Case(
        "volume", "the volume claim unbound is not bound to any volume", "storage class", spec=_claim("unbound")
    ),
    "image-absent": Case(
        "image", "/no/such:1 cannot be pulled: there is no such image", "check its name", "{node}/no/such:1"
    ),
    "registry-closed": Case(
        "image", "the registry localhost:9 cannot be reached", "check the host name", "localhost:9/nbkube/base:1"
    ),
    "image-name": Case("image", "is no name of an image", "correct image", "localhost:5000/No_Such//x"),
    "secret-absent": Case(
        "configuration", "there is no secret nowhere in the namespace", "kubectl create secret generic nowhere",
        main=_env("secret", "nowhere", "x"),
    ),
    "secret-key": Case(
        "configuration", "the secret bench-s3 has no key nothing", "kubectl edit secret bench-s3",
        main=_env("secret", "bench-s3", "nothing"),
    ),
    "config-map": Case(
        "configuration", "there is no config map nowhere in the namespace", "kubectl create configmap nowhere",
        main=_env("configMap", "nowhere", "x"),
    ),
    "secret-file": Case(
        "configuration", "there is no secret nowhere in the namespace", "kubectl create secret generic nowhere",
        spec={"volumes": [{"name": "s", "secret": {"secretName": "nowhere"}}]},
        main={"volumeMounts": [{"name": "s", "mountPath": "/s"}]},
    ),
    # Where a container ends at once the node sometimes misses why, and says no more than "killed".
    "memory-limit": Case(
        "out-of-memory", "more memory than its limit of 64Mi", "raise memory", program="b'x' * 300_000_000",
        main={"resources": {"limits": {"memory": "64Mi"}}}, or_kind="exit",
    ),
    "deadline": Case("deadline", "the pod took more than its 4 s and was ended", "raise timeout",
                     spec={"activeDeadlineSeconds": 4}),
    "exit": Case("exit", "container main ended with exit code 3", program="raise SystemExit(3)"),
    "command": Case("start", "container main could not be started", main={"command": ["/no/such/program"]}),
}  # fmt: skip


def manifest(bench: Bench, namespace: str, name: str, case: Case) -> Object:
    """Return the pod of a case."""
    image = case.image.format(node=bench.node_registry) or bench.images.base
    made = pod(namespace, name, image, case.program, resources=SMALL, **case.spec)
    made["spec"]["containers"][0] |= case.main
    return made
