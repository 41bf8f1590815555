"""The options of a step: one table for metadata, the line `%%step`, the command line, tags and the JSON Schema."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from nbkube.errors import Diagnostic, Place
from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline import option_values as values
from nbkube.pipeline import quantities
from nbkube.pipeline.model import StepOptions
from nbkube.pipeline.quantities import AmountError

Kind = Literal["text", "flag", "list", "table"]


class Option(msgspec.Struct, frozen=True):
    """One option: `form` is how a value is written, `kind` whether it is single, a flag, a list, or a table by name."""

    name: str
    form: str
    help: str
    parse: Callable[[str], Any]
    kind: Kind = "text"
    schema: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "string"})
    public: bool = True

    @property
    def attribute(self) -> str:
        """Return the field of StepOptions."""
        return self.name.replace("-", "_")


_AMOUNT = {"type": ["string", "number"], "pattern": r"^[0-9.]+([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]+)?$"}
_COUNT = {"type": "integer", "minimum": 0}
_PROCESSES = functools.partial(values.count, 1000)
_FLAG = {"type": "boolean"}


def _pairs_schema(description: str) -> dict[str, Any]:
    pairs = {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}
    return {"anyOf": [pairs, _texts(description)]}


def _texts(description: str) -> dict[str, Any]:
    return {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "description": description}


_GPU = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": quantities.MAX_DEVICES},
        {"type": "string"},
        {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0}},
    ]
}

_TABLE = (
    Option("cpu", "CORES", "CPUs the step asks for, e.g. 2 or 500m", quantities.cpu, schema=_AMOUNT),
    Option("memory", "SIZE", "memory the step asks for, e.g. 4Gi", quantities.memory, schema=_AMOUNT),
    Option("gpu", "COUNT | DEVICE=COUNT", "GPUs, e.g. 1 or amd.com/gpu=2", quantities.devices, "table", _GPU),
    Option("gpu-type", "NAME", "model of the GPU, as nodes are labelled", values.gpu_type),
    Option("image", "REFERENCE", "image the step runs in", values.image),
    Option("env", "NAME=VALUE", "environment variable", values.environment, "table", _pairs_schema("NAME=VALUE")),
    Option("secret", "NAME[:PATH]", "secret, as variables or as files", values.secret, "list", _texts("NAME[:PATH]")),
    Option(
        "volume", "PVC:PATH | new:SIZE[:CLASS]:PATH", "volume mounted at PATH", values.volume, "list",
        _texts("PVC:PATH | new:SIZE[:CLASS]:PATH"),
    ),
    Option(
        "node-selector", "KEY=VALUE", "label that a node must have", values.node_label, "table",
        _pairs_schema("KEY=VALUE"),
    ),
    Option(
        "toleration", "KEY[=VALUE][:EFFECT]", "taint that the step tolerates", values.toleration, "list",
        _texts("KEY[=VALUE][:EFFECT]"),
    ),
    Option("retries", "COUNT", "tries again after a failure", functools.partial(values.count, 100), schema=_COUNT),
    Option("timeout", "TIME", "time limit, e.g. 90s, 10m, 1h30m", quantities.duration),
    Option("cache", "true | false", "take an earlier result that still holds", values.flag, "flag", _FLAG),
    Option("when", "EXPR", "run only if this holds, e.g. accuracy > 0.9", values.condition),
    Option("map", "NAME", "run once for each item of this list", values.variable),
    Option("after-failure", "", "run also if the run has failed", values.flag, "flag", _FLAG),
    Option("workers", "COUNT", "processes of distributed training", _PROCESSES, schema=_COUNT),
    Option("ps", "COUNT", "parameter servers", _PROCESSES, schema=_COUNT),
    Option("chief", "", "one more process leads the workers", values.flag, "flag", _FLAG),
    Option("framework", "NAME", "tensorflow or pytorch", values.framework, schema={"enum": ["tensorflow", "pytorch"]}),
    Option("model", "NAME[=VARIABLE | =PATH]", "register the step's model under this name", values.model),
    Option("labels", "KEY:VALUE", "label of the pod (Kale)", values.label, "table", public=False),
    Option("annotations", "KEY:VALUE", "annotation of the pod (Kale)", values.annotation, "table", public=False),
)  # fmt: skip
OPTIONS: dict[str, Option] = {one.name: one for one in _TABLE if one.public}
"""The closed list of options that a notebook or a person can set."""
_ALL = {one.name: one for one in _TABLE}


class Setting(msgspec.Struct, frozen=True):
    """One option from one place: `source` names the place in messages, `text` is the value as written."""

    option: str
    text: str
    source: str
    place: Place
    parse: Callable[[str], Any] | None = None


def option_schema() -> dict[str, Any]:
    """Return the JSON Schema of the object `nbkube` in a cell's metadata."""
    properties = {
        name: {**one.schema, "title": name, "description": f"{one.help}. Written as {one.form or 'true'}"}
        for name, one in OPTIONS.items()
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Options of a step",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def unknown_option(name: str, place: Place, source: str) -> Diagnostic:
    """Return the fault of an option that is not on the list."""
    meant = {"timeout-seconds": "timeout", "mem": "memory", "cpus": "cpu", "gpus": "gpu", "retry": "retries"}
    otherwise = f"choose from {', '.join(OPTIONS)}"
    hint = f"did you mean {meant[name]}?" if name in meant else did_you_mean(name, OPTIONS, otherwise)
    return Diagnostic("error", "unknown-option", place, f"unknown option {values.shown(name)} in {source}", hint)


def settings_of(given: Mapping[str, Any], source: str, place: Place) -> tuple[list[Setting], list[Diagnostic]]:
    """Return the settings of an object such as a cell's metadata `nbkube`; values are texts or plain JSON."""
    settings: list[Setting] = []
    faults: list[Diagnostic] = []
    for name, value in given.items():
        option = OPTIONS.get(name) if isinstance(name, str) else None
        if option is None:
            faults.append(unknown_option(str(name), place, source))
            continue
        try:
            settings += [Setting(option.name, text, source, place) for text in _texts_of(option, value)]
        except AmountError as error:
            faults.append(_fault(option.name, error, place, source))
    return settings, faults


def check_options(
    given: Mapping[str, Any], source: str = "the options", place: Place | None = None
) -> tuple[StepOptions, list[Diagnostic]]:
    """Return the options that an object of names and values means, and its faults."""
    settings, faults = settings_of(given, source, place or Place(""))
    options, more = merge(settings)
    return options, faults + more


def _texts_of(option: Option, value: Any) -> list[str]:
    """Return a JSON value as the texts one would type."""
    if isinstance(value, list | tuple) and option.kind in ("list", "table"):
        return [text for one in value for text in _texts_of(option, one) if not isinstance(one, list | dict)] or _bad(
            option, value, bool(value)
        )
    if isinstance(value, dict) and option.kind == "table":
        return [f"{key}={_scalar(option, one)}" for key, one in value.items()]
    return [_scalar(option, value)]


def _bad(option: Option, value: Any, faulty: bool) -> list[str]:
    if faulty:
        raise AmountError(f"{values.shown(value)} has the wrong form", f"write {option.form or 'true or false'}")
    return []


def _scalar(option: Option, value: Any) -> str:
    if isinstance(value, bool):
        if option.kind == "flag" or option.name == "env":
            return "true" if value else "false"
    elif isinstance(value, str | int | float):
        return str(value)
    raise AmountError(f"{values.shown(value)} has the wrong form", f"write {option.form or 'true or false'}")


def parse_magic(line: str, place: Place) -> tuple[str, list[Setting], list[Diagnostic]]:
    """Return the step's name ("" if none), settings and faults of the text after `%%step`."""
    source = "its line %%step"
    try:
        words = _split(line)
    except ValueError:
        message = "the line %%step has a quote that is not closed"
        return "", [], [Diagnostic("error", "bad-magic", place, message, "close the quote")]
    name = words.pop(0) if words and not words[0].startswith("-") else ""
    settings: list[Setting] = []
    faults: list[Diagnostic] = []
    while words:
        word = words.pop(0)
        option_name, equals, text = word.removeprefix("--").partition("=")
        if not word.startswith("--") or not option_name:
            hint = "options start with --, e.g. --cpu 2; values with spaces need quotes"
            message = f"{values.shown(word)} in {source} is no option"
            faults.append(Diagnostic("error", "bad-magic", place, message, hint))
            continue
        negative = option_name.removeprefix("no-") if option_name.startswith("no-") else ""
        option = OPTIONS.get(option_name) or _flag(negative)
        if option is None:
            faults.append(unknown_option(option_name, place, source))
            if words and not equals and not words[0].startswith("--"):
                words.pop(0)
        elif equals:
            settings.append(Setting(option.name, text, source, place))
        elif option.kind == "flag":
            settings.append(Setting(option.name, _flag_text(words, bool(negative)), source, place))
        elif words and not words[0].startswith("--"):
            settings.append(Setting(option.name, words.pop(0), source, place))
        else:
            message = f"the option --{option.name} in {source} has no value"
            faults.append(Diagnostic("error", "bad-option", place, message, f"write --{option.name} {option.form}"))
    return name, settings, faults


def _split(line: str) -> list[str]:
    if not re.search(r"[\"'\\]", line):
        return line.split()
    import shlex

    return shlex.split(line)


def _flag(name: str) -> Option | None:
    option = OPTIONS.get(name)
    return option if option and option.kind == "flag" else None


def _flag_text(words: list[str], negative: bool) -> str:
    if negative:
        return "false"
    return words.pop(0) if words and not words[0].startswith("--") else "true"


def kale_setting(key: str, value: str, place: Place) -> Setting | Diagnostic:
    """Return the setting of one of Kale's option tags, e.g. `limit:memory:4Gi`; `value` is the text after the key."""
    text = f"{key}:{value if len(value) <= 60 else value[:57] + '…'}"
    source = f"the tag {text if text.isprintable() else repr(text)}"
    if key == "limit":
        return _limit(value, source, place)
    if key == "secret":
        return Setting("secret", value, source, place, values.kale_secret)
    if key == "cache" and value not in ("enabled", "disabled"):
        hint = "write cache:enabled or cache:disabled"
        return Diagnostic("error", "bad-option", place, f"{source} is neither enabled nor disabled", hint)
    return Setting({"label": "labels", "annotation": "annotations"}.get(key, key), value, source, place)


def _limit(value: str, source: str, place: Place) -> Setting | Diagnostic:
    resource, colon, amount = value.rpartition(":")
    if not colon:
        return Diagnostic("error", "bad-option", place, f"{source} has no amount", "write e.g. limit:memory:4Gi")
    if resource in ("cpu", "memory"):
        return Setting(resource, amount, source, place)
    if "/" in resource:
        return Setting("gpu", f"{resource}={amount}", source, place)
    if resource in ("ephemeral-storage", "hugepages-2Mi", "hugepages-1Gi"):
        hint = "take the tag away; the option volume new:SIZE:PATH gives a step disk space"
        return Diagnostic("warning", "ignored-limit", place, f"{source}: this resource cannot be limited", hint)
    meant = {"gpu": "nvidia.com/gpu", "mem": "memory", "ram": "memory"}.get(resource, "")
    hint = f"did you mean limit:{meant}:{amount}?" if meant else did_you_mean(
        resource, ("cpu", "memory", "nvidia.com/gpu", "amd.com/gpu"), "write cpu, memory or nvidia.com/gpu"
    )  # fmt: skip
    return Diagnostic("error", "unknown-option", place, f"{source}: unknown resource {values.shown(resource)}", hint)


def merge(settings: Iterable[Setting]) -> tuple[StepOptions, list[Diagnostic]]:
    """Return the options that all settings of one step make, and what is wrong with them or between them."""
    faults: list[Diagnostic] = []
    chosen: dict[str, Any] = {}
    seen: dict[tuple[str, Any], tuple[Any, Setting]] = {}
    for one in settings:
        option = _ALL[one.option]
        try:
            value = (one.parse or option.parse)(one.text)
        except AmountError as error:
            faults.append(_fault(option.name, error, one.place, one.source))
            continue
        key, value = _keyed(option, value)
        earlier = seen.setdefault((option.name, key), (value, one))
        if earlier[0] != value:
            faults.append(_conflict(option, key, earlier[1], one))
        elif option.kind == "table":
            chosen.setdefault(option.attribute, {})[key] = value
        elif option.kind == "list":
            chosen[option.attribute] = tuple(dict.fromkeys((*chosen.get(option.attribute, ()), value)))
        else:
            chosen[option.attribute] = value
    return StepOptions(**chosen), faults


def _keyed(option: Option, value: Any) -> tuple[Any, Any]:
    """Return what may be set only once, and its value: the option itself, a name in a table, a mount point."""
    if option.kind == "table":
        return value[0], value[1]
    if option.kind == "list":
        mounted = getattr(value, "path", "") or getattr(value, "env", "")
        return (mounted or value), value
    return None, value


def _conflict(option: Option, key: Any, earlier: Setting, later: Setting) -> Diagnostic:
    what = f"{option.name} {key}" if isinstance(key, str) else option.name
    first = f"{values.shown(earlier.text)} in {earlier.source}"
    if earlier.place.cell != later.place.cell and earlier.place.cell is not None:
        first += f" (cell {earlier.place.cell})"
    message = f"the option {what} is {first} and {values.shown(later.text)} in {later.source}"
    return Diagnostic("error", "conflicting-option", later.place, message, "keep one of the two")


def _fault(name: str, error: AmountError, place: Place, source: str) -> Diagnostic:
    return Diagnostic("error", "bad-option", place, f"option {name} in {source}: {error}", error.hint)
