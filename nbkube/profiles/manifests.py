"""What an admin applies once so that a profile's namespace can run notebooks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nbkube.errors import ProfileError
from nbkube.profiles.model import NOTEBOOK_ACCOUNT, Profile

Manifest = dict[str, Any]
USER_ROLE = "nbkube-user"
SERVING_ROLE = "nbkube-serving"
VIEW_ROLE = "nbkube-capacity"
_LABELS = {"app.kubernetes.io/part-of": "nbkube"}
_READ = ["get", "list", "watch"]
_RBAC = "rbac.authorization.k8s.io"

RUNNER_RULES: tuple[Manifest, ...] = (
    # All that Argo's own containers do: note how a step ended.
    {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"]},
)
USER_RULES: tuple[Manifest, ...] = (
    {
        "apiGroups": ["argoproj.io"],
        "resources": ["workflows", "workflowtemplates", "cronworkflows"],
        "verbs": [*_READ, "create", "update", "patch", "delete"],
    },
    {"apiGroups": [""], "resources": ["pods", "pods/log", "events"], "verbs": _READ},
    {
        "apiGroups": [""],
        "resources": ["resourcequotas", "limitranges", "persistentvolumeclaims", "serviceaccounts"],
        "verbs": _READ,
    },
    # Of all namespaces only this one: whether it is there, and its Pod Security.
    {"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get"]},
)
SERVING_RULES: tuple[Manifest, ...] = (
    {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": [*_READ, "create", "patch", "delete"]},
    {"apiGroups": [""], "resources": ["services"], "verbs": [*_READ, "create", "patch", "delete"]},
    {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": [*_READ, "create", "patch", "delete"]},
    {
        "apiGroups": ["autoscaling"],
        "resources": ["horizontalpodautoscalers"],
        "verbs": [*_READ, "create", "patch", "delete"],
    },
    {"apiGroups": ["networking.k8s.io"], "resources": ["ingresses"], "verbs": [*_READ, "create", "patch", "delete"]},
    {
        "apiGroups": ["serving.kserve.io"],
        "resources": ["inferenceservices"],
        "verbs": [*_READ, "create", "patch", "delete"],
    },
    # Orders to endpoints, and their address on a person's machine, go through the API server.
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["get", "create"]},
)
VIEW_RULES: tuple[Manifest, ...] = (
    {"apiGroups": [""], "resources": ["nodes", "pods"], "verbs": ["get", "list"]},
    {"apiGroups": ["storage.k8s.io"], "resources": ["storageclasses"], "verbs": ["get", "list"]},
    {"apiGroups": ["scheduling.k8s.io"], "resources": ["priorityclasses"], "verbs": ["get", "list"]},
)


def manifests(
    profile: Profile,
    namespace: str = "",
    *,
    users: Sequence[str] = (),
    groups: Sequence[str] = (),
    capacity: bool = False,
    serving: bool = False,
) -> tuple[Manifest, ...]:
    """Return the objects a namespace needs: itself with Pod Security `restricted`, accounts, and rights.

    The account of the pods may only note results; its token is kept in a Secret that Argo mounts into its own
    containers, never into the user's. Users, and the account of notebook servers inside the cluster, may run and
    watch Workflows, and may not read secrets.

    Args:
        profile: names the service account.
        namespace: taken if the profile has none.
        users: users as the cluster knows them.
        groups: groups as the cluster knows them.
        capacity: also let them see nodes and the pods of all namespaces, so that what is free can be told.
        serving: also let them make and change endpoints of models: Deployments, Services and what goes with them.

    Raises:
        ProfileError: neither names a namespace.
    """
    where = profile.namespace or namespace
    if not where:
        raise ProfileError(
            f"the profile {profile.name} names no namespace. Fix: write namespace = … in it, or give --namespace NAME"
        )
    runner = profile.service_account
    token = f"{runner}.service-account-token"
    subjects = [_account(NOTEBOOK_ACCOUNT, where), *_people("User", users), *_people("Group", groups)]
    found = [
        _namespace(where),
        _object("v1", "ServiceAccount", runner, where, automountServiceAccountToken=False, **_pulling(profile)),
        # Argo looks for the executor's token under this very name.
        _object("v1", "Secret", token, where, type="kubernetes.io/service-account-token")
        | {"metadata": _metadata(token, where) | {"annotations": {"kubernetes.io/service-account.name": runner}}},
        _object(f"{_RBAC}/v1", "Role", runner, where, rules=list(RUNNER_RULES)),
        _binding("Role", runner, where, [_account(runner, where)]),
        _object("v1", "ServiceAccount", NOTEBOOK_ACCOUNT, where),
        _object(f"{_RBAC}/v1", "Role", USER_ROLE, where, rules=list(USER_RULES)),
        _binding("Role", USER_ROLE, where, subjects),
    ]
    if serving:
        found.append(_object(f"{_RBAC}/v1", "Role", SERVING_ROLE, where, rules=list(SERVING_RULES)))
        found.append(_binding("Role", SERVING_ROLE, where, subjects))
    if capacity:
        found.append(_object(f"{_RBAC}/v1", "ClusterRole", VIEW_ROLE, rules=list(VIEW_RULES)))
        found.append(_binding("ClusterRole", VIEW_ROLE, "", subjects, f"{VIEW_ROLE}-{where}"))
    return tuple(found)


def as_yaml(profile: Profile, objects: Sequence[Manifest]) -> str:
    """Return the objects for `kubectl apply --filename -`, headed by how to make the Secret with the store's keys."""
    import yaml

    where = objects[0]["metadata"]["name"]
    head = f"# What the profile {profile.name} needs in the namespace {where}.\n"
    if profile.store.secret:
        head += "# The keys of the store are in no file. Make their Secret from the variables of your shell:\n"
        head += f"#   {secret_command(profile.store.secret, where)}\n"
    for name in profile.pull_secrets:
        head += "# The login of the registry, likewise:\n"
        head += (
            f"#   kubectl create secret docker-registry {name} --namespace {where} --docker-server={_host(profile)} …\n"
        )
    return head + yaml.safe_dump_all(objects, sort_keys=False, explicit_start=True, width=120)


