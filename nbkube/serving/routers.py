"""Orders to the routers of an endpoint: through the API server, to a port of each pod's own loopback.

Who may give them is decided by Kubernetes: the right to forward ports of pods in the namespace.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from nbkube.cluster import Cluster, Manifest
from nbkube.cluster.forward import ask_pod
from nbkube.cluster.model import POD
from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.serving.local import ServingError
from nbkube.serving.model import Routing, Statistics
from nbkube.serving.objects import CONTROL_PORT, ROUTER, labels

_SECONDS = 60.0
_LOOK_SECONDS = 0.2
_LATENCIES = 2000


class _Standing(msgspec.Struct):
    routing: Routing
    statistics: Statistics


def reroute(cluster: Cluster, name: str, routing: Routing) -> None:
    """Have all routers follow a routing; none answers by an earlier one when this has returned.

    The routing is in the endpoint's record before: a router that is not there yet reads it when it starts.

    Raises:
        ServingError: one could not, or does not answer.
    """
    order = {"action": "route", "routing": routing}
    left = {one["metadata"]["uid"]: one for one in cluster.list(POD, labels=labels(name, ROUTER)) if _has_started(one)}
    faults: dict[str, OSError] = {}
    until = time.monotonic() + _SECONDS
    while left:
        for identity, pod in list(left.items()):
            try:
                _order(cluster, pod, order)
                del left[identity]
            except OSError as error:
                faults[identity] = error
        if not left:
            return
        time.sleep(_LOOK_SECONDS)
        there = {one["metadata"]["uid"]: one for one in cluster.list(POD, labels=labels(name, ROUTER))}
        left = {identity: there[identity] for identity in left if identity in there}
        if time.monotonic() > until:
            # What has not been ready all the time has no callers, and reads the record when it starts anew.
            for identity, pod in left.items():
                if _is_ready(pod):
                    raise ServingError(
                        f"the router {pod['metadata']['name']} does not answer ({faults[identity]}). "
                        f"Fix: kubectl delete pod {pod['metadata']['name']}, then try again"
                    )
            return


def _has_started(pod: Manifest) -> bool:
    """Tell whether a pod may run already. What its status says is no proof against it: nodes tell of it later."""
    phase = (pod.get("status") or {}).get("phase", "")
    return bool(pod["spec"].get("nodeName")) and phase not in ("Succeeded", "Failed")


def _is_ready(pod: Manifest) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def statistics(cluster: Cluster, name: str) -> Statistics:
    """Return what the routers that answer have done, together."""
    found = []
    for pod in cluster.list(POD, labels=labels(name, ROUTER)):
        try:
            if _runs(pod):
                found.append(_order(cluster, pod, {"action": "status"}).statistics)
        except (OSError, NbkubeError):
            continue  # it is starting, or going
    answers: dict[str, dict[str, int]] = {}
    for one in found:
        for version, counts in one.answers.items():
            known = answers.setdefault(version, {})
            for status, count in counts.items():
                known[status] = known.get(status, 0) + count
    return Statistics(
        answers=answers,
        latencies=tuple(seconds for one in found for seconds in one.latencies)[-_LATENCIES:],
        waiting=sum(one.waiting for one in found),
        shadowed=sum(one.shadowed for one in found),
        differing=sum(one.differing for one in found),
    )


def end(cluster: Cluster, pod: Manifest) -> None:
    """Have a pod that is being deleted finish what it has and end, without waiting for callers to be told."""
    try:
        _order(cluster, pod, {"action": "stop"})
    except (OSError, NbkubeError):
        return  # it ends without that, only later


def _runs(pod: Manifest) -> bool:
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return any("running" in (one.get("state") or {}) for one in states)


def _order(cluster: Cluster, pod: Manifest, order: dict[str, Any]) -> _Standing:
    status, body = ask_pod(cluster, pod["metadata"]["name"], CONTROL_PORT, msgspec.json.encode(order), _SECONDS)
    if status != 200:
        raise ServingError(str(msgspec.json.decode(body).get("error", "it was refused")))
    return from_json(body, _Standing)
