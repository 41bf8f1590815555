"""Whether runs can be carried out: each part is looked at, and each fault names the command that mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from nbkube.cluster.capacity import Capacity, survey
from nbkube.cluster.model import DEPLOYMENT, NAMESPACE, SECRET, SERVICE_ACCOUNT, WORKFLOW, Manifest, Question
from nbkube.errors import ClusterError, ForbiddenError, NbkubeError, NotFoundError, RefusedError, StorageError
from nbkube.preflight.amounts import shown
from nbkube.preflight.machine import architecture, this_machine
from nbkube.preflight.registry import answers
from nbkube.profiles.manifests import secret_command
from nbkube.profiles.model import Profile

if TYPE_CHECKING:
    from nbkube.cluster.client import Cluster
    from nbkube.storage.model import ObjectStore

Verdict = Literal["ok", "warning", "fault", "unknown"]

ARGO_VERSION = "v3.7.6"
_ARGO = "https://github.com/argoproj/argo-workflows/releases/download"
SKEW_WARNING = 5.0
SKEW_FAULT = 300.0
"""Seconds: S3 servers refuse requests from clocks 15 minutes off, tokens fail earlier."""

NEEDED = (
    *(Question(verb, "workflows", "argoproj.io") for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *(Question(verb, "pods") for verb in ("get", "list", "watch")),
    Question("get", "pods", subresource="log"),
    Question("list", "events"),
)


NEEDED_TO_SERVE = (
    *(Question(verb, "deployments", "apps") for verb in ("list", "create", "patch", "delete")),
    *(Question(verb, "services") for verb in ("list", "create", "patch", "delete")),
    *(Question(verb, "poddisruptionbudgets", "policy") for verb in ("list", "create", "patch", "delete")),
    *(Question(verb, "horizontalpodautoscalers", "autoscaling") for verb in ("list", "create", "patch", "delete")),
    Question("get", "pods", subresource="portforward"),
    Question("create", "pods", subresource="portforward"),
)


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was found of one part. `fix` is the command (or the change) that mends it.

    `unknown`: we may not look. `unreachable`: the part does not answer at all.
    """

    name: str
    verdict: Verdict
    message: str
    fix: str = ""
    unreachable: bool = False


def examine(
    profile: Profile, open_cluster: Callable[[], Cluster], open_store: Callable[[], ObjectStore]
) -> Iterator[Check]:
    """Yield what was found, one part after the other; looks only, but for a small record in the store.

    Args:
        profile: what to examine.
        open_cluster: opens its cluster; called only for the engine `argo`.
        open_store: opens its store.
    """
    yield _profile(profile)
    yield _machine()
    if profile.engine == "argo":
        yield from _cluster(profile, open_cluster)
    yield _store(profile, open_store)
    if profile.registry:
        yield _registry(profile.registry)


def _profile(profile: Profile) -> Check:
    if profile.engine == "argo" and not profile.store.url.startswith("s3://"):
        message = f"{profile.name}: pods cannot reach the store {profile.store.url or 'in the project folder'}"
        fix = f'write url = "s3://BUCKET/PREFIX" below [profiles.{profile.name}.store] in nbkube.toml'
        return Check("profile", "fault", message, fix)
    if profile.engine == "argo" and not profile.image and not profile.registry and not profile.gives_wheels:
        message = f"{profile.name}: neither an image for the steps nor a registry for those that nbkube builds is named"
        fix = f'write registry = "HOST/PATH" below [profiles.{profile.name}] in nbkube.toml'
        return Check("profile", "fault", message, fix)
    if profile.engine == "argo" and not profile.store.secret:
        message = f"{profile.name}: no store.secret, so pods get no keys for the store"
        fix = f'write secret = "nbkube-store" below [profiles.{profile.name}.store], unless pods have an identity'
        return Check("profile", "warning", message, fix)
    return Check("profile", "ok", f"{profile.name}, engine {profile.engine}")


