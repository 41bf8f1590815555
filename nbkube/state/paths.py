"""Paths below the workspace root inside streams: stored with a mark in place of the root, expanded on load."""

from __future__ import annotations

import pickletools
from collections.abc import Callable

MARK = "\x00nbkube:root\x00"
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"}


def mark_root(data: bytes, root: str) -> bytes:
    """Return the pickle with the root replaced by the mark; the very same bytes where there is nothing to replace."""
    if len(root) < 2 or root.encode() not in data:
        return data

    def replace(text: str) -> str | None:
        if text == root or text.startswith(root + "/"):
            return MARK + text[len(root) :]
        return None

    return _rewrite(data, replace)


def expand_root(data: bytes, root: str) -> bytes:
    """Return the pickle with the mark replaced by the root."""
    return _rewrite(data, lambda text: root + text[len(MARK) :] if text.startswith(MARK) else None)


def _rewrite(data: bytes, replace: Callable[[str], str | None]) -> bytes:
    """Replace strings in a sequence of pickles. Frames are dropped: their lengths would no longer hold."""
    parts: list[bytes] = []
    changed = False
    start = 0
    while start < len(data):
        operations = list(_operations(data, start))
        for index, (name, value, position) in enumerate(operations):
            end = operations[index + 1][2] if index + 1 < len(operations) else position + 1
            if name == "FRAME":
                continue
            text = replace(value) if name in _STRINGS and isinstance(value, str) else None
            if text is None:
                parts.append(data[position:end])
                continue
            changed = True
            raw = text.encode("utf-8", "surrogatepass")
            parts.append(b"\x8d" + len(raw).to_bytes(8, "little") + raw)
        start = operations[-1][2] + 1
    return b"".join(parts) if changed else data


def _operations(data: bytes, start: int) -> list[tuple[str, object, int]]:
    found = []
    for code, value, position in pickletools.genops(memoryview(data)[start:].tobytes()):
        assert position is not None
        found.append((code.name, value, start + position))
    return found
