"""A notebook server as Kubernetes objects: pure functions, valid under Pod Security restricted."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from nbkube.cluster.model import Manifest
from nbkube.labs.model import WORKSPACE, LabRequest
from nbkube.pipeline.model import Volume
from nbkube.pipeline.placement import product_affinity
from nbkube.profiles import Profile

PORT = 8888
LABEL = "nbkube.io/lab"
TOKEN = "token"
_USER = 1000
_COMMAND = (
    "python3", "-m", "jupyter", "lab", "--no-browser", "--ip=0.0.0.0", f"--port={PORT}",
    "--ServerApp.port_retries=0", "--ServerApp.allow_remote_access=True", f"--ServerApp.root_dir={WORKSPACE}",
)  # fmt: skip


def object_name(name: str) -> str:
    """Return what the objects of a server are called."""
    return f"nbkube-lab-{name}"


def labels(name: str) -> dict[str, str]:
    """Return the labels of a server's objects."""
    return {"app.kubernetes.io/managed-by": "nbkube", LABEL: name}


def objects(request: LabRequest, profile: Profile, token: str, account: str) -> list[Manifest]:
    """Return the objects of a server in the order in which they are made.

    Args:
        request: what it is made of.
        profile: gives image, store and pull secrets where the request does not.
        token: who has it may use the server.
        account: the service account of the pod; "" for none: then the pod gets no token of the cluster.
    """
    name, marks = object_name(request.name), labels(request.name)
    found: list[Manifest] = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": marks},
            "data": {TOKEN: b64encode(token.encode()).decode()},
        }
    ]
    if not request.workspace.claim:
        found.append(_claim(name, marks, request.workspace))
    service = {"clusterIP": "None", "selector": marks, "ports": [{"name": "http", "port": PORT}]}
    found.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "labels": marks}, "spec": service})
    spec = {
        "replicas": 1,
        "serviceName": name,
        "selector": {"matchLabels": marks},
        "template": {"metadata": {"labels": marks}, "spec": _pod(request, profile, account)},
    }
    metadata = {"name": name, "labels": marks}
    found.append({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata, "spec": spec})
    return found


def _claim(name: str, marks: dict[str, str], volume: Volume) -> Manifest:
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": volume.size}}}
    if volume.storage_class:
        spec["storageClassName"] = volume.storage_class
    metadata = {"name": name, "labels": marks}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}


def _pod(request: LabRequest, profile: Profile, account: str) -> Manifest:
    options = request.options
    claim = request.workspace.claim or object_name(request.name)
    volumes: list[Manifest] = [
        {"name": "workspace", "persistentVolumeClaim": {"claimName": claim}},
        {"name": "tmp", "emptyDir": {}},
    ]
    mounts: list[Manifest] = [
        {"name": "workspace", "mountPath": WORKSPACE},
        {"name": "tmp", "mountPath": "/tmp"},
    ]
    for number, one in enumerate(options.volume):
        volumes.append({"name": f"data-{number}", **_source(one)})
        mounts.append({"name": f"data-{number}", "mountPath": one.path})
    pod: Manifest = {
        "automountServiceAccountToken": bool(account),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 15,
        "volumes": volumes,
        "containers": [_container(request, profile, mounts)],
    }
    if account:
        pod["serviceAccountName"] = account
    if options.node_selector:
        pod["nodeSelector"] = dict(options.node_selector)
    if options.gpu_type:
        pod["affinity"] = product_affinity(options.gpu_type)
    if options.toleration:
        pod["tolerations"] = [
            {"key": one.key, "operator": "Exists" if one.value is None else "Equal"}
            | ({} if one.value is None else {"value": one.value})
            | ({"effect": one.effect} if one.effect else {})
            for one in options.toleration
        ]
    if profile.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in profile.pull_secrets]
    return pod


def _container(request: LabRequest, profile: Profile, mounts: list[Manifest]) -> Manifest:
    options = request.options
    amounts = {
        **({"cpu": cpu} if (cpu := options.cpu or profile.resources.cpu) else {}),
        **({"memory": memory} if (memory := options.memory or profile.resources.memory) else {}),
        **{device: str(count) for device, count in options.gpu.items() if count},
    }
    limits = {name: amount for name, amount in amounts.items() if name != "cpu"}  # idle most of the time
    settings = {"HOME": WORKSPACE, "JUPYTER_RUNTIME_DIR": "/tmp/jupyter", **profile.store.variables(pods=True)}
    settings |= {name: str(value) for name, value in options.env.items()}
    secret: dict[str, Any] = {"secretKeyRef": {"name": object_name(request.name), "key": TOKEN}}
    found: Manifest = {
        "name": "lab",
        "image": options.image or profile.image,
        "command": list(_COMMAND),
        "workingDir": WORKSPACE,
        "env": [
            *({"name": name, "value": value} for name, value in settings.items()),
            {"name": "JUPYTER_TOKEN", "valueFrom": secret},
        ],
        "ports": [{"name": "http", "containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/api", "port": PORT}, "periodSeconds": 2, "timeoutSeconds": 5},
        "resources": {"requests": amounts, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }
    if profile.store.secret:
        found["envFrom"] = [{"secretRef": {"name": profile.store.secret, "optional": True}}]
    return found


def _source(volume: Volume) -> Manifest:
    if volume.claim:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": volume.size}}}
    if volume.storage_class:
        spec["storageClassName"] = volume.storage_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}
