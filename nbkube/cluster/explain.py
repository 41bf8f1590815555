"""Why a pod does not run, or has ended: one sentence for people, from its status and events. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from nbkube.cluster.failures import over_quota
from nbkube.cluster.model import Manifest
from nbkube.cluster.scheduling import unschedulable

TroubleKind = Literal[
    "unschedulable", "gated", "image", "configuration", "volume", "start", "out-of-memory", "deadline", "evicted",
    "preempted", "node", "quota", "policy", "exit",
]  # fmt: skip


class Trouble(msgspec.Struct, frozen=True):
    """What is wrong with a pod: `message` is one sentence, `hint` what to do ("" if there is nothing).

    `ended`: the pod is over; otherwise it waits, and may still start once the cause has gone.
    """

    kind: TroubleKind
    message: str
    hint: str = ""
    ended: bool = False

    def __str__(self) -> str:
        return f"{self.message}. Fix: {self.hint}" if self.hint else self.message


_PULL = ("ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable")
_STARTED = ("CreateContainerError", "RunContainerError", "StartError", "ContainerCannotRun")
_KEY = re.compile(r"couldn't find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) (?:[^/\s]+/)?(?P<name>\S+)")
_ABSENT = re.compile(r'(?P<kind>secret|configmap|serviceaccount) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_LOW = re.compile(r"low on resource: (?P<what>[\w-]+)")
_PULL_CAUSES = (
    (re.compile(r"connection refused|no such host|i/o timeout|no route to host|lookup "),
     "the registry cannot be reached"),
    (re.compile(r"not found|manifest unknown|NotFound", re.IGNORECASE), "there is no such image"),
    (re.compile(r"unauthorized|authentication required|denied|forbidden|no basic auth", re.IGNORECASE),
     "the registry does not let the node in"),
    (re.compile(r"x509|certificate"), "the registry's certificate is not accepted by the node"),
    (re.compile(r"HTTP response to HTTPS"), "the registry speaks http, and the node expects https"),
    (re.compile(r"no match for platform|exec format"), "it is not made for the node's kind of processor"),
)  # fmt: skip
_PULL_HINTS = {
    "there is no such image": "check its name and tag",
    "the registry does not let the node in": "give the service account an imagePullSecret",
    "the registry's certificate is not accepted by the node": "have an admin make the nodes trust it",
    "the registry cannot be reached": "check the host name as the nodes see it",
    "it is not made for the node's kind of processor": "build the image for it, or choose other nodes by node-selector",
}


def explain(pod: Manifest, events: Sequence[Manifest] = ()) -> Trouble | None:
    """Return what keeps a pod from running or has ended it; None if nothing is wrong (or not yet known).

    Args:
        pod: the pod as the API server gives it.
        events: the events about it, in any order.
    """
    finders: tuple[Callable[[], Trouble | None], ...] = (
        lambda: _ended_by_the_cluster(pod),
        lambda: _first(_container(pod, one) for one in _containers(pod)),
        lambda: _waiting_for_a_node(pod),
        lambda: _from_events(pod, events),
    )
    return _first(find() for find in finders)


def explain_message(message: str) -> Trouble | None:
    """Return what a text means that the cluster gave instead of a pod, as when a quota did not let it be made."""
    quota = over_quota(message)
    if quota:
        return Trouble("quota", quota, "ask for less, or wait until something has ended")
    if "violates PodSecurity" in message:
        _, _, what = message.partition("violates PodSecurity ")
        return Trouble("policy", f"the namespace's Pod Security does not allow the pod: {_one_line(what)}")
    absent = _ABSENT.search(message)
    if absent:
        return Trouble("configuration", *_missing(absent["kind"], absent["name"]))
    return None


def _ended_by_the_cluster(pod: Manifest) -> Trouble | None:
    status = pod.get("status", {})
    reason, message = status.get("reason", ""), _one_line(status.get("message", ""))
    disruption: Manifest = next((one for one in status.get("conditions") or () if _holds(one, "DisruptionTarget")), {})
    cause = disruption.get("reason", "")
    if cause == "PreemptionByScheduler" or reason in ("Preempting", "Preempted"):
        return Trouble("preempted", "the pod had to make room for one of higher priority", ended=True)
    if reason == "DeadlineExceeded":
        limit = pod.get("spec", {}).get("activeDeadlineSeconds")
        took = f"more than its {limit} s" if limit else "longer than it may"
        return Trouble("deadline", f"the pod took {took} and was ended", "raise timeout", ended=True)
    if reason == "Evicted" or cause in ("TerminationByKubelet", "EvictionByEvictionAPI", "DeletionByTaintManager"):
        low = _LOW.search(message)
        where = f"node {pod.get('spec', {}).get('nodeName', '')}".rstrip()
        if low:
            hint = {
                "memory": "raise memory, so that the step gets its share",
                "ephemeral-storage": "write less to disk",
            }
            said = f"{where} ran low on {low['what']}, and the pod had to go"
            return Trouble("evicted", said, hint.get(low["what"], ""), ended=True)
        why = message or _one_line(disruption.get("message", "")) or "the node was emptied"
        return Trouble("evicted", f"the pod was evicted from {where}: {why}", ended=True)
    if reason in ("NodeLost", "NodeShutdown", "Shutdown", "Terminated"):
        return Trouble("node", f"the pod's node was shut down or lost: {message or reason}", ended=True)
    if reason.startswith(("OutOf", "Unexpected", "NodeAffinity", "NodePorts")) or reason == "AdmissionError":
        return Trouble("node", f"the node did not take the pod: {message or reason}", ended=True)
    return None


def _containers(pod: Manifest) -> Iterator[tuple[Manifest, Manifest]]:
    """Yield (specification, status) of each container, those that run first first."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    for kind, states in (("initContainers", "initContainerStatuses"), ("containers", "containerStatuses")):
        known = {one["name"]: one for one in spec.get(kind) or ()}
        for one in status.get(states) or ():
            yield known.get(one["name"], {}), one


