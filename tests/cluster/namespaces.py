"""Namespaces for tests, and the pods that tests run in them."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from tests.cluster import addons
from tests.cluster.api import Api, Object
from tests.cluster.bench import Bench

RUNNER = "runner"
"""The service account of workflows: it may report results of their steps, no more."""
USER_SECURITY: Object = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
STEP_SECURITY: Object = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def make_namespace(api: Api, name: str, bench: Bench) -> None:
    """Make a namespace that enforces Pod Security restricted and can run Argo workflows with artifacts in MinIO."""

    def metadata(object_name: str, **annotations: str) -> Object:
        return {"name": object_name, "namespace": name, "annotations": annotations}

    keys = {"accesskey": bench.minio.access_key, "secretkey": bench.minio.secret_key}
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]}
    api.apply(
        addons.namespace(name, {**addons.RESTRICTED, "nbkube.io/bench-test": "true"}),
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata(addons.ARTIFACT_SECRET), "data": encoded(keys)},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata(RUNNER)},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/service-account-token",
            "metadata": metadata(f"{RUNNER}.service-account-token", **{"kubernetes.io/service-account.name": RUNNER}),
        },
        {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata(RUNNER), "rules": [rule]},
        {
            "apiVersion": f"{rbac}/v1",
            "kind": "RoleBinding",
            "metadata": metadata(RUNNER),
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": RUNNER},
            "subjects": [{"kind": "ServiceAccount", "name": RUNNER, "namespace": name}],
        },
    )
    # A pod made before its namespace's account exists is refused. The controllers take up to a minute to come back
    # after tests that have killed the API server.
    api.wait(f"/api/v1/namespaces/{name}/serviceaccounts/default", bool, 120, f"the default account of {name}")


def remove_namespace(api: Api, name: str) -> None:
    """Delete a namespace with its pods at once; its objects vanish in the background."""
    api.request("DELETE", f"/api/v1/namespaces/{name}/pods", query={"gracePeriodSeconds": "0"})
    api.delete(f"/api/v1/namespaces/{name}")


def pod(namespace: str, name: str, image: str, program: str, **spec: Any) -> Object:
    """Return a pod that runs Python source text once, within Pod Security restricted.

    `resources`, `env` and `volumeMounts` go to its container, everything else to the pod.
    """
    container: Object = {
        "name": "main",
        "image": image,
        "command": ["/usr/bin/python3", "-c", program],
        "securityContext": STEP_SECURITY,
    }
    container |= {key: spec.pop(key) for key in ("resources", "env", "volumeMounts") if key in spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": USER_SECURITY,
            "containers": [container],
            **spec,
        },
    }


def finished(api: Api, namespace: str, name: str, seconds: float = 90) -> Object:
    """Wait until a pod has ended and return it."""
    path = f"/api/v1/namespaces/{namespace}/pods/{name}"
    return api.wait(path, lambda found: found["status"].get("phase") in {"Succeeded", "Failed"}, seconds, f"pod {name}")


def log(api: Api, namespace: str, name: str) -> str:
    """Return what a pod printed."""
    return str(api.get(f"/api/v1/namespaces/{namespace}/pods/{name}/log"))


def encoded(values: dict[str, str]) -> dict[str, str]:
    """Return the data of a Secret."""
    return {key: b64encode(value.encode()).decode() for key, value in values.items()}
