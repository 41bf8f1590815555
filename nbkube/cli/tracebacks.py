"""The part of a traceback that helps: frames of the notebook and of the project, and what was raised."""

from __future__ import annotations

import re
from collections.abc import Iterator

_FRAME = re.compile(r"(?:[Cc]ell|File|Input|\S+\.py)\b.*(?:line \d+|:\d+|, in )")
_ARROW = re.compile(r"\s*-+>\s*\d+\s")
_LIBRARY = re.compile(r"site-packages|dist-packages|[/\\]lib[/\\]python3|<frozen |<string>|<__array_function__")
_RULE = re.compile(r"-{20,}\Z")
_HEAD = re.compile(r"\S.*Traceback \(most recent call last\)\Z")
_SHOWN = 12
"""Lines of the message itself that are shown."""


def shortened(traceback: str) -> list[str]:
    """Return a traceback as the interactive shell prints it, without frames of libraries and without context lines.

    Chained exceptions keep their order; of each frame its place and the line that was running stay.
    """
    lines: list[str] = []
    hidden = 0
    for frame in _frames(traceback.splitlines()):
        head = frame[0]
        if not _FRAME.match(head):
            lines += [_hidden(hidden)] if hidden else []
            hidden = 0
            lines += frame if len(frame) <= _SHOWN else [*frame[:_SHOWN], "…"]
        elif _LIBRARY.search(head):
            hidden += 1
        else:
            lines += [_hidden(hidden)] if hidden else []
            hidden = 0
            lines.append(f"  {head.strip()}")
            lines += [f"    {_ARROW.sub('', line).strip()}" for line in frame[1:] if _ARROW.match(line)]
    return lines


def _hidden(count: int) -> str:
    return f"  … {count} {'frame' if count == 1 else 'frames'} in libraries"


def _frames(lines: list[str]) -> Iterator[list[str]]:
    """Yield blocks: a frame with its lines, or text between frames (the message, the word on chaining)."""
    block: list[str] = []
    for line in lines:
        if _RULE.match(line) or _HEAD.match(line):
            continue
        if not line.strip() or _FRAME.match(line):
            if block:
                yield block
            block = [line] if line.strip() else []
        else:
            block.append(line)
    if block:
        yield block
