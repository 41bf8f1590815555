"""The language of cell tags: ours, Kale's and papermill's. Tags of other tools are none of our business."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

import msgspec

from nbkube.errors import Severity
from nbkube.notebook.names import BadNameError, step_name
from nbkube.notebook.suggest import closest, edits

TagKind = Literal["step", "prev", "imports", "functions", "parameters", "metrics", "checks", "skip", "option", "join"]

PLAIN: dict[str, TagKind] = {
    "imports": "imports",
    "functions": "functions",
    "parameters": "parameters",
    "pipeline-parameters": "parameters",
    "injected-parameters": "parameters",  # papermill writes it into its output notebooks
    "pipeline-metrics": "metrics",
    "checks": "checks",
    "skip": "skip",
}
OPTION_KEYS = ("limit", "image", "label", "annotation", "secret", "cache")
KEYS = ("step", "block", "prev", *OPTION_KEYS, "report", "notebook")
_FORMS = {
    "step": "step:NAME",
    "block": "block:NAME",
    "prev": "prev:NAME",
    "limit": "limit:memory:4Gi",
    "image": "image:REFERENCE",
    "label": "label:KEY:VALUE",
    "annotation": "annotation:KEY:VALUE",
    "secret": "secret:NAME:KEY:VARIABLE",
    "cache": "cache:enabled",
    "report": "report:enabled",
    "notebook": "notebook:NAME",
}
_MEANT = {"metrics": "pipeline-metrics", "metric": "pipeline-metrics", "params": "parameters", "param": "parameters"}
_FOREIGN = frozenset({"stem", "stop", "prep", "ship", "slip", "skim", "snip", "test", "tests", "limits", "images"})
_WRONG_JOINT = re.compile(r"(?i)(step|block|prev)(\s+|\s*[=;]\s*|[-_/.])(\S.*)")


class CellTag(msgspec.Struct, frozen=True):
    """One tag that means something to nbkube: `value` is the name of a step, or for options the text after the key."""

    text: str
    kind: TagKind
    key: str = ""
    value: str = ""


class TagFault(msgspec.Struct, frozen=True):
    """What is wrong with one tag, and the way out."""

    severity: Severity
    code: str
    message: str
    hint: str


def read_tags(tags: Iterable[str]) -> tuple[tuple[CellTag, ...], tuple[TagFault, ...]]:
    """Return the tags that nbkube knows and the faults of those that look like it; others are left out silently."""
    known: list[CellTag] = []
    faults: list[TagFault] = []
    for text in tags:
        for one in _read(text):
            (known if isinstance(one, CellTag) else faults).append(one)  # type: ignore[arg-type]
    return tuple(known), tuple(faults)


def is_structural(text: str) -> bool:
    """Tell whether a tag places a cell in the pipeline."""
    return text in PLAIN or text.partition(":")[0] in ("step", "block", "prev")


def _read(text: str) -> list[CellTag | TagFault]:
    if text in PLAIN:
        return [CellTag(text, PLAIN[text], text)]
    key, colon, value = text.partition(":")
    if colon and key in KEYS:
        return _keyed(text, key, value)
    fault = _look_alike(text, key, colon, value)
    return [fault] if fault else []


def _keyed(text: str, key: str, value: str) -> list[CellTag | TagFault]:
    if key == "block" and value in PLAIN:  # the oldest Kale wrote block:imports
        return [CellTag(text, PLAIN[value], value)]
    if key == "block" and not value:  # Kale: belongs to the step above
        return [CellTag(text, "join", key)]
    if key in ("step", "block"):
        return [_named(text, "step", value)]
    if key == "prev":
        return [_named(text, "prev", name) for name in value.split(":")]
    if key in OPTION_KEYS:
        if not value.strip(": "):
            return [_fault("empty-tag", f"the tag {text!r} says nothing after the colon", f"write {_FORMS[key]}")]
        return [CellTag(text, "option", key, value)]
    if key == "report":
        hint = "`nbkube artifacts RUN --html` makes a report of every run; take the tag away"
        return [TagFault("info", "kale-report", f"the tag {text!r} of Kale has no effect", hint)]
    hint = "put the cells of that notebook into this one, or run it as a pipeline of its own"
    return [_fault("kale-notebook", f"the tag {text!r} of Kale (a notebook as a step) is not supported", hint)]


def _named(text: str, kind: TagKind, value: str) -> CellTag | TagFault:
    try:
        return CellTag(text, kind, kind, step_name(value))
    except BadNameError as error:
        shown = text if len(text) <= 80 else text[:77] + "…"
        return _fault("bad-name", f"the tag {shown!r}: {error}", error.hint)


def _look_alike(text: str, key: str, colon: str, value: str) -> TagFault | None:
    """Return the fault of an unknown tag that must be a slip, or None for a tag of somebody else."""
    if len(text) > 200 or text.casefold() in _FOREIGN or (colon and key.casefold() in _FOREIGN):
        return None
    if not colon:
        return _plain_look_alike(text)
    folded = key.strip().casefold()
    meant = folded if folded in KEYS else next((one for one in KEYS if edits(folded, one) <= 1), "")
    if not meant:
        plain = closest(folded, PLAIN) if folded in PLAIN else ""
        if plain:
            return _unknown(text, plain)
        return None
    return _unknown(text, f"{meant}:{value.strip()}" if value.strip() else _FORMS[meant])


def _plain_look_alike(text: str) -> TagFault | None:
    folded = text.strip().casefold()
    if folded in ("step", "steps", "block", "prev"):
        form = _FORMS[folded.rstrip("s")]
        return _fault("empty-tag", f"the tag {text!r} names no step", f"write {form}")
    joint = _WRONG_JOINT.fullmatch(text.strip())
    if joint:
        meant = f"{joint.group(1).lower()}:{joint.group(3)}"
        if joint.group(2).strip() in ("", "=", ";"):
            return _unknown(text, meant)
        message = f"the tag {text!r} is not one of nbkube's and has no effect"
        return TagFault("warning", "unknown-tag", message, f"write {meant} if a step is meant")
    if folded in _MEANT:
        return _unknown(text, _MEANT[folded])
    normal = folded.replace("_", "-").replace(" ", "-")
    for one in PLAIN:
        if edits(normal, one) <= (0 if normal == one else 1 if len(one) < 8 else 2):
            return _unknown(text, one)
    return None


def _unknown(text: str, meant: str) -> TagFault:
    return _fault("unknown-tag", f"unknown tag {text!r}", f"did you mean {meant}?")


def _fault(code: str, message: str, hint: str) -> TagFault:
    return TagFault("error", code, message, hint)
