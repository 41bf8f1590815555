"""The documents and what is in them: links, headings, commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Command:
    """One line after `$ ` and what the document shows below it."""

    line: str
    shown: list[str] = field(default_factory=list)


def blocks(path: Path, kind: str) -> Iterator[str]:
    """Yield the fenced blocks of one kind."""
    for match in _BLOCK.finditer(path.read_text(encoding="utf-8")):
        if match[1] == kind:
            yield match[2]


def commands(path: Path) -> list[Command]:
    """Return the commands of a document's console blocks, in order."""
    found: list[Command] = []
    for block in blocks(path, "console"):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append(Command(line[2:]))
            elif line.strip():
                found[-1].shown.append(line)
    return found


def prose(path: Path) -> str:
    """Return the text without its fenced blocks."""
    return _BLOCK.sub("", path.read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """Return the anchors of the headings, as the usual renderers make them."""
    heads = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def table_after(path: Path, heading: str) -> list[list[str]]:
    """Return the rows (without the head) of the first table below a heading."""
    text = path.read_text(encoding="utf-8").split(f"\n{heading}\n", 1)[1]
    rows = re.split(r"\n(?!\|)", text[text.index("\n|") + 1 :], maxsplit=1)[0].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]
