"""An endpoint as Kubernetes objects: pure functions, valid under Pod Security restricted.

Each version has a Deployment, a Service, an autoscaler and a disruption budget; before them stand routers, our own
server as well, with the Service (and Ingress) that callers use. The files of a model come from the store into the pod
by an init container, the only one beside the routers that gets the store's keys: code of models never sees them.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec

from nbkube.cluster.model import INFERENCE_SERVICE, Manifest
from nbkube.profiles import Profile
from nbkube.serving.model import Pods, Routing, ServerTask
from nbkube.serving.pod import STORE_CA, TOKEN
from nbkube.serving.runtimes import RUNTIMES

PORT = 8080
CONTROL_PORT = 8081
ENDPOINT, ROLE, VERSION = "nbkube.io/endpoint", "nbkube.io/role", "nbkube.io/model-version"
RECORD = "nbkube.io/record"
ROUTER, MODEL = "router", "model"
LINGER = 15.0
"""Seconds for which a pod that is to end still answers: routers and balancers learn of its end meanwhile."""
_GRACE = 75
_CPU, _MEMORY = "100m", "512Mi"
_ROUTER = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
_USER = 1000
_FILES = "/model"
_LOAD = 75
"""Percent of the CPUs asked for beyond which an autoscaler adds pods."""
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_LOCKED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


_ROLLING = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
"""A new pod is ready before an old one is asked to go."""
CONTAINER, KSERVE_CONTAINER = "server", "kserve-container"


def object_name(name: str, version: int | None = None) -> str:
    """Return what the objects of an endpoint, or of one of its versions, are called."""
    return f"nbkube-serve-{name}" + (f"-v{version}" if version else "")


def labels(name: str, role: str = "", version: int | None = None) -> dict[str, str]:
    """Return the labels of an endpoint's objects: all of them, the routers, or a version's."""
    found = {"app.kubernetes.io/managed-by": "nbkube", "app.kubernetes.io/name": name, ENDPOINT: name}
    return found | ({ROLE: role} if role else {}) | ({VERSION: str(version)} if version else {})


def deployment_name(name: str, version: int, *, kserve: bool) -> str:
    """Return what the Deployment of a version is called; KServe makes its own."""
    return object_name(name, version) + ("-predictor" if kserve else "")


def version_objects(
    name: str, version: int, pods: Pods, profile: Profile, certificates: str = "", *, kserve: bool = False
) -> list[Manifest]:
    """Return the objects that serve one version: its Deployment and autoscaler, or an InferenceService that makes them.

    Args:
        name: of the model, and of the endpoint.
        version: its number in the profile's store.
        pods: what the pods are made of.
        profile: gives store, pull secrets and amounts where `pods` does not.
        certificates: with which the store's server is checked, as PEM ("" for those of the image).
        kserve: let KServe make the pods.
    """
    called, marks = object_name(name, version), labels(name, MODEL, version)
    task = ServerTask(
        name=name, store=f"file://{_FILES}", routing=Routing(version), host="0.0.0.0", port=PORT,
        workers=pods.workers, limits=pods.limits, control_port=CONTROL_PORT, linger=LINGER,
    )  # fmt: skip
    amounts = {
        "cpu": pods.cpu or profile.resources.cpu or _CPU,
        "memory": pods.memory or profile.resources.memory or _MEMORY,
        **{device: str(count) for device, count in pods.gpu.items() if count},
    }
    limits = {key: amount for key, amount in amounts.items() if key != "cpu"}
    files = {"name": "model", "mountPath": _FILES}
    fetch: Manifest = {
        "name": "fetch",
        "image": pods.image,
        "command": ["python3", "-m", "nbkube.serving.pod"],
        "args": ["fetch", profile.store.url, name, str(version), _FILES],
        "env": _environment(profile, certificates),
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": amounts["memory"]}},
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [dict(_TEMPORARY), files],
    }
    resources = {"requests": amounts, "limits": limits}
    if pods.runtime:
        fetch["args"] += [pods.runtime]
        container = _runtime(name, pods, resources)
    else:
        container = _server(task, pods, resources)
    container["volumeMounts"].append(files)
    spec = _pod(profile, [container], [{"name": "model", "emptyDir": {}}])
    spec["initContainers"] = [fetch]
    around = [_service(called, marks, {}), _budget(called, marks)]
    around[0]["spec"]["ports"][0]["targetPort"] = container["ports"][0]["containerPort"]
    if kserve:
        return [*around, _inference_service(called, marks, spec, pods)]
    return [*around, _deployment(called, marks, spec), _autoscaler(called, marks, pods)]


def router_objects(name: str, pods: Pods, profile: Profile, record: str, certificates: str = "") -> list[Manifest]:
    """Return the objects that stand before the versions; `record` is the store's record of what answers."""
    called, marks = object_name(name), labels(name, ROUTER)
    task = ServerTask(
        name=name, store=profile.store.url, routing=Routing(0), host="0.0.0.0", port=PORT, limits=pods.limits,
        log=pods.log, upstream=f"http://{object_name(name)}-v{{version}}:{PORT}", record=record,
        control_port=CONTROL_PORT, linger=LINGER, dialect=RUNTIMES[pods.runtime].dialect if pods.runtime else "v2",
    )  # fmt: skip
    container = _server(task, pods, _ROUTER)
    container["env"] += _environment(profile, certificates)
    deployment = _deployment(called, marks, _pod(profile, [container], []))
    deployment["spec"]["replicas"] = pods.routers
    service = _service(called, marks, _exposure(profile))
    service["metadata"]["annotations"] = {RECORD: record}
    found = [service, _budget(called, marks), deployment]
    if profile.serve.expose == "ingress":
        found.append(_ingress(called, marks, profile))
    return found


