"""The pod that a step asks for, as Kubernetes' own words: a template of a Workflow without its place in the graph."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from nbkube.engines.argo.place import PLACE
from nbkube.engines.argo.target import Target
from nbkube.errors import NotebookError
from nbkube.pipeline.model import Secret, StepOptions, Toleration, Volume, Wheelhouse
from nbkube.pipeline.placement import product_affinity
from nbkube.runtime.databases import KINDS, database_kinds

STORE, STORE_CA = "NBKUBE_STORE", "NBKUBE_STORE_CA"
KEYS = "/nbkube-store"
WHEELS = "wheels"
RUN_LABEL = "nbkube.io/run"
STEP_LABEL = "nbkube.io/step"

Dict = dict[str, Any]

USER = 1000
LOCKED = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
"""Pod Security "restricted" for a container; the pod says the rest."""

_SMALL = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
_HELPERS = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "500m", "memory": "256Mi"}}
_TRIES = 8
"""How often a pod is made anew for faults that are not the step's: a store out of reach, a node that went away."""

_PATIENCE = 900
"""Seconds beyond a step's time-out for pulling the image and for its files, before Kubernetes ends the pod itself."""

_AGAIN = "lastRetry.status == 'Error' || asInt(lastRetry.exitCode) in [-1, 75, 76, 143]"
_NODE_GONE = "(asInt(lastRetry.exitCode) == 137 && lastRetry.message matches '(?i)evict|preempt|node')"


def pod_security() -> Dict:
    """Return the security context of all pods of a Workflow."""
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def executor_patch() -> str:
    """Return the patch that puts Argo's own containers under the same rules, whatever its controller is set to."""
    patch = {
        "initContainers": [{"name": "init", "securityContext": LOCKED, "resources": _HELPERS}],
        "containers": [{"name": "wait", "securityContext": LOCKED, "resources": _HELPERS}],
    }
    return json.dumps(patch)


def step_template(name: str, options: StepOptions, command: list[str], target: Target, place: str) -> Dict:
    """Return the template of a step's pod.

    Raises:
        NotebookError: an option holds what Argo would take for a variable of its own.
    """
    refuse_variables(options, place)
    volumes, mounts = _volumes(options, target)
    template: Dict = {
        "name": name,
        "metadata": {
            "labels": {**options.labels, RUN_LABEL: "{{workflow.name}}", STEP_LABEL: "{{inputs.parameters.label}}"},
            **({"annotations": dict(options.annotations)} if options.annotations else {}),
        },
        "inputs": {
            "parameters": [
                {"name": "unit"},
                {"name": "label"},
                {"name": "turn", "value": "0"},
                {"name": "then", "value": ""},
            ]
        },
        "retryStrategy": retries(options.retries),
        "volumes": volumes,
        **_unpacking(options, target),
        "container": container(command, target, options, _resources(options, target), mounts),
    }
    if options.timeout is not None:
        template["activeDeadlineSeconds"] = math.ceil(options.timeout) + _PATIENCE
    if options.node_selector:
        template["nodeSelector"] = dict(options.node_selector)
    if options.gpu_type:
        template["affinity"] = product_affinity(options.gpu_type)
    # Nodes with devices are often tainted by the device's name, to keep all others away; some clusters let those in
    # by themselves that ask for it (ExtendedResourceToleration).
    devices = [Toleration(device) for device, count in options.gpu.items() if count]
    tolerations = [_toleration(one) for one in dict.fromkeys((*options.toleration, *devices))]
    if tolerations:
        template["tolerations"] = tolerations
    return template


def small_template(name: str, command: list[str], target: Target) -> Dict:
    """Return the template of a pod that runs no cells."""
    volumes, mounts = _volumes(StepOptions(), target)
    labels = {RUN_LABEL: "{{workflow.name}}", STEP_LABEL: f"nbkube-{name}"}
    return {
        "name": name,
        "metadata": {"labels": labels},
        "retryStrategy": retries(0),
        "volumes": volumes,
        **_unpacking(StepOptions(), target),
        "container": container(command, target, StepOptions(), _SMALL, mounts),
    }


