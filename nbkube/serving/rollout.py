"""Objects of an endpoint brought onto the cluster and waited for; what keeps them from being ready is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nbkube.cluster import Cluster, Manifest
from nbkube.cluster.explain import explain, explain_message
from nbkube.cluster.model import (
    AUTOSCALER,
    BUDGET,
    DEPLOYMENT,
    EVENT,
    INFERENCE_SERVICE,
    INGRESS,
    POD,
    SECRET,
    SERVICE,
    Kind,
)
from nbkube.serving.local import ServingError
from nbkube.serving.objects import CONTAINER, KSERVE_CONTAINER

Listener = Callable[[Mapping[str, Any]], None]

START_SECONDS = 600.0
_STUCK_SECONDS = 30.0
"""How long a fault must last that may pass by itself, such as a registry that does not answer."""
_LOOK_SECONDS = 0.5
KINDS: tuple[Kind, ...] = (INGRESS, INFERENCE_SERVICE, AUTOSCALER, DEPLOYMENT, BUDGET, SERVICE, SECRET)


def apply(cluster: Cluster, objects: Iterable[Manifest]) -> None:
    """Create or change objects, all or none: a dry run has shown before that the cluster takes each of them."""
    listed = list(objects)
    dry_run(cluster, listed)
    for one in listed:
        cluster.apply(one)


def dry_run(cluster: Cluster, objects: Iterable[Manifest]) -> None:
    """Have the cluster look at objects without making them.

    Raises:
        RefusedError: it would not take one.
    """
    for one in objects:
        cluster.apply(one, dry_run=True)


def remove(cluster: Cluster, marks: Mapping[str, str], kinds: Iterable[Kind] = KINDS) -> int:
    """Delete the objects with some labels and return how many there were."""
    count = 0
    for kind in kinds:
        if cluster.serves(kind):
            for one in cluster.list(kind, labels=marks):
                count += cluster.delete(kind, one["metadata"]["name"])
    return count


def is_ready(deployment: Manifest | None) -> bool:
    """Tell whether all pods of a Deployment are those it asks for now, and at least one answers."""
    if deployment is None:
        return False
    status = deployment.get("status") or {}
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    wanted = deployment["spec"].get("replicas", 1)
    return bool(current and status.get("availableReplicas") and status.get("updatedReplicas", 0) >= wanted)


def wait(cluster: Cluster, name: str, marks: Mapping[str, str], what: str, tell: Listener) -> None:
    """Return when a Deployment is ready: each of its pods has answered a real prediction then.

    Raises:
        ServingError: it is not, and will not be without somebody's help; says why.
    """
    until = time.monotonic() + START_SECONDS
    told, since = "", time.monotonic()
    final: bool | None
    while True:
        deployment = cluster.find(DEPLOYMENT, name)
        if is_ready(deployment):
            return
        if deployment is None:
            why, final = f"the Deployment {name} is not there (yet)", False
        else:
            why, final = trouble(cluster, deployment, marks)
        if why != told:
            told, since = why, time.monotonic()
            if why:
                tell({"phase": "Waiting", "message": f"{what}: {why}"})
        stuck = bool(why) and time.monotonic() - since > _STUCK_SECONDS
        if final or (stuck and final is not None):
            raise ServingError(f"{what} cannot be served: {why}")
        if time.monotonic() > until:
            raise ServingError(f"{what} is not ready after {START_SECONDS:.0f} s: {why or 'its pods are starting'}")
        time.sleep(_LOOK_SECONDS)


def trouble(cluster: Cluster, deployment: Manifest, marks: Mapping[str, str]) -> tuple[str, bool | None]:
    """Return what keeps a Deployment from being ready ("" for nothing), and whether waiting is in vain.

    None stands for what passes when others end or nodes are added.
    """
    for condition in (deployment.get("status") or {}).get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            found = explain_message(condition.get("message", ""))
            return (str(found), None if found.kind == "quota" else True) if found else (condition["message"], False)
    for pod in cluster.list(POD, labels=marks):
        if "deletionTimestamp" in pod["metadata"]:
            continue
        words, final = _last_words(pod)
        if words:
            return words, final
        events = cluster.list(EVENT, fields=f"involvedObject.name={pod['metadata']['name']}")
        seen = explain(pod, events)
        if seen is not None:
            return str(seen), None if seen.kind in ("unschedulable", "gated") else False
    return "", False


def _last_words(pod: Manifest) -> tuple[str, bool]:
    """Return what a container has said when it ended; 1 and 2 are its own exit statuses for what it cannot serve."""
    status = pod.get("status") or {}
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        for state in (one.get("state") or {}, one.get("lastState") or {}):
            ended = state.get("terminated") or {}
            if ended.get("exitCode", 0) in (1, 2):
                lines = str(ended.get("message", "")).strip().splitlines()
                said = lines[-1][:600] if lines else f"container {one['name']} ended with status {ended['exitCode']}"
                if "No module named" in said and "nbkube" in said:
                    said = "the image holds no nbkube. Fix: name one with nbkube[serve] by --image or serve.image"
                # A store that did not answer may do so the next time.
                return said, one["name"] in (CONTAINER, KSERVE_CONTAINER) or one.get("restartCount", 0) >= 3
    return "", False