def secret_command(name: str, namespace: str) -> str:
    """Return the command that makes the Secret with the store's keys from the variables of the current shell."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    values = " ".join(f'--from-literal={key}="${key}"' for key in keys)
    where = f" --namespace {namespace}" if namespace else ""
    return f"kubectl create secret generic {name}{where} {values}"


def _host(profile: Profile) -> str:
    return (profile.registry or profile.image).partition("/")[0] or "HOST"


def _pulling(profile: Profile) -> Manifest:
    """Return the pull secrets as an account has them: pods get those of their account."""
    return {"imagePullSecrets": [{"name": name} for name in profile.pull_secrets]} if profile.pull_secrets else {}


def _namespace(name: str) -> Manifest:
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": _LABELS | security}}


def _metadata(name: str, namespace: str) -> Manifest:
    return {"name": name} | ({"namespace": namespace} if namespace else {}) | {"labels": dict(_LABELS)}


def _object(version: str, kind: str, name: str, namespace: str = "", **rest: Any) -> Manifest:
    return {"apiVersion": version, "kind": kind, "metadata": _metadata(name, namespace)} | rest


def _binding(kind: str, role: str, namespace: str, subjects: list[Manifest], name: str = "") -> Manifest:
    reference = {"apiGroup": _RBAC, "kind": kind, "name": role}
    binding = f"{kind}Binding"
    return _object(f"{_RBAC}/v1", binding, name or role, namespace, roleRef=reference, subjects=subjects)


def _account(name: str, namespace: str) -> Manifest:
    return {"kind": "ServiceAccount", "name": name, "namespace": namespace}


def _people(kind: str, names: Sequence[str]) -> list[Manifest]:
    return [{"apiGroup": _RBAC, "kind": kind, "name": name} for name in names]
