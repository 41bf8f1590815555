"""The frozen types of a cluster."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

Manifest = dict[str, Any]
"""A Kubernetes object as the plain dict that JSON gives."""

Source = Literal["kubeconfig", "service account"]
What = Literal["added", "modified", "deleted", "synced", "idle", "lost", "found"]


class Kind(msgspec.Struct, frozen=True):
    """A kind of object, such as `Kind("v1", "Pod")`."""

    api_version: str
    kind: str

    @classmethod
    def of(cls, manifest: Manifest) -> Kind:
        """Return the kind that an object says it is."""
        return cls(str(manifest.get("apiVersion", "")), str(manifest.get("kind", "")))

    @property
    def group(self) -> str:
        """Return the API group; "" is the core."""
        return self.api_version.rpartition("/")[0]


AUTOSCALER = Kind("autoscaling/v2", "HorizontalPodAutoscaler")
BUDGET = Kind("policy/v1", "PodDisruptionBudget")
CONFIG_MAP = Kind("v1", "ConfigMap")
DEPLOYMENT = Kind("apps/v1", "Deployment")
EVENT = Kind("v1", "Event")
INGRESS = Kind("networking.k8s.io/v1", "Ingress")
INFERENCE_SERVICE = Kind("serving.kserve.io/v1beta1", "InferenceService")
LIMIT_RANGE = Kind("v1", "LimitRange")
NAMESPACE = Kind("v1", "Namespace")
NODE = Kind("v1", "Node")
POD = Kind("v1", "Pod")
QUOTA = Kind("v1", "ResourceQuota")
SECRET = Kind("v1", "Secret")
SERVICE = Kind("v1", "Service")
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount")
STATEFUL_SET = Kind("apps/v1", "StatefulSet")
VOLUME_CLAIM = Kind("v1", "PersistentVolumeClaim")
PRIORITY_CLASS = Kind("scheduling.k8s.io/v1", "PriorityClass")
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass")
WORKFLOW = Kind("argoproj.io/v1alpha1", "Workflow")
CUSTOM_RESOURCE = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition")


class Access(msgspec.Struct, frozen=True):
    """How a cluster is reached: `context` is the kubeconfig's name for it ("" with a service account), `namespace`
    where objects go that name none, `server` the API server's URL. Holds no credentials."""

    context: str
    namespace: str
    server: str
    source: Source

    @property
    def name(self) -> str:
        """Return what to call the cluster in a message."""
        return f"context {self.context!r}" if self.context else "the cluster of this pod"


class Context(msgspec.Struct, frozen=True):
    """An entry of the kubeconfig files."""

    name: str
    cluster: str
    namespace: str
    current: bool


class Resource(msgspec.Struct, frozen=True):
    """How a kind is addressed: `/apis/GROUP/VERSION[/namespaces/NS]/PLURAL`."""

    kind: Kind
    plural: str
    namespaced: bool


class Change(msgspec.Struct, frozen=True):
    """What a watch reports.

    `added`, `modified`, `deleted` carry the object. `synced` comes once all objects that were there at the start have
    been reported; `idle` at least every few seconds when nothing happens; `lost` (with the reason) when the API server
    does not answer any more, `found` when it answers again.
    """

    what: What
    object: Manifest = {}
    reason: str = ""


class LogLine(msgspec.Struct, frozen=True):
    """One line of a container's log without its end: `time` in RFC 3339 as the node wrote it, `text` as bytes."""

    time: str
    text: bytes


class Identity(msgspec.Struct, frozen=True):
    """Who the cluster says we are."""

    user: str
    groups: tuple[str, ...] = ()


class Question(msgspec.Struct, frozen=True):
    """Whether we may do something: `resource` is the plural, `subresource` such as `log`, `namespace` "" everywhere."""

    verb: str
    resource: str
    group: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str | None = None

    def __str__(self) -> str:
        resource = self.resource + (f".{self.group}" if self.group else "")
        return f"{self.verb} {resource}{'/' + self.subresource if self.subresource else ''}"