def token_secret(name: str, token: str) -> Manifest:
    """Return the Secret with the token that callers of an endpoint send."""
    data = {"token": b64encode(token.encode()).decode()}
    metadata = _metadata(object_name(name), labels(name))
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def _metadata(name: str, marks: dict[str, str]) -> Manifest:
    return {"name": name, "labels": marks}


_TEMPORARY = {"name": "tmp", "mountPath": "/tmp"}


def _server(task: ServerTask, pods: Pods, resources: Manifest) -> Manifest:
    """Return the container of a server. It is ready when it has answered the example of its version."""
    ready = {"httpGet": {"path": "/v2/health/ready", "port": PORT}, "timeoutSeconds": 5}
    live = {"httpGet": {"path": "/v2/health/live", "port": PORT}, "timeoutSeconds": 5}
    env: list[Manifest] = [{"name": "HOME", "value": "/tmp"}, {"name": "PYTHONUNBUFFERED", "value": "1"}]
    if pods.token:
        secret = {"name": object_name(task.name), "key": "token"}
        env.append({"name": TOKEN, "valueFrom": {"secretKeyRef": secret}})
    return {
        "name": CONTAINER,
        "image": pods.image,
        "command": ["python3", "-m", "nbkube.serving.pod"],
        "args": ["serve", msgspec.json.encode(task).decode()],
        "env": env,
        "ports": [{"name": "http", "containerPort": PORT}],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 6},
        "resources": resources,
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [dict(_TEMPORARY)],
    }


def _runtime(name: str, pods: Pods, resources: Manifest) -> Manifest:
    """Return the container of a server of others."""
    runtime = RUNTIMES[pods.runtime]
    ready = {"httpGet": {"path": runtime.ready.format(name=name), "port": runtime.port}, "timeoutSeconds": 5}
    live = {"httpGet": {"path": runtime.live.format(name=name), "port": runtime.port}, "timeoutSeconds": 5}
    return {
        "name": CONTAINER,
        "image": pods.runtime_image,
        "command": [word.format(name=name) for word in runtime.command],
        "env": [{"name": "HOME", "value": "/tmp"}],
        "ports": [{"name": "http", "containerPort": runtime.port}],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 600},
        "readinessProbe": {**ready, "periodSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {**live, "periodSeconds": 10, "failureThreshold": 6},
        "resources": resources,
        "securityContext": _LOCKED,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [dict(_TEMPORARY)],
    }


