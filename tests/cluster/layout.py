"""Names, addresses and folders of the bench. One fits on a machine, so all names are fixed."""

from __future__ import annotations

import os
from pathlib import Path

from nbkube.errors import NbkubeError

NAME = "nbkube-bench"
"""Of the network namespace, the CNI network, the kubeconfig's context and the node's cgroup."""

HOST_LINK, NODE_LINK = "nbkube-host", "nbkube-node"
HOST_ADDRESS, NODE_LINK_ADDRESS, LINK_PREFIX = "10.245.0.1", "10.245.0.2", 30
BRIDGE = "cni0"
NODE_ADDRESS = "10.244.0.1"
POD_NETWORK, SERVICE_NETWORK = "10.244.0.0/24", "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
CLUSTER_DOMAIN = "bench.local"
"""Not `cluster.local`, so that code that assumes it fails here."""

API_SERVER = f"https://{NODE_ADDRESS}:6443"
REGISTRY = f"{NODE_ADDRESS}:5000"
"""As the host and pods reach it."""
NODE_REGISTRY = "localhost:5000"
"""As image references name it: the node pulls from itself."""
MINIO_ADDRESS, VERSITYGW_ADDRESS = f"{NODE_ADDRESS}:9000", f"{NODE_ADDRESS}:7070"
NODE = "node1"
ARGO_NAMESPACE = "argo"
STORAGE_CLASS = "standard"
DEVICES = {"nvidia.com/gpu": 2, "amd.com/gpu": 1}

SOURCES = Path(__file__).parent
CHECKOUT = SOURCES.parent.parent


class BenchError(NbkubeError):
    """The bench cannot be built, started or stopped as it should."""


def cache_folder() -> Path:
    """Return where built parts are kept: `NBKUBE_BENCH_CACHE`, else `nbkube/bench` in the user's cache folder."""
    if named := os.environ.get("NBKUBE_BENCH_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nbkube" / "bench"


def run_folder() -> Path:
    """Return where a running bench lives: `NBKUBE_BENCH_RUN`, else a fixed folder (sockets need short paths)."""
    return Path(os.environ.get("NBKUBE_BENCH_RUN") or f"/var/lib/{NAME}")


def memory_folder() -> Path:
    """Return where etcd keeps its data: they are thrown away, so waiting for a disk is for nothing."""
    return Path("/dev/shm") / NAME