def container(
    command: list[str], target: Target, options: StepOptions, resources: Mapping[str, Any], mounts: list[Dict]
) -> Dict:
    """Return the container in which nbkube's runtime starts."""
    keys = [
        {"name": one.env, "valueFrom": {"secretKeyRef": {"name": one.name, "key": one.key}}}
        for one in options.secret
        if one.key
    ]
    whole = [{"secretRef": {"name": one.name}} for one in options.secret if not one.key and not one.path]
    wheels = _wheelhouse(options, target)
    ours = _environment(target)
    given = {**(wheels.environment if wheels else {})}
    for one in ours:
        given.pop(one["name"], None)  # a variable stands once in a container
    return {
        "image": options.image or target.image,
        "imagePullPolicy": target.pull_policy,
        "command": ["python3", "-m", "nbkube.engines.argo.pod"],
        "args": command,
        # What stands later wins: a step's secrets cannot change where the store is.
        "env": [*keys, *({"name": name, "value": value} for name, value in given.items()), *ours],
        **({"envFrom": whole} if whole else {}),
        **({"resources": dict(resources)} if resources else {}),
        "securityContext": {**LOCKED, "readOnlyRootFilesystem": True},
        "volumeMounts": mounts,
    }


def _wheelhouse(options: StepOptions, target: Target) -> Wheelhouse | None:
    return options.wheelhouse if options.image else target.wheelhouse


def _unpacking(options: StepOptions, target: Target) -> Dict:
    """Return the init container that brings a wheelhouse into a pod, where there is one."""
    wheels = _wheelhouse(options, target)
    if wheels is None:
        return {}
    container = {
        "name": WHEELS,
        "image": options.image or target.image,
        "imagePullPolicy": target.pull_policy,
        "command": ["python3", "-I", "-c"],
        "args": [*(f"{{{{workflow.parameters.{name}}}}}" for name in programs()), wheels.digest, wheels.folder],
        "env": _environment(target),
        "resources": _SMALL,
        "securityContext": {**LOCKED, "readOnlyRootFilesystem": True},
        # What it says last is the reason that is shown when it fails.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": WHEELS, "mountPath": wheels.folder}],
    }
    return {"initContainers": [container]}


@cache
def programs() -> dict[str, str]:
    """Return the text of that container's program, and of the module that signs its requests, by name.

    They are parameters of a Workflow, so that it holds them once for all its templates.
    """
    places = {"unpacking": "nbkube.engines.argo", "signing": "nbkube.storage.s3"}
    return {name: resources.files(place).joinpath(f"{name}.py").read_text("utf-8") for name, place in places.items()}


def retries(wanted: int) -> Dict:
    """Return when a pod is made anew. Exit statuses tell: see `nbkube.engines.argo.unit`.

    A step's own failure ends with 76 while it has tries left, which it counts itself.
    """
    killed = " || asInt(lastRetry.exitCode) == 137" if wanted else ""
    return {
        "limit": _TRIES + wanted,
        "expression": f"{_AGAIN} || {_NODE_GONE}{killed}",
        "backoff": {"duration": "1", "factor": 2, "cap": "60"},
    }


def refuse_variables(options: StepOptions, place: str) -> None:
    """Refuse texts that Argo would fill in: it looks for double braces everywhere."""
    texts = [
        *options.labels, *options.labels.values(), *options.annotations, *options.annotations.values(),
        *(one.path for one in options.volume), *(one.path for one in options.secret), options.image, options.gpu_type,
    ]  # fmt: skip
    for text in texts:
        if "{{" in text or "}}" in text:
            raise NotebookError(f"{place}: {text[:60]!r} holds double braces, which Argo fills in. Write it without.")
    for path in (*(one.path for one in options.volume), *(one.path for one in options.secret)):
        if f"{path}/".startswith((f"{PLACE}/", f"{KEYS}/")):
            raise NotebookError(f"{place}: {path} is nbkube's own place in a pod. Mount it elsewhere, e.g. at /data.")


