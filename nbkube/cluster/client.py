"""A cluster: objects of any kind as plain dicts."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from nbkube.cluster import access as finding
from nbkube.cluster.connection import Connection, DoneBeforeError
from nbkube.cluster.failures import ExpiredError
from nbkube.cluster.logs import Logs
from nbkube.cluster.model import Access, Identity, Kind, LogLine, Manifest, Question, Resource
from nbkube.cluster.watch import Listing, Watch
from nbkube.errors import NotFoundError

FIELD_MANAGER = "nbkube"
PAGE = 500
Merge = Literal["merge", "strategic", "json"]
_PATCHES: dict[Merge, str] = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_STRICT = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


def connect(context: str = "", namespace: str = "") -> Cluster:
    """Return a cluster; nothing is sent yet.

    Args:
        context: a context of the kubeconfig; "" takes the current one, or inside a pod its service account.
        namespace: where objects go that name none; "" takes the context's or the pod's, else `default`.

    Raises:
        ProfileError: the kubeconfig has no such context.
        ClusterError: no cluster is known here, or its credentials cannot be had.
    """
    again = functools.partial(finding.find, context, namespace)
    return Cluster(Connection(*again(), again))


class Cluster:
    """The API server of one cluster. Every method may raise

    - ClusterError: it cannot be reached (after trying for 20 s) or does not let us in,
    - ForbiddenError: we lack a right; the message has the command that gives it,
    - RefusedError: it does not take the object (the wrong fields, the quota or the policy are named).

    Where `namespace` is None, an object's own counts, else the one the cluster was opened with.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, dict[str, Resource]] = {}

    @property
    def access(self) -> Access:
        """Return how the cluster is reached."""
        return self._connection.access

    @property
    def namespace(self) -> str:
        """Return the namespace for objects that name none."""
        return self.access.namespace

    @property
    def clock_skew(self) -> float | None:
        """Return by how many seconds this machine's clock is ahead of the API server's; None before an answer."""
        return self._connection.skew

    # -- objects ---------------------------------------------------------------------------------------------------

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create an object and return it as stored. Unknown fields are refused.

        With `dry_run` the API server does everything but store it (defaults, admission, quota). When the answer is
        lost, the request is sent again, and an object that is there then counts as created.

        Raises:
            ConflictError: it exists already.
        """
        kind = Kind.of(manifest)
        named = manifest["metadata"].get("name", "")
        namespace = manifest["metadata"].get("namespace")
        what = f"create {kind.kind} {named or manifest['metadata'].get('generateName', '')}"
        query = _STRICT | ({"dryRun": "All"} if dry_run else {})
        path = self._path(kind, namespace)
        try:
            return self._connection.call("POST", path, what, query=query, body=manifest, repeat=bool(named))
        except DoneBeforeError:
            if dry_run:
                raise
            return self.get(kind, named, namespace=namespace)

    def apply(self, manifest: Manifest, *, force: bool = False, dry_run: bool = False) -> Manifest:
        """Create or update an object by server-side apply (field manager `nbkube`) and return it as stored.

        Args:
            manifest: the object; fields left out that nbkube had set before are removed.
            force: take over fields that others have set.
            dry_run: do everything but store it.

        Raises:
            ConflictError: another manager owns a field, which the message names.
        """
        kind = Kind.of(manifest)
        name = str(manifest["metadata"]["name"])
        path = self._path(kind, manifest["metadata"].get("namespace"), name)
        query = _STRICT | {"force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        content = "application/apply-patch+yaml"
        what = f"apply {kind.kind} {name}"
        return self._connection.call("PATCH", path, what, query=query, body=manifest, content=content)

    def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Manifest:
        """Return an object.

        Raises:
            NotFoundError: there is none of this name, or the cluster does not know the kind.
        """
        return self._connection.call("GET", self._path(kind, namespace, name), f"get {kind.kind} {name}")

    def find(self, kind: Kind, name: str, *, namespace: str | None = None) -> Manifest | None:
        """Return an object, or None if there is none or the cluster does not know the kind."""
        try:
            return self.get(kind, name, namespace=namespace)
        except NotFoundError:
            return None

    def list(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | str = "",
        fields: str = "",
        everywhere: bool = False,
    ) -> list[Manifest]:
        """Return the objects of a kind.

        Args:
            kind: what to list.
            namespace: where.
            labels: a label selector, or the labels that objects must have.
            fields: a field selector, such as `involvedObject.name=x`.
            everywhere: look in all namespaces.

        Raises:
            NotFoundError: the cluster does not know the kind.
        """
        path = self._path(kind, namespace, everywhere=everywhere)
        return self._listed(kind, path, _selection(labels, fields))[0]

    def patch(
        self,
        kind: Kind,
        name: str,
        change: Any,
        *,
        namespace: str | None = None,
        subresource: str = "",
        form: Merge = "merge",
    ) -> Manifest:
        """Change an object and return it. A `metadata.resourceVersion` in the change makes it compare-and-swap.

        Raises:
            NotFoundError: there is no such object.
            ConflictError: it has changed since that version.
        """  # fmt: skip
        path = self._path(kind, namespace, name, subresource)
        what = f"change {kind.kind} {name}"
        return self._connection.call("PATCH", path, what, query=_STRICT, body=change, content=_PATCHES[form])

    def delete(
        self, kind: Kind, name: str, *, namespace: str | None = None, grace_seconds: int | None = None, uid: str = ""
    ) -> bool:
        """Delete an object and, in the background, what it owns; False if it was not there.

        With `uid` only the object of this identity, never a later one of the same name.
        """
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            self._connection.call(
                "DELETE", self._path(kind, namespace, name), f"delete {kind.kind} {name}", body=options
            )
        except NotFoundError:
            return False
        return True

    # -- following -------------------------------------------------------------------------------------------------

    def watch(
        self,
        kind: Kind,
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | str = "",
        fields: str = "",
        everywhere: bool = False,
        idle: float = 5.0,
    ) -> Watch:
        """Return the objects of a kind and then each change, for as long as one iterates or until it is closed.

        Iterate over it; `Change` says what comes. It survives cut connections, restarts of the API server and expired
        versions (410): then it lists again and reports the differences, so that no object's last state is missed and
        none is reported twice. Something comes at least every `idle` seconds.

        Raises:
            ForbiddenError: we may not list or watch.
            ClusterError: the cluster cannot be reached at the start.
        """
        path = self._path(kind, namespace, everywhere=everywhere)
        query = _selection(labels, fields)
        return Watch(self._connection, kind, path, query, lambda: self._listed(kind, path, query), idle)

    def logs(
        self,
        pod: str,
        container: str = "",
        *,
        namespace: str | None = None,
        follow: bool = False,
        since: str = "",
        tail: int | None = None,
        previous: bool = False,
    ) -> Iterator[LogLine]:
        """Yield the lines of a container's log, each once, also over cut connections.

        Args:
            pod: the pod's name.
            container: which container, where there are several.
            namespace: the pod's.
            follow: go on until the container has ended.
            since: only lines after this time (RFC 3339), such as the `time` of the last line seen.
            tail: only the last lines.
            previous: of the container's earlier instance, before it was restarted.

        Raises:
            NotFoundError: there is no such pod.
            RefusedError: the container has not started yet, or there are several to choose from.
        """
        path = self._path(Kind("v1", "Pod"), namespace, pod, "log")
        query = {"container": container} if container else {}
        if tail is not None:
            query["tailLines"] = str(tail)
        if previous:
            query["previous"] = "true"
        return iter(Logs(self._connection, path, f"read the log of {pod}", query, follow, since))

    def open_port(self, pod: str, port: int) -> Any:
        """Return a socket to a port of a pod, carried by the API server.

        Raises:
            kubernetes' ApiException: the API server does not open it.
        """
        return self.port_forward(pod, port).socket(port)

    def port_forward(self, pod: str, port: int) -> Any:
        """Return the `kubernetes` package's way to a port of a pod. Raises what `open_port` does."""
        from kubernetes.client import ApiClient, CoreV1Api
        from kubernetes.stream import portforward

        api = CoreV1Api(ApiClient(self._connection.settings))
        return portforward(api.connect_get_namespaced_pod_portforward, pod, self.namespace, ports=str(port))

    # -- what we may do --------------------------------------------------------------------------------------------

    def may(self, question: Question) -> bool:
        """Tell whether we may do something; a namespace of None is the cluster's."""
        namespace = self.namespace if question.namespace is None else question.namespace
        attributes = {
            "verb": question.verb,
            "group": question.group,
            "resource": question.resource,
            "subresource": question.subresource,
            "name": question.name,
            "namespace": namespace,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {name: value for name, value in attributes.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._connection.call("POST", path, f"ask whether we may {question}", body=review)
        return bool(answer["status"].get("allowed"))

    def missing(self, questions: Sequence[Question]) -> tuple[Question, ...]:
        """Return what of this we may not do, in order; the questions are asked at the same time."""
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(self.may, questions))
        return tuple(question for question, allowed in zip(questions, answers, strict=True) if not allowed)

    def rules(self, namespace: str | None = None) -> tuple[Manifest, ...]:
        """Return the rules of what we may do in a namespace, as far as the cluster can list them."""
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectRulesReview",
            "spec": {"namespace": namespace or self.namespace},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
        answer = self._connection.call("POST", path, "ask for our rights", body=review)
        return tuple(answer["status"].get("resourceRules") or ())

    def identity(self) -> Identity:
        """Return who the cluster says we are.

        Raises:
            NotFoundError: the cluster cannot say (before Kubernetes 1.28).
        """
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
        answer = self._connection.call("POST", path, "ask who we are", body=review)
        user = answer["status"]["userInfo"]
        return Identity(user.get("username", ""), tuple(user.get("groups") or ()))

    def version(self) -> str:
        """Return the API server's version, such as v1.34.4."""
        return str(self._connection.call("GET", "/version", "ask for the version").get("gitVersion", ""))

    def serves(self, kind: Kind) -> bool:
        """Tell whether the cluster knows a kind."""
        try:
            self._resource(kind)
        except NotFoundError:
            return False
        return True

    # -- addresses -------------------------------------------------------------------------------------------------

    def _listed(self, kind: Kind, path: str, query: Mapping[str, str]) -> Listing:
        """Return all objects and the version of the list."""
        items: list[Manifest] = []
        following = ""
        while True:
            page = dict(query) | {"limit": str(PAGE)} | ({"continue": following} if following else {})
            try:
                answer = self._connection.call("GET", path, f"list {kind.kind}", query=page)
            except ExpiredError:
                # The pages of a long list expire after some minutes: then it is asked for anew, in one piece.
                items.clear()
                answer = self._connection.call("GET", path, f"list {kind.kind}", query=query)
            # The objects of a list do not say what they are.
            items += [{"apiVersion": kind.api_version, "kind": kind.kind} | one for one in answer.get("items") or ()]
            following = answer["metadata"].get("continue", "")
            if not following:
                return items, str(answer["metadata"].get("resourceVersion", ""))

    def _path(
        self, kind: Kind, namespace: str | None, name: str = "", subresource: str = "", *, everywhere: bool = False
    ) -> str:
        from urllib.parse import quote

        resource = self._resource(kind)
        parts = [_prefix(kind.api_version)]
        if resource.namespaced and not everywhere:
            parts += ["namespaces", quote(namespace or self.namespace, safe="")]
        parts += [resource.plural]
        parts += [quote(part, safe="") for part in (name, subresource) if part]
        return "/".join(parts)

    def _resource(self, kind: Kind) -> Resource:
        """Ask the API server, once for each group and version, under which path a kind is found."""
        known = self._known.get(kind.api_version)
        if known is None:
            try:
                answer = self._connection.call("GET", _prefix(kind.api_version), f"look up {kind.api_version}")
            except NotFoundError:
                answer = {"resources": []}
            known = {
                one["kind"]: Resource(Kind(kind.api_version, one["kind"]), one["name"], one["namespaced"])
                for one in answer["resources"]
                if "/" not in one["name"]
            }
            if known:
                self._known[kind.api_version] = known
        if kind.kind not in known:
            raise NotFoundError(f"{self.access.name} knows no {kind.kind} of {kind.api_version}")
        return known[kind.kind]


def _prefix(api_version: str) -> str:
    return f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"


def _selection(labels: Mapping[str, str] | str, fields: str) -> dict[str, str]:
    chosen = labels if isinstance(labels, str) else ",".join(f"{name}={value}" for name, value in labels.items())
    return {name: text for name, text in (("labelSelector", chosen), ("fieldSelector", fields)) if text}
