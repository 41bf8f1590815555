"""Workflows on a real cluster, by way of `nbkube.cluster`."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from nbkube.cluster.explain import Trouble, explain, explain_message
from nbkube.cluster.model import EVENT, POD, WORKFLOW, Change, Manifest
from nbkube.engines.argo.news import Contact, Death, News, PodNews, WorkflowNews
from nbkube.engines.argo.pods import STEP_LABEL
from nbkube.engines.argo.reminding import Reminder
from nbkube.errors import ConflictError, NbkubeError

if TYPE_CHECKING:
    from nbkube.cluster import Cluster
    from nbkube.cluster.watch import Watch

WORKFLOW_LABEL = "workflows.argoproj.io/workflow"
REMINDED = "nbkube.io/reminded"
"""Annotation of a Workflow: when Argo was last reminded of it, in seconds since 1970."""

_IDLE = 1.0
_PODS_LATE = 1.0
"""Seconds in which the last words about pods may come after the Workflow's end."""

_EVENTS_AFTER = 2.0
"""Seconds for which a pod may be pending before its events are looked up, and between two looks."""

_OWN = {"exit"}
"""Troubles that the pod itself has told, and better."""

_CODES = {"out-of-memory": 137, "deadline": 124}
_REASONS = {
    "out-of-memory": "OOMKilled",
    "deadline": "DeadlineExceeded",
    "evicted": "Evicted",
    "preempted": "Preempted",
}