def _environment(target: Target) -> list[Dict]:
    settings = {
        **target.store_settings,
        STORE: target.store,
        **({STORE_CA: target.store_ca} if target.store_ca else {}),
        **({"NBKUBE_S3_CREDENTIALS": KEYS} if target.store_secret else {}),
        "HOME": f"{PLACE}/home",
        "XDG_CACHE_HOME": f"{PLACE}/home/.cache",
        "PYTHONUNBUFFERED": "1",
        KINDS: database_kinds(),
        "PYTHONHASHSEED": "0",  # as steps have it: then a step's process can be forked from the pod's first one
    }
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN") if target.store_secret else ()
    return [
        *({"name": name, "value": value} for name, value in settings.items()),
        *({"name": name, "valueFrom": {"secretKeyRef": _key(target.store_secret, name)}} for name in keys),
    ]


def _key(secret: str, name: str) -> Dict:
    return {"name": secret, "key": name, **({"optional": True} if name == "AWS_SESSION_TOKEN" else {})}


def _resources(options: StepOptions, target: Target) -> Dict:
    amounts: dict[str, str] = {}
    if cpu := options.cpu or target.cpu:
        amounts["cpu"] = cpu
    if memory := options.memory or target.memory:
        amounts["memory"] = memory
    amounts.update({device: str(count) for device, count in options.gpu.items() if count})
    # Request and limit are the same: what a step asks for is what it gets, no less and no more.
    return {"requests": dict(amounts), "limits": dict(amounts)} if amounts else {}


def _volumes(options: StepOptions, target: Target) -> tuple[list[Dict], list[Dict]]:
    wanted: list[Volume | Secret] = [*options.volume, *(one for one in options.secret if one.path)]
    volumes: list[Dict] = [{"name": "nbkube", "emptyDir": {}}]
    mounts: list[Dict] = [{"name": "nbkube", "mountPath": PLACE}]
    if all(one.path != "/tmp" for one in wanted):
        volumes.append({"name": "tmp", "emptyDir": {}})
        mounts.append({"name": "tmp", "mountPath": "/tmp"})
    if target.store_secret:
        # The variables are for the cells; a key that is changed while the run goes on is seen in the file alone.
        volumes.append({"name": "store", "secret": {"secretName": target.store_secret, "defaultMode": 0o440}})
        mounts.append({"name": "store", "mountPath": KEYS, "readOnly": True})
    if wheels := _wheelhouse(options, target):
        volumes.append({"name": WHEELS, "emptyDir": {}})
        mounts.append({"name": WHEELS, "mountPath": wheels.folder, "readOnly": True})
    for number, one in enumerate(wanted):
        name = f"step-{number}"
        source = _secret_source(one) if isinstance(one, Secret) else _volume_source(one)
        volumes.append({"name": name, **source})
        read_only = {"readOnly": True} if isinstance(one, Secret) else {}
        mounts.append({"name": name, "mountPath": one.path, **read_only})
    return volumes, mounts


def _secret_source(secret: Secret) -> Dict:
    return {"secret": {"secretName": secret.name, "defaultMode": 0o440}}


def _volume_source(volume: Volume) -> Dict:
    if volume.claim:
        return {"persistentVolumeClaim": {"claimName": volume.claim}}
    spec: Dict = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": volume.size}}}
    if volume.storage_class:
        spec["storageClassName"] = volume.storage_class
    return {"ephemeral": {"volumeClaimTemplate": {"spec": spec}}}


def _toleration(one: Toleration) -> Dict:
    found: Dict = {"key": one.key, "operator": "Exists" if one.value is None else "Equal"}
    if one.value is not None:
        found["value"] = one.value
    if one.effect:
        found["effect"] = one.effect
    return found