def _machine() -> Check:
    node = this_machine().nodes[0]
    cores, memory = (shown(name, node.allocatable[name]) for name in ("cpu", "memory"))
    return Check("machine", "ok", f"{cores} CPUs, {memory} memory, {node.arch}")


# -- the cluster -------------------------------------------------------------------------------------------------------


def _cluster(profile: Profile, open_cluster: Callable[[], Cluster]) -> Iterator[Check]:
    try:
        cluster = open_cluster()
        version = cluster.version()
    except NbkubeError as error:
        yield _failed("cluster", error)
        return
    access = cluster.access
    yield Check(
        "cluster", "ok", f"{access.name} at {access.server}, Kubernetes {version}, namespace {cluster.namespace}"
    )
    yield _clock(cluster)
    parts: tuple[Callable[[], Iterator[Check]], ...] = (
        lambda: _namespace(cluster, profile),
        lambda: _permissions(cluster, profile),
        lambda: _argo(cluster),
        lambda: _accounts(cluster, profile),
        lambda: _room(survey(cluster, pods=False)),
    )
    for part in parts:
        try:
            yield from part()
        except ClusterError as error:
            yield _failed("cluster", error)
            return


def _failed(name: str, error: NbkubeError) -> Check:
    message, _, fix = str(error).partition(" Fix: ")
    lost = isinstance(error, ClusterError | StorageError) and not isinstance(error, ForbiddenError)
    return Check(name, "fault", message.rstrip("."), fix, unreachable=lost)


def _clock(cluster: Cluster) -> Check:
    skew = cluster.clock_skew or 0.0
    message = f"this machine is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the API server"
    if abs(skew) < SKEW_WARNING:
        return Check("clock", "ok", "as the API server's")
    verdict: Verdict = "fault" if abs(skew) >= SKEW_FAULT else "warning"
    return Check("clock", verdict, message, "sudo timedatectl set-ntp true")


def _namespace(cluster: Cluster, profile: Profile) -> Iterator[Check]:
    try:
        namespace = cluster.find(NAMESPACE, cluster.namespace)
    except ForbiddenError:
        yield Check("namespace", "unknown", f"{cluster.namespace}: we may not look at it")
        return
    if namespace is None:
        yield Check("namespace", "fault", f"there is no namespace {cluster.namespace}", _manifests(profile, cluster))
        return
    labels = namespace["metadata"].get("labels") or {}
    level = labels.get("pod-security.kubernetes.io/enforce", "")
    if level == "restricted":
        yield Check("namespace", "ok", f"{cluster.namespace}, Pod Security restricted")
        return
    label = f"kubectl label namespace {cluster.namespace} pod-security.kubernetes.io/enforce=restricted --overwrite"
    message = f"{cluster.namespace} enforces Pod Security {level or 'of no level'}; nbkube's pods pass restricted"
    yield Check("namespace", "warning", message, label)


def _permissions(cluster: Cluster, profile: Profile) -> Iterator[Check]:
    missing = cluster.missing((*NEEDED, *NEEDED_TO_SERVE))
    user = _user(cluster) if missing else ""
    needed = [one for one in missing if one in NEEDED]
    if needed:
        message = f"{user} may not {', '.join(map(str, needed))} in {cluster.namespace}"
        yield Check("permissions", "fault", message, _manifests(profile, cluster, user))
    else:
        yield Check("permissions", "ok", "run, watch and stop Workflows, read pods, logs and events")
    if not needed and not missing:
        yield Check("serving", "ok", "make, change and remove endpoints of models")
    elif not needed:
        message = f"{user} may not {', '.join(map(str, missing))} in {cluster.namespace}, which serving models needs"
        yield Check("serving", "warning", message, _manifests(profile, cluster, user, "--serving"))


def _user(cluster: Cluster) -> str:
    try:
        return cluster.identity().user
    except NbkubeError:
        return "USER"