class ClusterWorkflows:
    """The `Workflows` of the cluster's namespace."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def send(self, manifest: Manifest) -> None:
        """Try a Workflow out by a strict dry run, then create it; one of this name that is there already is this one.

        Raises:
            RefusedError: a field, a policy or a quota does not allow it.
            ForbiddenError: we lack a right.
            ClusterError: the cluster cannot be reached.
        """
        try:
            self._cluster.create(manifest, dry_run=True)
            self._cluster.create(manifest)
        except ConflictError:
            return

    def stop(self, name: str, *, now: bool = False) -> None:
        """End a Workflow; its exit hook runs unless `now`."""
        self._cluster.patch(WORKFLOW, name, {"spec": {"shutdown": "Terminate" if now else "Stop", "suspend": None}})

    def suspend(self, name: str, *, paused: bool) -> None:
        """Have a Workflow start no further pod, or go on."""
        self._cluster.patch(WORKFLOW, name, {"spec": {"suspend": True if paused else None}})

    def watch(self, name: str) -> Iterator[News | None]:
        """Yield what is known of a Workflow and its pods, and every change, until it has ended."""
        own = self._cluster.watch(WORKFLOW, fields=f"metadata.name={name}", idle=_IDLE)
        pods = self._cluster.watch(POD, labels={WORKFLOW_LABEL: name}, idle=_IDLE)
        with own, pods:
            yield from _Following(self._cluster, name, own, pods).news()


class _Following:
    """Two watches as one stream."""

    def __init__(self, cluster: Cluster, name: str, own: Watch, pods: Watch) -> None:
        self._cluster = cluster
        self._name = name
        self._reminder = Reminder()
        self._standing: tuple[Manifest, bool] = ({}, False)
        self._lost = False
        self._queue: SimpleQueue[tuple[str, Change | NbkubeError]] = SimpleQueue()
        self._pending: dict[str, Manifest] = {}
        self._look_at = 0.0
        for kind, watch in (("workflow", own), ("pod", pods)):
            threading.Thread(target=self._pump, args=(kind, watch), name=f"watch-{kind}", daemon=True).start()

    def _pump(self, kind: str, watch: Watch) -> None:
        try:
            for change in watch:
                self._queue.put((kind, change))
        except NbkubeError as error:
            self._queue.put((kind, error))

    def news(self) -> Iterator[News | None]:
        end: WorkflowNews | None = None
        until = 0.0
        while end is None or time.monotonic() < until:
            try:
                kind, change = self._queue.get(timeout=0.2)
            except Empty:
                yield from self._waiting()
                self._remind()
                yield None
                continue
            if isinstance(change, NbkubeError):
                raise change
            for news in self._workflow(change) if kind == "workflow" else self._pod(change):
                if isinstance(news, WorkflowNews) and news.ended:
                    end, until = news, time.monotonic() + _PODS_LATE
                else:
                    yield news
        yield end

    def _workflow(self, change: Change) -> Iterator[News]:
        if change.what in ("added", "modified"):
            status = change.object.get("status") or {}
            standing = status, bool(change.object["spec"].get("suspend"))
            if standing != self._standing:
                self._standing = standing
                self._reminder.workflow(suspended=standing[1])
            yield from _unmade(status)
            yield WorkflowNews(str(status.get("phase", "")), str(status.get("message", "")), _failed(status))
        elif change.what == "deleted" or (change.what == "synced" and not self._seen):
            yield WorkflowNews("Gone")
        elif change.what in ("lost", "found"):
            self._lost = change.what == "lost"
            if not self._lost:
                self._reminder.found()
            yield Contact(self._lost, change.reason)
        self._seen = self._seen or change.what == "added"

    _seen = False

    def _pod(self, change: Change) -> Iterator[News]:
        if change.what not in ("added", "modified", "deleted"):
            return
        pod = change.object
        name = pod["metadata"]["name"]
        phase = str(pod.get("status", {}).get("phase", ""))
        self._pending.pop(name, None)
        self._reminder.pod(name, under_way=change.what != "deleted" and phase not in ("Succeeded", "Failed"))
        if change.what == "deleted":
            death = None
            if phase not in ("Succeeded", "Failed"):
                death = Death("Deleted", "its pod was deleted", 137)
            yield _told(pod, "Deleted", "", death)
            return
        if phase == "Pending" and not pod["metadata"].get("deletionTimestamp"):
            self._pending[name] = pod
        yield self._described(pod, phase, explain(pod))

    def _described(self, pod: Manifest, phase: str, trouble: Trouble | None) -> PodNews:
        if trouble is None or trouble.kind in _OWN:
            return _told(pod, phase, "", None)
        death = None
        if trouble.ended:
            reason = _REASONS.get(trouble.kind, trouble.kind)
            death = Death(reason, str(trouble), _CODES.get(trouble.kind, 137))
        return _told(pod, phase, str(trouble), death)

    def _remind(self) -> None:
        if self._seen and not self._lost and self._reminder.is_due():
            with contextlib.suppress(NbkubeError):  # the watches tell of lost contact
                annotations = {REMINDED: f"{time.time():.0f}"}
                self._cluster.patch(WORKFLOW, self._name, {"metadata": {"annotations": annotations}})

    def _waiting(self) -> Iterator[News]:
        """Look up the events of pods that do not get on: some reasons are only there."""
        if not self._pending or time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + _EVENTS_AFTER
        for name, pod in list(self._pending.items()):
            try:
                events = self._cluster.list(EVENT, fields=f"involvedObject.name={name}")
            except NbkubeError:
                return  # the watches tell of lost contact
            yield self._described(pod, "Pending", explain(pod, events))


def _nodes(status: Manifest, *phases: str) -> Iterator[tuple[str, str]]:
    """Yield (step, message) of the tries at steps in these phases, the last tries last."""
    nodes = [one for one in (status.get("nodes") or {}).values() if one.get("type") == "Pod"]
    for node in sorted(nodes, key=lambda one: str(one.get("startedAt", ""))):
        given = {one["name"]: one.get("value", "") for one in (node.get("inputs") or {}).get("parameters") or ()}
        if node.get("phase") in phases and node.get("message") and "label" in given:
            yield str(given["label"]), str(node["message"])


def _unmade(status: Manifest) -> Iterator[PodNews]:
    """Tell of pods that the cluster does not let Argo make, as when a quota is used up: there is no pod to look at."""
    for step, message in _nodes(status, "Pending"):
        trouble = explain_message(message)
        if trouble is not None:
            yield PodNews(step, "", "Pending", str(trouble))


def _failed(status: Manifest) -> dict[str, str]:
    return dict(_nodes(status, "Failed", "Error"))


def _told(pod: Manifest, phase: str, reason: str, death: Death | None) -> PodNews:
    labels: dict[str, Any] = pod["metadata"].get("labels") or {}
    return PodNews(str(labels.get(STEP_LABEL, "")), pod["metadata"]["name"], phase, reason, death)
