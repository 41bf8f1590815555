"""What is there and what is free: nodes, quotas, limits, storage classes. Reckoning is pure; `survey` asks.

Amounts are numbers: `cpu` in cores, memory and storage in bytes, devices (`nvidia.com/gpu`) and all else as counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nbkube.cluster.model import LIMIT_RANGE, NODE, POD, QUOTA, STORAGE_CLASS, Kind, Manifest
from nbkube.errors import ForbiddenError, NotFoundError
from nbkube.pipeline.placement import PRODUCT_LABELS
from nbkube.pipeline.quantities import AmountError, quantity

if TYPE_CHECKING:
    from nbkube.cluster.client import Cluster

Amounts = dict[str, float]
Source = Literal["nodes and pods", "nodes", "quota", "unknown", "this machine"]

_POOLS = (
    "karpenter.sh/",
    "cloud.google.com/gke-nodepool",
    "eks.amazonaws.com/nodegroup",
    "kubernetes.azure.com/agentpool",
)
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_RESTARTABLE = "Always"


class Taint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A taint that keeps pods away unless they tolerate it."""

    key: str
    value: str = ""
    effect: str = "NoSchedule"

    def __str__(self) -> str:
        return f"{self.key}{'=' + self.value if self.value else ''}:{self.effect}"


class NodeCapacity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A node: `allocatable` is what pods may have in all, `free` what no pod has asked for (None: not known).

    `open` is false while it takes no new pods (cordoned, or not ready); `product` names its kind of GPU.
    """

    name: str
    allocatable: Amounts
    free: Amounts | None = None
    open: bool = True
    ready: bool = True
    product: str = ""
    arch: str = ""
    labels: dict[str, str] = {}
    taints: tuple[Taint, ...] = ()


class Quota(msgspec.Struct, frozen=True, omit_defaults=True):
    """A ResourceQuota of the namespace; `scoped` ones hold for some pods only."""

    name: str
    hard: Amounts
    used: Amounts
    scoped: bool = False


class Limit(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry of a LimitRange: `type` is Container, Pod or PersistentVolumeClaim."""

    name: str
    type: str
    least: Amounts = {}
    most: Amounts = {}
    default: Amounts = {}
    default_request: Amounts = {}


class StorageClass(msgspec.Struct, frozen=True, omit_defaults=True):
    """A StorageClass; `default` is the one of volumes that name none."""

    name: str
    provisioner: str = ""
    default: bool = False


