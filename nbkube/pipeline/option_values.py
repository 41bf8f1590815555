"""One parser for the text of each option's value."""

from __future__ import annotations

import ast
import re
from typing import Any

from nbkube.notebook.names import slug
from nbkube.notebook.suggest import closest, did_you_mean
from nbkube.pipeline.model import Secret, Toleration, Volume
from nbkube.pipeline.quantities import AmountError, memory

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MODEL = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
_SUBDOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_QUALIFIED = re.compile(
    rf"(?:{_LABEL}(?:\.{_LABEL})*/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{{0,61}}[A-Za-z0-9])?",
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}")
_PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*)(?::[0-9]{1,5})?"
_IMAGE = re.compile(
    rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?"
)
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_FRAMEWORKS = ("tensorflow", "pytorch")
_EXPRESSION = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.Compare, ast.Eq,
    ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Name, ast.Load, ast.Constant, ast.List, ast.Tuple,
)  # fmt: skip


def pair(text: str, form: str) -> tuple[str, str]:
    """Return the two sides of `KEY=VALUE`."""
    left, equals, right = text.partition("=")
    if not equals or not left.strip():
        raise AmountError(f"{shown(text)} is not {form}", f"write {form}")
    return left.strip(), right


def environment(text: str) -> tuple[str, str]:
    """Return name and value of `NAME=VALUE`; the value may be any text but NUL."""
    name, value = pair(text, "NAME=VALUE")
    if not _VARIABLE.fullmatch(name):
        better = re.sub(r"\W+", "_", name, flags=re.ASCII).lstrip("0123456789") or "NAME"
        raise AmountError(f"{shown(name)} is no name of an environment variable", f"write {better}={value[:20]}")
    if "\0" in value:
        raise AmountError(f"the value of {name} holds a NUL character", "take the character out")
    return name, value


def node_label(text: str) -> tuple[str, str]:
    """Return key and value of a node label."""
    return _label_pair(*pair(text, "KEY=VALUE"))


def label(text: str) -> tuple[str, str]:
    """Return key and value of Kale's `label:KEY:VALUE`."""
    key, _, value = text.partition(":")
    return _label_pair(key, value)


def annotation(text: str) -> tuple[str, str]:
    """Return key and value of Kale's `annotation:KEY:VALUE`."""
    key, _, value = text.partition(":")
    _require(_QUALIFIED, key, "key of an annotation", "write e.g. example.com/owner:me")
    if not value.isprintable() or len(value) > 1024:
        raise AmountError(f"the value of annotation {key} is not one line of at most 1,024 characters", "shorten it")
    return key, value


def _label_pair(key: str, value: str) -> tuple[str, str]:
    _require(_QUALIFIED, key, "key of a label", "use letters, digits and - _ . with an optional DOMAIN/ before")
    _require(_LABEL_VALUE, value, "value of a label", "use at most 63 letters, digits and - _ .")
    return key, value


def gpu_type(text: str) -> str:
    """Check the name of a GPU model, which is the value of a node label."""
    if not text:
        raise AmountError("no type of GPU is given", "write e.g. NVIDIA-A100-SXM4-40GB")
    better = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")
    return _require(_LABEL_VALUE, text, "type of GPU", f"write {better or 'its label on the node'}")


def image(text: str) -> str:
    """Check an image reference `[HOST/]NAME[:TAG][@sha256:…]`."""
    if len(text) > 500 or not _IMAGE.fullmatch(text):
        hint = "write [HOST/]NAME[:TAG], e.g. ghcr.io/team/train:1.2"
        lower = text.strip().lower()
        if lower != text and _IMAGE.fullmatch(lower):
            hint = f"write {lower}"
        raise AmountError(f"{shown(text)} is no name of an image", hint)
    return text


def secret(text: str) -> Secret:
    """Return the secret of `NAME` or `NAME:PATH`."""
    name, colon, path = text.partition(":")
    _require(_SUBDOMAIN, name, "name of a secret", _kubernetes_name(name, "my-secret"), 253)
    return Secret(name, _path(path) if colon else "")


def kale_secret(text: str) -> Secret:
    """Return the secret of Kale's `secret:NAME:KEY:VARIABLE`."""
    name, _, rest = text.partition(":")
    key, _, variable = rest.partition(":")
    _require(_SUBDOMAIN, name, "name of a secret", _kubernetes_name(name, "my-secret"), 253)
    _require(_SECRET_KEY, key, "key of a secret", "write secret:NAME:KEY:VARIABLE")
    _require(_VARIABLE, variable, "name of an environment variable", "write secret:NAME:KEY:VARIABLE")
    return Secret(name, key=key, env=variable)


