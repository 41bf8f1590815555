"""In which line of a TOML file a key stands (the parser does not say)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_NAME = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_PATH = rf"{_NAME}(?:\s*\.\s*{_NAME})*"
_HEAD = re.compile(rf"\s*\[\[?\s*({_PATH})\s*\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*({_PATH})\s*=")


def line_of(text: str, path: Sequence[str]) -> int | None:
    """Return the line (from 1) of a key given by its path, else of the nearest table that holds it, or None."""
    best, found = 0, None
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        head = _HEAD.fullmatch(line)
        key = None if head else _KEY.match(line)
        if head:
            table = _names(head[1])
        elif key is None:
            continue
        here = table if key is None else table + _names(key[1])
        common = _common(here, path)
        if common == min(len(here), len(path)) and common > best:
            best, found = common, number
    return found


def _names(dotted: str) -> list[str]:
    return [name.strip("\"'") for name in re.findall(_NAME, dotted)]


def _common(here: Sequence[str], path: Sequence[str]) -> int:
    count = 0
    for left, right in zip(here, path, strict=False):
        if left != right:
            break
        count += 1
    return count