class Capacity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known about room for pods.

    `source` says from what; with `unknown` nothing may be concluded. `hidden` names what we may not see. `elastic`:
    nodes come and go by demand, so what fits no node now may fit one later. None = not visible.
    """

    source: Source
    nodes: tuple[NodeCapacity, ...] = ()
    quotas: tuple[Quota, ...] = ()
    limits: tuple[Limit, ...] = ()
    storage_classes: tuple[StorageClass, ...] | None = None
    hidden: tuple[str, ...] = ()
    elastic: bool = False

    @property
    def devices(self) -> tuple[str, ...]:
        """Return the kinds of devices that nodes have (also when all are taken)."""
        return tuple(sorted({name for node in self.nodes for name in node.allocatable if is_device(name)}))

    def largest(self, name: str, *, free: bool = False) -> float:
        """Return the most of a resource that one node has (or has free)."""
        amounts = ((node.free or {}) if free else node.allocatable for node in self.nodes if node.open)
        return max((one.get(name, 0.0) for one in amounts), default=0.0)


def survey(cluster: Cluster, *, pods: bool = True) -> Capacity:
    """Ask the cluster what there is, as far as we may see it; what we may not see is named, never guessed.

    Args:
        cluster: the cluster; quotas and limits are those of its namespace.
        pods: also ask what is free (the pods of all namespaces).

    Raises:
        ClusterError: the cluster cannot be reached.
    """
    from concurrent.futures import ThreadPoolExecutor

    hidden: list[str] = []

    def seen(kind: Kind, what: str, everywhere: bool = False) -> list[Manifest] | None:
        # Finished pods take no room; there may be thousands of them.
        fields = "status.phase!=Succeeded,status.phase!=Failed" if kind == POD else ""
        try:
            return cluster.list(kind, everywhere=everywhere, fields=fields)
        except (ForbiddenError, NotFoundError):
            hidden.append(what)
            return None

    asked: tuple[tuple[Kind, str, bool], ...] = (
        (NODE, "nodes", False),
        (QUOTA, "quotas", False),
        (LIMIT_RANGE, "limits", False),
        (STORAGE_CLASS, "storage classes", False),
        *(((POD, "pods of all namespaces", True),) if pods else ()),
    )
    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(lambda one: seen(*one), asked))
    found = reckon(*answers)
    return msgspec.structs.replace(found, hidden=tuple(sorted(hidden)))


def reckon(
    nodes: Sequence[Manifest] | None,
    quotas: Sequence[Manifest] | None = None,
    limits: Sequence[Manifest] | None = None,
    classes: Sequence[Manifest] | None = None,
    pods: Sequence[Manifest] | None = None,
) -> Capacity:
    """Return the capacity from objects of the cluster; None is what could not be seen."""
    taken: dict[str, Amounts] = {}
    for pod in pods or ():
        node = pod.get("spec", {}).get("nodeName", "")
        if node and pod.get("status", {}).get("phase") not in ("Succeeded", "Failed"):
            _add(taken.setdefault(node, {}), {**requests(pod), "pods": 1.0})
    known = tuple(_node(one, None if pods is None else taken.get(one["metadata"]["name"], {})) for one in nodes or ())
    source: Source = "unknown"
    if nodes is not None:
        source = "nodes" if pods is None else "nodes and pods"
    elif quotas:
        source = "quota"
    return Capacity(
        source,
        known,
        tuple(map(_quota, quotas or ())),
        tuple(limit for one in limits or () for limit in _limits(one)),
        None if classes is None else tuple(map(_class, classes)),
        elastic=any(key.startswith(_POOLS) for node in known for key in node.labels),
    )


def requests(pod: Manifest) -> Amounts:
    """Return what a pod asks its node for, reckoned as the scheduler does.

    That is the sum over its containers, or what its init containers need one after the other if that is more;
    init containers that go on (sidecars) count with both.
    """
    spec = pod.get("spec", {})
    total: Amounts = {}
    for one in spec.get("containers") or ():
        _add(total, _requested(one))
    staying: Amounts = {}
    peak: Amounts = {}
    for one in spec.get("initContainers") or ():
        asked = _requested(one)
        if one.get("restartPolicy") == _RESTARTABLE:
            _add(staying, asked)
            now = dict(staying)
        else:
            now = dict(staying)
            _add(now, asked)
        peak = {name: max(peak.get(name, 0.0), now.get(name, 0.0)) for name in peak.keys() | now.keys()}
    _add(total, staying)
    total = {name: max(total.get(name, 0.0), peak.get(name, 0.0)) for name in total.keys() | peak.keys()}
    _add(total, amounts(spec.get("overhead")))
    return total


def amounts(table: Mapping[str, Any] | None) -> Amounts:
    """Return a table of quantities as numbers; what is no quantity is left out."""
    found: Amounts = {}
    for name, text in (table or {}).items():
        try:
            found[name] = float(quantity(str(text)))
        except AmountError:
            continue
    return found


def is_device(name: str) -> bool:
    """Tell whether a resource is a device such as `nvidia.com/gpu`: any vendor's name with a slash."""
    return "/" in name and not name.startswith(("hugepages-", "attachable-volumes-", "requests.", "limits.", "count/"))


def _node(node: Manifest, taken: Amounts | None) -> NodeCapacity:
    spec, status = node.get("spec", {}), node.get("status", {})
    labels = node["metadata"].get("labels") or {}
    allocatable = amounts(status.get("allocatable"))
    free = None
    if taken is not None:
        free = {name: max(0.0, amount - taken.get(name, 0.0)) for name, amount in allocatable.items()}
    ready = any(one.get("type") == "Ready" and one.get("status") == "True" for one in status.get("conditions") or ())
    return NodeCapacity(
        node["metadata"]["name"],
        allocatable,
        free,
        ready and not spec.get("unschedulable", False),
        ready,
        next((labels[name] for name in PRODUCT_LABELS if name in labels), ""),
        labels.get("kubernetes.io/arch", ""),
        dict(labels),
        tuple(
            Taint(one["key"], one.get("value") or "", one["effect"])
            for one in spec.get("taints") or ()
            if one.get("effect") != "PreferNoSchedule"
        ),
    )


def _quota(quota: Manifest) -> Quota:
    status, spec = quota.get("status", {}), quota.get("spec", {})
    hard = amounts(status.get("hard") or spec.get("hard"))
    scoped = bool(spec.get("scopes") or spec.get("scopeSelector"))
    return Quota(quota["metadata"]["name"], hard, amounts(status.get("used")), scoped)


def _limits(limits: Manifest) -> Iterable[Limit]:
    for one in limits.get("spec", {}).get("limits") or ():
        yield Limit(
            limits["metadata"]["name"],
            one["type"],
            amounts(one.get("min")),
            amounts(one.get("max")),
            amounts(one.get("default")),
            amounts(one.get("defaultRequest")),
        )


def _class(one: Manifest) -> StorageClass:
    annotations = one["metadata"].get("annotations") or {}
    default = annotations.get(_DEFAULT_CLASS) == "true"
    return StorageClass(one["metadata"]["name"], one.get("provisioner", ""), default)


def _requested(container: Manifest) -> Amounts:
    resources = container.get("resources") or {}
    # A limit without a request is the request, too.
    return amounts(resources.get("limits")) | amounts(resources.get("requests"))


def _add(total: Amounts, more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0.0) + amount