def volume(text: str) -> Volume:
    """Return the volume of `PVC:PATH` or `new:SIZE[:CLASS]:PATH`."""
    form = "write PVC:PATH, e.g. data:/data, or new:SIZE:PATH, e.g. new:10Gi:/scratch"
    parts = text.split(":")
    if parts[0] == "new" and len(parts) in (3, 4):
        storage_class = parts[2] if len(parts) == 4 else ""
        if storage_class:
            _require(_SUBDOMAIN, storage_class, "name of a storage class", form, 253)
        return Volume(_path(parts[-1]), size=memory(parts[1]), storage_class=storage_class)
    if len(parts) != 2 or parts[0] == "new":
        raise AmountError(f"{shown(text)} is no volume", form)
    _require(_SUBDOMAIN, parts[0], "name of a claim (PVC)", form, 253)
    return Volume(_path(parts[1]), claim=parts[0])


def toleration(text: str) -> Toleration:
    """Return the toleration of `KEY[=VALUE][:EFFECT]`."""
    rest, colon, effect = text.partition(":")
    if colon and effect not in _EFFECTS:
        hint = did_you_mean(effect, _EFFECTS, f"write one of {', '.join(_EFFECTS)}")
        raise AmountError(f"{shown(effect)} is no effect of a taint", hint)
    key, equals, value = rest.partition("=")
    _require(_QUALIFIED, key, "key of a taint", "write KEY, KEY=VALUE or KEY=VALUE:NoSchedule")
    if equals:
        _require(_LABEL_VALUE, value, "value of a taint", "use at most 63 letters, digits and - _ .")
    return Toleration(key, value if equals else None, effect)


def flag(text: str) -> bool:
    """Return a yes or no."""
    folded = text.strip().casefold()
    if folded in ("true", "yes", "on", "enabled"):
        return True
    if folded in ("false", "no", "off", "disabled"):
        return False
    raise AmountError(f"{shown(text)} is neither true nor false", "write true or false")


def count(maximum: int, text: str) -> int:
    """Return a whole number from 0 to `maximum`."""
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text) <= maximum:
        return int(text)
    raise AmountError(f"{shown(text)} is not a whole number from 0 to {maximum}", f"write e.g. {min(2, maximum)}")


def framework(text: str) -> str:
    """Check the name of a training framework."""
    if text not in _FRAMEWORKS:
        meant = {"tf": "tensorflow", "keras": "tensorflow", "torch": "pytorch"}.get(text.casefold())
        hint = f"did you mean {meant or closest(text, _FRAMEWORKS)}?"
        hint = hint if meant or closest(text, _FRAMEWORKS) else f"write one of {', '.join(_FRAMEWORKS)}"
        raise AmountError(f"{shown(text)} is no framework that can be distributed", hint)
    return text


def model(text: str) -> str:
    """Check the name under which a step publishes a model, and the variable or path after it: NAME or NAME=SOURCE."""
    name, equals, source = text.partition("=")
    better = re.sub(r"^[^a-z]+", "", slug(name))[:40].rstrip("-") or "my-model"
    _require(_MODEL, name, "name of a model", f"write {better}{equals}{source[:40]}")
    parts = source.split("/")
    if equals and (not source.isprintable() or len(source) > 200 or not all(parts) or ".." in parts):
        raise AmountError(f"{shown(source)} is neither a variable nor a path in the project", f"write {name}=VARIABLE")
    return text


def variable(text: str) -> str:
    """Check the name of a notebook variable."""
    import keyword

    if not text.isidentifier() or keyword.iskeyword(text):
        raise AmountError(f"{shown(text)} is no name of a variable", "write the name of a list, e.g. seeds")
    return text


def condition(text: str) -> str:
    """Check an expression of names, literals, comparisons, and, or, not, arithmetic."""
    hint = 'write a comparison, e.g. "accuracy > 0.9 and epochs < 20"'
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise AmountError(f"{shown(text)} is no expression", hint) from None
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION):
            what = type(node).__name__.lower()
            raise AmountError(f"{shown(text)} may not hold a {what}; nothing is called in a condition", hint)
    return text.strip()


def condition_names(text: str) -> list[str]:
    """Return the names that a checked condition reads, in order."""
    names = [node for node in ast.walk(ast.parse(text, mode="eval")) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(node.id for node in sorted(names, key=lambda node: (node.lineno, node.col_offset))))


def shown(text: Any) -> str:
    """Return a value as it is quoted in a message, shortened."""
    quoted = repr(text)
    return quoted if len(quoted) <= 60 else f"{quoted[:50]}…"


def _path(text: str) -> str:
    parts = text.split("/")
    if not text.startswith("/") or text == "/" or ".." in parts or not text.isprintable() or len(text) > 1024:
        better = "/" + text.strip("/") if text.strip("/") and ".." not in parts and text.isprintable() else "/data"
        raise AmountError(f"{shown(text)} is no absolute path inside a container", f"write a path such as {better}")
    if text.rstrip("/") in ("/proc", "/sys", "/dev", "/etc", "/usr", "/bin", "/lib"):
        raise AmountError(f"{text} belongs to the system of the container", "write a path such as /data")
    return text.rstrip("/")


def _require(pattern: re.Pattern[str], text: str, what: str, hint: str, longest: int = 317) -> str:
    if len(text) > longest or not pattern.fullmatch(text):
        raise AmountError(f"{shown(text)} is no {what}", hint)
    return text


def _kubernetes_name(text: str, example: str) -> str:
    return f"write {slug(text) or example}"