def _container(pod: Manifest, container: tuple[Manifest, Manifest]) -> Trouble | None:
    spec, status = container
    waiting = status.get("state", {}).get("waiting") or {}
    reason, message = waiting.get("reason", ""), _one_line(waiting.get("message", ""))
    if reason in _PULL:
        return _not_pulled(status.get("image") or spec.get("image", ""), reason, message)
    if reason == "CreateContainerConfigError":
        return _wrong_configuration(message)
    if reason in _STARTED:
        return Trouble("start", f"container {status['name']} could not be started: {message or reason}")
    if reason == "CrashLoopBackOff":
        before = status.get("lastState", {}).get("terminated") or {}
        return _terminated(pod, spec, status["name"], before) if before else None
    terminated = status.get("state", {}).get("terminated") or {}
    return _terminated(pod, spec, status["name"], terminated) if terminated else None


def _terminated(pod: Manifest, spec: Manifest, name: str, state: Manifest) -> Trouble | None:
    code, reason = state.get("exitCode", 0), state.get("reason", "")
    limit = (spec.get("resources", {}).get("limits") or {}).get("memory", "")
    if reason == "OOMKilled":
        used = f"more memory than its limit of {limit}" if limit else "more memory than the node had left"
        return Trouble(
            "out-of-memory", f"container {name} used {used} and was killed (OOMKilled)", "raise memory", True
        )
    if reason in _STARTED:
        said = _one_line(state.get("message", "")) or reason
        return Trouble("start", f"container {name} could not be started: {said}", ended=True)
    if code == 0 or (code in (137, 143) and pod.get("metadata", {}).get("deletionTimestamp")):
        return None
    if code == 137 and limit:
        # The node may miss that memory was the reason where a container ends at once.
        said = f"container {name} was killed (signal 9), as when it uses more memory than its limit of {limit}"
        return Trouble("exit", said, "raise memory, if the step kills no process itself", ended=True)
    killed = f" (killed by signal {code - 128})" if code in (137, 143) else ""
    return Trouble("exit", f"container {name} ended with exit code {code}{killed}", ended=True)


