"""What the bench installs into Kubernetes: storage class, Argo Workflows, metrics-server.

The manifests of Argo and metrics-server are their own (`golang` keeps them beside the programs), changed where a
bench without other images, without waits and with Pod Security *restricted* needs it.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.cluster import layout
from tests.cluster.api import Api, Object, has_condition
from tests.cluster.golang import ARGO_VERSION, METRICS_SERVER_VERSION

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
CONTAINER_SECURITY: Object = {
    "runAsNonRoot": True,
    "runAsUser": 1000,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTROLLER_IMAGE = f"{layout.NODE_REGISTRY}/nbkube/workflow-controller:{ARGO_VERSION}"
EXECUTOR_IMAGE = f"{layout.NODE_REGISTRY}/nbkube/argoexec:{ARGO_VERSION}"
METRICS_IMAGE = f"{layout.NODE_REGISTRY}/nbkube/metrics-server:{METRICS_SERVER_VERSION}"
ARTIFACT_BUCKET = "argo-artifacts"
ARTIFACT_SECRET = "bench-s3"
"""Name of the secret, in the workflow's namespace, that Argo's own artifacts need: keys `accesskey`, `secretkey`."""


def namespace(name: str, labels: dict[str, str]) -> Object:
    """Return a namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def install_storage_class(api: Api) -> None:
    """Make the default storage class; the node's `provisioner` serves it."""
    api.apply(
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": layout.STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": "nbkube.io/bench-folders",
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
        }
    )


def install_argo_definitions(api: Api, argo: Path) -> None:
    """Create the full custom resource definitions; only these make a strict dry run mean something."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

    def create(file: Path) -> None:
        definition = json.loads(file.read_bytes())[0]
        api.request("POST", path, definition)
        # The definitions are too big to be read again and again; that their objects are served says the same.
        served = f"/apis/{definition['spec']['group']}/v1alpha1/{definition['spec']['names']['plural']}"
        api.wait(served, bool, 120, f"{file.stem} to be served")

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(create, sorted((argo / "definitions").glob("*.json"))))


def install_argo(api: Api, argo: Path) -> None:
    """Install the controller for all namespaces, with Argo's own RBAC."""
    home = layout.ARGO_NAMESPACE
    api.apply(namespace(home, RESTRICTED))
    api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "argo", "namespace": home}})
    for manifest in json.loads((argo / "manifests.json").read_bytes()):
        if manifest["kind"] in {"Role", "RoleBinding"}:
            manifest["metadata"]["namespace"] = home
        for subject in manifest.get("subjects", []):
            subject["namespace"] = home
        api.apply(manifest)
    api.apply(_controller_configuration(), _controller())


def wait_for_argo(api: Api) -> None:
    """Wait until the controller runs."""
    path = f"/apis/apps/v1/namespaces/{layout.ARGO_NAMESPACE}/deployments/workflow-controller"
    api.wait(path, has_condition("Available"), 90, "Argo's controller")


def install_metrics_server(api: Api, folder: Path) -> None:
    """Install metrics-server, reading every 10 seconds, so that an autoscaler soon has figures."""
    for manifest in json.loads((folder / "manifests.json").read_bytes()):
        if manifest["kind"] == "Deployment":
            _change_metrics_deployment(manifest)
        if manifest["kind"] == "Service":
            manifest["spec"]["selector"] = _METRICS_LABELS
        api.apply(manifest)


def wait_for_metrics(api: Api) -> None:
    """Wait until the metrics API answers with the node's figures."""
    api.wait(
        "/apis/metrics.k8s.io/v1beta1/nodes",
        lambda found: bool(found.get("items")),
        90,
        "metrics-server's first figures",
    )


_METRICS_LABELS = {"k8s-app": "metrics-server"}


def _change_metrics_deployment(manifest: Object) -> None:
    manifest["spec"]["selector"] = {"matchLabels": _METRICS_LABELS}
    template = manifest["spec"]["template"]
    template["metadata"] = {"labels": _METRICS_LABELS}
    (container,) = template["spec"]["containers"]
    container["image"] = METRICS_IMAGE
    container["command"] = ["/bin/metrics-server"]
    container["args"] = [
        "--cert-dir=/tmp",
        "--secure-port=10250",
        "--kubelet-preferred-address-types=InternalIP",
        # The kubelet's certificate is signed by the cluster's authority here.
        "--kubelet-certificate-authority=/var/run/secrets/kubernetes.io/serviceaccount/ca.crt",
        "--metric-resolution=10s",
        "--kubelet-request-timeout=5s",
    ]
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 60}
    container["resources"] = {"requests": {"cpu": "10m", "memory": "32Mi"}}


def _controller_configuration() -> Object:
    small = {"requests": {"cpu": "10m", "memory": "32Mi"}}
    executor = {"resources": small, "securityContext": CONTAINER_SECURITY | {"readOnlyRootFilesystem": False}}
    artifacts = {
        "s3": {
            "bucket": ARTIFACT_BUCKET,
            "endpoint": layout.MINIO_ADDRESS,
            "insecure": True,
            "accessKeySecret": {"name": ARTIFACT_SECRET, "key": "accesskey"},
            "secretKeySecret": {"name": ARTIFACT_SECRET, "key": "secretkey"},
        }
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "workflow-controller-configmap", "namespace": layout.ARGO_NAMESPACE},
        "data": {
            # JSON is YAML, too.
            "executor": json.dumps(executor),
            "artifactRepository": json.dumps(artifacts),
            "metricsConfig": json.dumps({"enabled": False}),
        },
    }


def _controller() -> Object:
    labels = {"app": "workflow-controller"}
    container = {
        "name": "workflow-controller",
        "image": CONTROLLER_IMAGE,
        "command": ["/bin/workflow-controller"],
        "args": ["--executor-image", EXECUTOR_IMAGE],
        "env": [
            {"name": "LEADER_ELECTION_DISABLE", "value": "true"},
            {"name": "DEFAULT_REQUEUE_TIME", "value": "1s"},
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "securityContext": CONTAINER_SECURITY,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "workflow-controller", "namespace": layout.ARGO_NAMESPACE},
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"serviceAccountName": "argo", "containers": [container]},
            },
        },
    }
