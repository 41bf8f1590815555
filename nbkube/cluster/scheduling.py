"""What the scheduler says about a pod that fits no node, in words. Pure."""

from __future__ import annotations

import re

from nbkube.cluster.model import Manifest
from nbkube.pipeline.placement import product_asked

_NODES = re.compile(r"(?P<some>\d+)/(?P<all>\d+) nodes are available: (?P<why>.*)")
_TAINT = re.compile(r"node\(s\) had untolerated taint(?:\(s\)|s)?(?: ?\{(?P<taint>[^}]*)\})?")
_CLAIM = re.compile(r'persistentvolumeclaims? "(?P<name>[^"]+)" (?P<what>not found|is being deleted)')
_PARTS = re.compile(r",\s*(?=\d+ |persistentvolumeclaim)")


def unschedulable(pod: Manifest, message: str) -> tuple[str, str, bool]:
    """Return one sentence, a hint, and whether a volume is the cause.

    Args:
        pod: the pod, for what it asks for.
        message: the scheduler's text, such as `0/3 nodes are available: 3 Insufficient cpu. preemption: …`.
    """
    claim = _CLAIM.search(message)
    if claim:
        said = (
            f"there is no volume claim {claim['name']}" if "not" in claim["what"] else f"claim {claim['name']} is going"
        )
        return said, "make it, or correct the option volume", True
    match = _NODES.search(message)
    if not match:
        return f"no node takes the pod: {message or 'the scheduler has not said why'}", "", False
    why = re.split(r"\.? (?:preemption:|no new claims)", match["why"])[0].strip(". ")
    if "unbound immediate PersistentVolumeClaims" in why:
        names = ", ".join(_claims(pod))
        said = f"the volume claim{'' if not names else ' ' + names} is not bound to any volume"
        return said, "see kubectl describe pvc; the storage class may be missing or cannot make volumes", True
    parts = [_part(pod, one.strip()) for one in _PARTS.split(why)]
    total = int(match["all"])
    whole = "there are no nodes" if total == 0 else f"none of {total} node{'' if total == 1 else 's'} takes the pod"
    said = "; ".join(dict.fromkeys(text for text, _ in parts))
    hint = next((hint for _, hint in parts if hint), "")
    return f"{whole}: {said}", hint, False


def _part(pod: Manifest, text: str) -> tuple[str, str]:
    """Return one reason in words, and a hint."""
    count, _, what = text.partition(" ")
    if not count.isdigit():
        return text, ""
    on = f"on {count}"
    if what.startswith("Insufficient "):
        name = what.removeprefix("Insufficient ")
        asked = _asked(pod, name)
        return f"too little {name} free {on}{f' (asked for {asked})' if asked else ''}", _smaller(name)
    if what.startswith("Too many pods"):
        return f"no room for another pod {on}", "wait until others have ended"
    taint = _TAINT.search(what)
    if taint:
        key, _, value = (taint["taint"] or "").partition(":")
        shown = key.strip() + (f"={value.strip()}" if value.strip() else "")
        if shown.startswith("node.kubernetes.io/"):
            return f"{shown.removeprefix('node.kubernetes.io/')} {on}", ""
        if not shown:
            return f"a taint not tolerated {on}", "see kubectl describe nodes, and add the toleration"
        return f"taint {shown} not tolerated {on}", f"add toleration {shown}"
    if "node affinity" in what or "node selector" in what or "nodeSelector" in what:
        spec = pod.get("spec", {})
        labels = ", ".join(f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items())
        product = product_asked(spec)
        missing = " or ".join(filter(None, (labels and f"label {labels}", product and f"GPU model {product}")))
        return f"{missing or 'label asked for'} missing {on}", "correct node-selector or gpu-type"
    if "were unschedulable" in what:
        return f"closed for new pods: {count}", ""
    if "volume node affinity" in what:
        return f"its volume is elsewhere {on}", ""
    return text, ""


def _smaller(name: str) -> str:
    option = {"cpu": "cpu", "memory": "memory", "ephemeral-storage": ""}.get(name, "gpu" if "/" in name else "")
    return f"ask for less {option}, or wait until others have ended" if option else ""


def _asked(pod: Manifest, name: str) -> str:
    """Return what the pod's containers ask for, as they write it."""
    containers = pod.get("spec", {}).get("containers") or ()
    found = [
        amount
        for one in containers
        if (amount := (one.get("resources", {}).get("requests") or {}).get(name, "")) not in ("", "0")
    ]
    return " + ".join(map(str, found))


def _claims(pod: Manifest) -> list[str]:
    volumes = pod.get("spec", {}).get("volumes") or ()
    return [one["persistentVolumeClaim"]["claimName"] for one in volumes if one.get("persistentVolumeClaim")]
