"""KServe on the bench: its controller, without Knative, Istio and cert-manager, for the tests that ask for it.

The manifests are KServe's own (`golang` keeps them), changed where a bench without other images needs it. They are
installed for some tests and taken away after them: where KServe is installed, nbkube lets it run the pods of endpoints.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cluster import addons, lifecycle, pki
from tests.cluster.api import Api, Object, collection, has_condition
from tests.cluster.bench import Bench
from tests.cluster.golang import KSERVE_VERSION

HOME = "kserve"
DEFINITION = "inferenceservices.serving.kserve.io"
_WEBHOOK = "kserve-webhook-server-service"
_CERTIFICATE = "kserve-webhook-server-cert"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def install(bench: Bench, api: Api, folder: Path) -> None:
    """Install definitions and controller from the folder of the built part; returns when its webhooks answer."""
    image = lifecycle.push_program("kserve-manager", KSERVE_VERSION, folder)
    install_definitions(api, folder)
    api.apply(addons.namespace(HOME, {**addons.RESTRICTED, "control-plane": "kserve-controller-manager"}))
    authority, secret = _certificate(bench)
    api.apply(secret)
    for manifest in _manifests(folder, image, authority):
        api.apply(manifest)
    path = f"/apis/apps/v1/namespaces/{HOME}/deployments/kserve-controller-manager"
    api.wait(path, has_condition("Available"), 120, "KServe's controller")


def install_definitions(api: Api, folder: Path) -> None:
    """Install KServe's full definitions alone: nothing runs, but dry runs mean something."""
    for definition in json.loads((folder / "definitions.json").read_bytes()):
        definition["metadata"].pop("creationTimestamp", None)
        name = definition["metadata"]["name"]
        # They are too big for server-side apply to be quick about it.
        if not _is_there(api, f"{_DEFINITIONS}/{name}"):
            api.request("POST", _DEFINITIONS, definition)
    api.wait(f"{_DEFINITIONS}/{DEFINITION}", has_condition("Established"), 60, "KServe's definitions")


def remove(api: Api, folder: Path) -> None:
    """Take all of it away again."""
    for manifest in _manifests(folder, "", ""):
        if manifest["kind"] != "Namespace":
            api.delete(f"{collection(manifest)}/{manifest['metadata']['name']}")
    for definition in json.loads((folder / "definitions.json").read_bytes()):
        api.delete(f"{_DEFINITIONS}/{definition['metadata']['name']}")
    api.delete(f"/api/v1/namespaces/{HOME}")


def _is_there(api: Api, path: str) -> bool:
    from tests.cluster.api import ApiError

    try:
        api.get(path)
    except ApiError as error:
        if error.status != 404:
            raise
        return False
    return True


def _certificate(bench: Bench) -> tuple[str, Object]:
    """Return the authority's certificate in base64, and the Secret with the webhooks' own."""
    folder = bench.run_folder / "pki"
    pki.serving_certificate(folder, "kserve", f"{_WEBHOOK}.{HOME}.svc")
    data = {f"tls.{kind}": b64encode((folder / f"kserve.{kind}").read_bytes()).decode() for kind in ("crt", "key")}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": _CERTIFICATE, "namespace": HOME},
        "data": data,
    }
    return b64encode((folder / "ca.crt").read_bytes()).decode(), secret


def _manifests(folder: Path, image: str, authority: str) -> Iterator[Object]:
    for manifest in json.loads((folder / "manifests.json").read_bytes()):
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        if kind in ("Namespace", "Secret") or "localmodel" in name or "proxy" in name:
            continue
        manifest["metadata"].pop("creationTimestamp", None)
        if kind.endswith("WebhookConfiguration"):
            _call_the_controller(manifest, authority)
        if kind == "Deployment":
            _shrink(manifest, image)
        if kind == "ConfigMap":
            _configure(manifest["data"])
        text = json.dumps(manifest).replace("$(kserveNamespace)", HOME).replace("$(webhookServiceName)", _WEBHOOK)
        found = json.loads(text)
        if not kind.startswith("Cluster") and not kind.endswith("WebhookConfiguration"):
            found["metadata"]["namespace"] = HOME
        for subject in found.get("subjects", []):
            subject["namespace"] = HOME
        yield found


def _call_the_controller(manifest: Object, authority: str) -> None:
    for webhook in manifest["webhooks"]:
        webhook["clientConfig"]["caBundle"] = authority


def _shrink(manifest: Object, image: str) -> None:
    spec = manifest["spec"]["template"]["spec"]
    spec["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    (container,) = spec["containers"]
    container |= {"image": image, "command": ["/bin/kserve-manager"], "args": [], "imagePullPolicy": "IfNotPresent"}
    container["resources"] = {"requests": {"cpu": "20m", "memory": "64Mi"}}
    container["readinessProbe"] |= {"initialDelaySeconds": 1, "periodSeconds": 1, "failureThreshold": 60}


def _configure(data: dict[str, Any]) -> None:
    """No Knative, no Istio: plain Deployments; and no resources of KServe's own choice."""
    data.pop("_example", None)
    data["deploy"] = json.dumps({"defaultDeploymentMode": "RawDeployment"})
    ingress = json.loads(data["ingress"])
    data["ingress"] = json.dumps({**ingress, "disableIngressCreation": True, "disableIstioVirtualHost": True})
    small = {"cpuLimit": "1", "memoryLimit": "512Mi", "cpuRequest": "10m", "memoryRequest": "64Mi"}
    data["inferenceService"] = json.dumps({"resource": small})
