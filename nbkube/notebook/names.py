"""Names of steps: RFC 1123 labels, since they become names of pods."""

from __future__ import annotations

import re
import unicodedata

MAX_NAME = 63
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
_TAG_WORDS = ("imports", "functions", "parameters", "pipeline-parameters", "pipeline-metrics", "skip")


class BadNameError(ValueError):
    """What is wrong with a name; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


def step_name(text: str) -> str:
    """Return the step name a text stands for. Kale's names have underscores: they are read as dashes.

    Raises:
        BadNameError: it is no RFC 1123 label, or the word of another tag.
    """
    name = text.replace("_", "-").strip("-") if "_" in text and text.isascii() else text
    if name in _TAG_WORDS:
        raise BadNameError(f"a step cannot be called {name!r}, which is a tag of its own", f"use the tag {name} alone")
    if len(name) <= MAX_NAME and _LABEL.fullmatch(name):
        return name
    raise BadNameError(*_reason(text, name))


def slug(text: str) -> str:
    """Return the nearest valid step name, or "" if nothing of the text can stay."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:MAX_NAME].rstrip("-")


def _reason(text: str, name: str) -> tuple[str, str]:
    shown = repr(text) if len(text) <= 80 else f"{text[:40]!r}… of {len(text)} characters"
    better = slug(text)
    hint = f"write {better}" if better else "use letters a-z, digits and dashes, e.g. train"
    if not text.strip():
        return "a step needs a name", "write step:NAME, e.g. step:train"
    if text != text.strip():
        return f"the name {shown} has white space around it", hint
    if len(name) > MAX_NAME:
        return f"the name {shown} is longer than {MAX_NAME} characters", hint
    if name.lower() != name and _LABEL.fullmatch(name.lower()):
        return f"the name {shown} has upper-case letters; names of steps are lower case", hint
    if name.startswith("-") or name.endswith("-"):
        return f"the name {shown} starts or ends with a dash", hint
    wrong = next(
        (char for char in name if not (char.isascii() and (char.islower() or char.isdigit() or char == "-"))), ""
    )
    return f"the name {shown} holds {wrong!r}; only a-z, 0-9 and - are allowed", hint