def _manifests(profile: Profile, cluster: Cluster, user: str = "", more: str = "") -> str:
    more = f" {more}" if more else ""
    whose = f" --user {user}" if user and not user.startswith("system:serviceaccount:") else ""
    where = "" if profile.namespace else f" --namespace {cluster.namespace}"
    return f"nbkube profile manifests {profile.name}{where}{whose}{more} | kubectl apply --filename -  (as an admin)"


def _argo(cluster: Cluster) -> Iterator[Check]:
    if not cluster.serves(WORKFLOW):
        install = f"kubectl apply --server-side --namespace argo --filename {_ARGO}/{ARGO_VERSION}/install.yaml"
        yield Check("argo", "fault", "Argo Workflows is not installed", f"kubectl create namespace argo && {install}")
        return
    full = _has_full_definitions(cluster)
    definitions = {True: "full definitions", False: "minimal definitions", None: "definitions not tried"}[full]
    controller = _controller(cluster)
    if controller == "absent":
        fix = f"kubectl apply --server-side --namespace argo --filename {_ARGO}/{ARGO_VERSION}/install.yaml"
        yield Check("argo", "fault", f"{definitions}, but no workflow-controller runs", fix)
    elif full is False:
        message = (
            f"{controller or 'installed'}, minimal definitions: mistakes in Workflows are found only when they run"
        )
        fix = "kubectl apply --server-side --kustomize "
        fix += f'"https://github.com/argoproj/argo-workflows/manifests/base/crds/full?ref={ARGO_VERSION}"'
        yield Check("argo", "warning", message, fix)
    else:
        seen = controller or "controller not visible to us"
        yield Check("argo", "ok" if controller else "unknown", f"{seen}, {definitions}")


def _has_full_definitions(cluster: Cluster) -> bool | None:
    """Find out whether misspelt fields are refused, by a dry run that has one; None if we may not."""
    templates = [{"name": "main", "container": {"image": "probe", "command": ["true"], "noSuchField": True}}]
    probe = {
        "apiVersion": WORKFLOW.api_version,
        "kind": WORKFLOW.kind,
        "metadata": {"generateName": "nbkube-doctor-", "namespace": cluster.namespace},
        "spec": {"entrypoint": "main", "templates": templates},
    }
    try:
        cluster.create(probe, dry_run=True)
    except RefusedError as error:
        return True if "noSuchField" in str(error) else None
    except (ForbiddenError, NotFoundError):
        return None
    return False


def _controller(cluster: Cluster) -> str:
    """Return the controller with its version, `absent`, or "" where we may not look."""
    for everywhere in (True, False):
        try:
            found = cluster.list(DEPLOYMENT, everywhere=everywhere, fields="metadata.name=workflow-controller")
        except (ForbiddenError, NotFoundError):
            continue
        running = [one for one in found if (one.get("status") or {}).get("readyReplicas")]
        if running:
            return f"controller {_version(running[0])} in {running[0]['metadata']['namespace']}"
        if everywhere:
            return "absent"
    # Workflows that a controller has taken up carry its mark.
    try:
        taken = cluster.list(WORKFLOW, labels="workflows.argoproj.io/phase")
    except (ForbiddenError, NotFoundError):
        taken = []
    return "a controller (it has taken up Workflows here)" if taken else ""


def _version(deployment: Manifest) -> str:
    containers: list[Any] = deployment["spec"]["template"]["spec"].get("containers") or []
    image = containers[0].get("image", "") if containers else ""
    tag = image.partition("@")[0].rpartition(":")[2]
    return tag if tag and "/" not in tag else "of unknown version"


