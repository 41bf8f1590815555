"""Where an endpoint on a cluster is asked, as its profile exposes it."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

from nbkube.cluster import Cluster, Manifest
from nbkube.cluster.model import NODE, SERVICE
from nbkube.errors import ForbiddenError, NotFoundError
from nbkube.profiles import Profile
from nbkube.serving.local import ServingError
from nbkube.serving.objects import PORT

_SECONDS = 300.0


def of(service: Manifest, cluster: Cluster, profile: Profile) -> str:
    """Return the address of a Service that callers outside reach; "" if there is none (yet)."""
    expose, host = profile.serve.expose, profile.serve.host
    if expose == "ingress":
        return f"{'https' if profile.serve.tls_secret else 'http'}://{host}"
    port = service["spec"]["ports"][0]
    if expose == "node-port" and port.get("nodePort"):
        return f"http://{host or _node(cluster)}:{port['nodePort']}"
    if expose == "load-balancer":
        found: list[dict[str, Any]] = (service.get("status") or {}).get("loadBalancer", {}).get("ingress") or []
        where = found[0].get("hostname") or found[0].get("ip") or "" if found else ""
        return f"http://{where}:{PORT}" if where else ""
    return ""


def awaited(service: Manifest, cluster: Cluster, profile: Profile) -> str:
    """Return the address of a Service when it has one: a load balancer is made by the cloud, which takes a while.

    Raises:
        ServingError: it has got none.
    """
    until = time.monotonic() + _SECONDS
    while not (found := of(service, cluster, profile)):
        if time.monotonic() > until:
            raise ServingError(
                f"the service {service['metadata']['name']} has got no address within {_SECONDS:.0f} s. Fix: write "
                f'serve.expose = "port-forward" in the profile {profile.name}, or give the cluster a load balancer.'
            )
        time.sleep(1.0)
        service = cluster.get(SERVICE, service["metadata"]["name"])
    return found


def _node(cluster: Cluster) -> str:
    """Return the address of a node; who may not look at nodes gets the host of the API server."""
    try:
        nodes = cluster.list(NODE)
    except (ForbiddenError, NotFoundError):
        nodes = []
    for kind in ("ExternalIP", "InternalIP"):
        for node in nodes:
            for one in (node.get("status") or {}).get("addresses") or ():
                if one["type"] == kind:
                    return str(one["address"])
    return urlsplit(cluster.access.server).hostname or ""
