"""Breaking parts of a running bench on purpose, and mending them: what a test needs to kill a server at a moment.

Only processes that the bench started are touched, each by its process id.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

from tests.cluster import layout, network, teardown
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.bench import Bench
from tests.cluster.layout import BenchError
from tests.cluster.parts import lock as file_lock
from tests.cluster.servers import Servers, wait_until

_CONTROLLER = f"/apis/apps/v1/namespaces/{layout.ARGO_NAMESPACE}/deployments/workflow-controller"


def kill(bench: Bench, name: str) -> None:
    """Kill a server (`kube-apiserver`, `minio`, `registry`, `etcd`, `kubelet` …) and wait until it is gone."""
    Servers(bench.run_folder).kill(name)


def start(bench: Bench, name: str) -> None:
    """Start a killed server as it was started before; returns when it serves again."""
    servers = Servers(bench.run_folder)
    if servers.pid(name) is None:
        servers.start_again(name)
    if name in {"kube-apiserver", "etcd"}:
        wait_until(lambda: _is_ready(bench), 120, "the API server to be ready again")
    elif name in _ADDRESSES:
        wait_until(lambda: _listens(_ADDRESSES[name]), 30, f"{name} to listen again")


def lock(bench: Bench) -> contextlib.AbstractContextManager[None]:
    """Hold the lock of those who break parts of the bench: one at a time, and nobody mends it meanwhile."""
    return file_lock(bench.run_folder / "faults.lock", lambda text: None)


@contextlib.contextmanager
def without(bench: Bench, name: str) -> Iterator[None]:
    """Have the block run while a server is dead; it serves again afterwards, whatever the block did."""
    with lock(bench):
        kill(bench, name)
        try:
            yield
        finally:
            start(bench, name)


@contextlib.contextmanager
def frozen(bench: Bench, name: str) -> Iterator[None]:
    """Have the block run while a server accepts connections but answers nothing."""
    servers = Servers(bench.run_folder)
    with lock(bench):
        servers.kill(name, signal.SIGSTOP)
        try:
            yield
        finally:
            servers.kill(name, signal.SIGCONT)


def cut_connections(port: int) -> int:
    """Cut all TCP connections to a port of the node (6443: every watch; 9000: MinIO) and return how many there were."""
    filtered = ["( sport = :", str(port), " )"]
    argv = network.inside(["ss", "-K", "-Htn", "state", "established", "".join(filtered)])
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    return len(done.stdout.splitlines())


def restart_argo(api: Api) -> None:
    """Kill Argo's controller without a word and wait for the one that takes its place."""
    with without_argo(api):
        pass


@contextlib.contextmanager
def without_argo(api: Api) -> Iterator[None]:
    """Have the block run while no controller of Argo is there."""
    pods = f"/api/v1/namespaces/{layout.ARGO_NAMESPACE}/pods"
    api.patch(_CONTROLLER, {"spec": {"replicas": 0}})
    for pod in api.get(pods, labelSelector="app=workflow-controller")["items"]:
        kill_pod(api, layout.ARGO_NAMESPACE, pod["metadata"]["name"])
    wait_until(lambda: not api.get(pods, labelSelector="app=workflow-controller")["items"], 30, "Argo to be gone")
    try:
        yield
    finally:
        api.patch(_CONTROLLER, {"spec": {"replicas": 1}})
        api.wait(_CONTROLLER, _is_available, 90, "Argo's controller")


def kill_pod(api: Api, namespace: str, name: str) -> None:
    """Kill the processes of a pod's containers (SIGKILL), then delete it without a grace period."""
    uid = api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")["metadata"]["uid"]
    _kill_group(uid)
    api.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", grace_seconds=0)


def kill_container(api: Api, namespace: str, pod: str, container: str = "main") -> None:
    """Kill the processes of one container (SIGKILL), as the kernel does when memory is short."""
    status = api.get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    (found,) = [one for one in status["status"]["containerStatuses"] if one["name"] == container]
    _kill_group(found["containerID"].rpartition("/")[2])


def evict(api: Api, namespace: str, name: str) -> None:
    """Ask for a pod's eviction, as draining a node does."""
    eviction: Object = {"metadata": {"name": name, "namespace": namespace}}
    eviction |= {"apiVersion": "policy/v1", "kind": "Eviction"}
    api.request("POST", f"/api/v1/namespaces/{namespace}/pods/{name}/eviction", eviction)


_ADDRESSES = {"minio": layout.MINIO_ADDRESS, "versitygw": layout.VERSITYGW_ADDRESS, "registry": layout.REGISTRY}


def _kill_group(name: str) -> None:
    """Kill all processes in the cgroups whose folder has `name` in its name (a pod's uid, a container's id)."""
    groups = [group for group in teardown.groups() if name in f"{group.parent.name}/{group.name}"]
    if not groups:
        raise BenchError(f"nothing of {name} runs on the node")
    for pid in {pid for group in groups for pid in teardown.members(group)}:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _is_available(deployment: Object) -> bool:
    """Tell whether a Deployment has what its newest change asks for."""
    seen = deployment["status"].get("observedGeneration") == deployment["metadata"]["generation"]
    return bool(seen and deployment["status"].get("availableReplicas", 0) == deployment["spec"]["replicas"])


def _is_ready(bench: Bench) -> bool:
    try:
        return bool(Api(bench.kubeconfig).get("/readyz") == "ok")
    except ApiError:
        return False


def _listens(address: str) -> bool:
    import socket

    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=2):
        return True