def _accounts(cluster: Cluster, profile: Profile) -> Iterator[Check]:
    name = profile.service_account
    hidden = False
    wanted = [(SERVICE_ACCOUNT, name), (SECRET, f"{name}.service-account-token")]
    for kind, one in wanted:
        try:
            if cluster.find(kind, one) is None:
                what = "service account" if kind == SERVICE_ACCOUNT else "token secret"
                yield Check("accounts", "fault", f"there is no {what} {one}", _manifests(profile, cluster))
                return
        except ForbiddenError:
            hidden = True
    yield Check("accounts", "ok", f"{name}{', its token secret is not visible to us' if hidden else ''}")
    secret = profile.store.secret
    if not secret:
        return
    try:
        there = cluster.find(SECRET, secret) is not None
    except ForbiddenError:
        yield Check("store secret", "unknown", f"{secret}: we may not look (and need not)")
        return
    if there:
        yield Check("store secret", "ok", secret)
    else:
        message = f"there is no secret {secret}, which gives pods the store's keys"
        yield Check("store secret", "fault", message, secret_command(secret, cluster.namespace))


def _room(capacity: Capacity) -> Iterator[Check]:
    full = [
        f"{quota.name}: {shown(name, quota.used.get(name, 0.0))} of {shown(name, hard)} {name}"
        for quota in capacity.quotas
        for name, hard in quota.hard.items()
        if quota.used.get(name, 0.0) >= hard
    ]
    if full:
        fix = "kubectl describe resourcequota; wait until something has ended, or have it raised"
        yield Check("quota", "warning", f"used up: {', '.join(full)}", fix)
    elif "quotas" in capacity.hidden:
        yield Check("quota", "unknown", "we may not look at quotas")
    else:
        yield Check("quota", "ok", ", ".join(one.name for one in capacity.quotas) or "none")
    classes = capacity.storage_classes
    default = next((one.name for one in classes or () if one.default), "")
    if classes is None:
        yield Check("storage class", "unknown", "we may not look at storage classes")
    elif default:
        yield Check("storage class", "ok", f"default {default}")
    else:
        names = ", ".join(one.name for one in classes) or "none at all"
        name = classes[0].name if classes else "NAME"
        mark = '{"metadata":{"annotations":{"storageclass.kubernetes.io/is-default-class":"true"}}}'
        message = f"no default (there are: {names}); volumes new:SIZE:PATH need one"
        yield Check("storage class", "warning", message, f"kubectl patch storageclass {name} --patch '{mark}'")
    archs = sorted({node.arch for node in capacity.nodes if node.arch})
    if archs and architecture() not in archs:
        message = f"nodes are {', '.join(archs)}, this machine is {architecture()}"
        yield Check("processor", "warning", message, f"build images for {archs[0]}")
    elif archs:
        yield Check("processor", "ok", f"{', '.join(archs)} nodes")


# -- the rest ----------------------------------------------------------------------------------------------------------


def _store(profile: Profile, open_store: Callable[[], ObjectStore]) -> Check:
    import uuid

    name = f"doctor/{uuid.uuid4().hex}"
    try:
        store = open_store()
        written = store.create(name, b"nbkube doctor\n")
        same = store.read(name) == b"nbkube doctor\n"
        store.remove(name)
    except NbkubeError as error:
        return _failed("store", error)
    except OSError as error:
        return Check("store", "fault", f"{error.filename or ''}: {error.strerror or error}", unreachable=True)
    if not written or not same:
        return Check("store", "fault", f"{store.url} does not give back what was written", unreachable=True)
    return Check("store", "ok", f"{store.url}, readable and writable")


def _registry(registry: str) -> Check:
    host = registry.partition("/")[0]
    scheme, said = answers(host)
    if not scheme:
        fix = f"check the name and the network; nodes may reach it all the same (curl https://{host}/v2/)"
        return Check("registry", "fault", f"{host}: {said}", fix, unreachable=True)
    if scheme == "http":
        fix = f"serve it by https, or tell each node's container runtime that {host} speaks http"
        return Check("registry", "warning", f"{host} answers, but without encryption", fix)
    return Check("registry", "ok", f"{host}, {said}")