def _environment(profile: Profile, certificates: str) -> list[Manifest]:
    """Return the variables that lead into the store; keys only by reference to the profile's Secret."""
    store = profile.store
    settings = store.variables(pods=True) | ({STORE_CA: certificates} if certificates else {})
    found: list[Manifest] = [{"name": name, "value": value} for name, value in settings.items()]
    for key in _KEYS if store.secret else ():
        optional = {"optional": True} if key == "AWS_SESSION_TOKEN" else {}
        secret = {"name": store.secret, "key": key, **optional}
        found.append({"name": key, "valueFrom": {"secretKeyRef": secret}})
    return [*found, {"name": "NBKUBE_CACHE", "value": "/tmp/cache"}]


def _pod(profile: Profile, containers: list[Manifest], volumes: list[Manifest]) -> Manifest:
    pod: Manifest = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": _GRACE,
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
        "containers": containers,
    }
    if profile.priority_class:
        pod["priorityClassName"] = profile.priority_class
    if profile.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in profile.pull_secrets]
    return pod


def _deployment(name: str, marks: dict[str, str], pod: Manifest) -> Manifest:
    spec = {
        "selector": {"matchLabels": marks},
        "strategy": _ROLLING,
        "template": {"metadata": {"labels": marks}, "spec": pod},
    }
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": _metadata(name, marks), "spec": spec}


def _inference_service(name: str, marks: dict[str, str], pod: Manifest, pods: Pods) -> Manifest:
    """Return what KServe makes a version's pods from, without Knative.

    `RawDeployment` is what versions before 0.16 call the mode, later ones take both names (kserve:pkg/constants).
    """
    annotations = {"serving.kserve.io/deploymentMode": "RawDeployment", "serving.kserve.io/autoscalerClass": "hpa"}
    container = {**pod["containers"][0], "name": KSERVE_CONTAINER}
    predictor = {
        **pod,
        "containers": [container],
        "minReplicas": pods.replicas,
        "maxReplicas": max(pods.most, pods.replicas),
        "scaleMetric": "cpu",
        "scaleTarget": _LOAD,
        "deploymentStrategy": _ROLLING,
    }
    return {
        "apiVersion": INFERENCE_SERVICE.api_version,
        "kind": INFERENCE_SERVICE.kind,
        "metadata": {**_metadata(name, marks), "annotations": annotations},
        "spec": {"predictor": predictor},
    }


def _service(name: str, marks: dict[str, str], exposure: Manifest) -> Manifest:
    port = {"name": "http", "port": PORT, "targetPort": PORT}
    spec = {"selector": marks, "ports": [port], **exposure}
    return {"apiVersion": "v1", "kind": "Service", "metadata": _metadata(name, marks), "spec": spec}


def _exposure(profile: Profile) -> Manifest:
    kinds = {"node-port": "NodePort", "load-balancer": "LoadBalancer"}
    return {"type": kinds.get(profile.serve.expose, "ClusterIP")}


def _ingress(name: str, marks: dict[str, str], profile: Profile) -> Manifest:
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    rule = {"host": profile.serve.host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec: Manifest = {"rules": [rule]}
    if profile.serve.ingress_class:
        spec["ingressClassName"] = profile.serve.ingress_class
    if profile.serve.tls_secret:
        spec["tls"] = [{"hosts": [profile.serve.host], "secretName": profile.serve.tls_secret}]
    return {
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": _metadata(name, marks), "spec": spec,
    }  # fmt: skip


def _budget(name: str, marks: dict[str, str]) -> Manifest:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": marks}}
    return {
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": _metadata(name, marks), "spec": spec,
    }  # fmt: skip


def _autoscaler(name: str, marks: dict[str, str], pods: Pods) -> Manifest:
    cpu: dict[str, Any] = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": _LOAD}}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
        "minReplicas": pods.replicas,
        "maxReplicas": max(pods.most, pods.replicas),
        "metrics": [{"type": "Resource", "resource": cpu}],
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(name, marks),
        "spec": spec,
    }