def _not_pulled(image: str, reason: str, message: str) -> Trouble:
    if reason == "InvalidImageName":
        return Trouble("image", f"{image!r} is no name of an image", "correct image")
    said = next((text for pattern, text in _PULL_CAUSES if pattern.search(message)), "")
    why = said or message or reason
    registry = image.partition("/")[0]
    why = why.replace("the registry", f"the registry {registry}", 1) if "." in registry or ":" in registry else why
    return Trouble("image", f"the image {image} cannot be pulled: {why}", _PULL_HINTS.get(said, ""))


def _wrong_configuration(message: str) -> Trouble:
    key = _KEY.search(message)
    if key:
        kind = key["kind"].lower().replace("configmap", "config map")
        hint = f"add the key: kubectl edit {key['kind'].lower()} {key['name']}"
        return Trouble("configuration", f"the {kind} {key['name']} has no key {key['key']}", hint)
    absent = _ABSENT.search(message)
    if absent:
        return Trouble("configuration", *_missing(absent["kind"], absent["name"]))
    if "runAsNonRoot" in message or "will run as root" in message:
        hint = "use an image with a numeric USER that is not 0"
        return Trouble("configuration", "the image runs as root, and the namespace does not allow that", hint)
    return Trouble("configuration", f"the container cannot be set up: {message}")


def _missing(kind: str, name: str) -> tuple[str, str]:
    words = {"secret": "secret", "configmap": "config map", "serviceaccount": "service account"}
    commands = {"secret": "secret generic", "configmap": "configmap", "serviceaccount": "serviceaccount"}
    folded = kind.lower()
    said = f"there is no {words[folded]} {name} in the namespace"
    return said, f"make it: kubectl create {commands[folded]} {name} …, or correct the name"


def _waiting_for_a_node(pod: Manifest) -> Trouble | None:
    for one in pod.get("status", {}).get("conditions") or ():
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            if one.get("reason") == "SchedulingGated":
                return Trouble("gated", "the pod waits until a queue admits it")
            return _no_node(pod, one.get("message", ""))
    return None


def _no_node(pod: Manifest, message: str) -> Trouble:
    sentence, hint, is_volume = unschedulable(pod, _one_line(message))
    return Trouble("volume" if is_volume else "unschedulable", sentence, hint)


def _from_events(pod: Manifest, events: Sequence[Manifest]) -> Trouble | None:
    """Look at the newest warnings of a pod that has not started."""
    if pod.get("status", {}).get("phase", "Pending") != "Pending":
        return None
    for event in sorted(events, key=_moment, reverse=True):
        if event.get("type") == "Normal":
            # Something went on after the warnings before it.
            if event.get("reason") in ("Started", "Pulled", "Created"):
                return None
            continue
        trouble = _event(pod, event.get("reason", ""), _one_line(event.get("message", "")))
        if trouble:
            return trouble
    return None


def _event(pod: Manifest, reason: str, message: str) -> Trouble | None:
    if reason == "FailedScheduling":
        return _no_node(pod, message)
    if reason in ("FailedMount", "FailedAttachVolume", "FailedMapVolume"):
        absent = _ABSENT.search(message)
        if absent:
            return Trouble("configuration", *_missing(absent["kind"], absent["name"]))
        if "references non-existent secret key" in message or _KEY.search(message):
            return Trouble("configuration", f"a secret lacks a key that is mounted: {message}")
        return Trouble("volume", f"a volume cannot be mounted: {message}")
    if reason in ("FailedCreatePodSandBox", "FailedPodSandBoxStatus", "NetworkNotReady"):
        return Trouble("node", f"the node cannot set up the pod: {message}")
    if reason == "FailedCreate":
        return explain_message(message)
    return None


def _holds(condition: dict[str, Any], kind: str) -> bool:
    return condition.get("type") == kind and condition.get("status") == "True"


def _moment(event: Manifest) -> str:
    series = event.get("series") or {}
    return str(series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime") or "")


def _first(found: Iterator[Trouble | None]) -> Trouble | None:
    return next((one for one in found if one is not None), None)


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= 300 else flat[:299] + "…"
