"""Where things stand in a JSON text: spans of values, for precise edits and for the place of a fault."""

from __future__ import annotations

import re
from collections.abc import Iterator

_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^\s,\]}\[{:\"]+")

Span = tuple[int, int]


class Member:
    """One `key: value` of an object: the key's text and both spans."""

    __slots__ = ("key", "key_span", "span")

    def __init__(self, key: str, key_span: Span, span: Span) -> None:
        self.key = key
        self.key_span = key_span
        self.span = span


def skip_space(text: str, position: int) -> int:
    """Return the position of the next character that is no JSON white space."""
    match = _SPACE.match(text, position)
    return match.end() if match else position


def value_end(text: str, position: int) -> int:
    """Return where the value that starts at `position` ends; the text must be well-formed JSON."""
    depth = 0
    while True:
        position = skip_space(text, position)
        char = text[position]
        if char in "[{":
            depth += 1
            position += 1
        elif char in "]}":
            depth -= 1
            position += 1
        elif char in ",:":
            position += 1
            continue
        else:
            match = (_STRING if char == '"' else _SCALAR).match(text, position)
            if match is None:
                raise ValueError(f"no JSON value at {position}")
            position = match.end()
        if depth == 0:
            return position


def members(text: str, start: int) -> Iterator[Member]:
    """Yield the members of the object that opens at `start`, in order, repeated keys included."""
    import json

    position = skip_space(text, start + 1)
    while text[position] != "}":
        key = _STRING.match(text, position)
        if key is None:
            raise ValueError(f"no key at {position}")
        value = skip_space(text, skip_space(text, key.end()) + 1)
        end = value_end(text, value)
        yield Member(json.loads(key.group(), strict=False), key.span(), (value, end))
        position = skip_space(text, end)
        if text[position] == ",":
            position = skip_space(text, position + 1)


def items(text: str, start: int) -> Iterator[Span]:
    """Yield the spans of the values of the array that opens at `start`."""
    position = skip_space(text, start + 1)
    while text[position] != "]":
        end = value_end(text, position)
        yield position, end
        position = skip_space(text, end)
        if text[position] == ",":
            position = skip_space(text, position + 1)


def member(text: str, start: int, key: str) -> Member | None:
    """Return the member of an object with this key, or None."""
    return next((one for one in members(text, start) if one.key == key), None)


def repeated_key(text: str, start: int = 0) -> tuple[str, int] | None:
    """Return the first key that an object of the document holds twice, with its position."""
    waiting = [skip_space(text, start)]
    while waiting:
        position = waiting.pop()
        if text[position] == "{":
            seen: set[str] = set()
            inner: list[int] = []
            for one in members(text, position):
                if one.key in seen:
                    return one.key, one.key_span[0]
                seen.add(one.key)
                inner.append(one.span[0])
            waiting.extend(reversed(inner))
        elif text[position] == "[":
            waiting.extend(reversed([span[0] for span in items(text, position)]))
    return None


def line_of(text: str, position: int) -> int:
    """Return the line, from 1, of a position."""
    return text.count("\n", 0, position) + 1
