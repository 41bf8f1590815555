"""What stays out of a workspace: fixed folders that are never data, and the patterns of `.nbkubeignore`."""

from __future__ import annotations

import re
from collections.abc import Iterable

NEVER_DATA = frozenset({
    ".git", ".hg", ".svn", ".nbkube", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints",
    ".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".tox", ".nox", ".DS_Store",
})  # fmt: skip
"""Names left out at every depth, both of what goes into a workspace and of what comes out of it."""

ENVIRONMENT_MARK = "pyvenv.cfg"
"""A folder that holds this file is a Python environment, whatever its name."""

IGNORE_FILE = ".nbkubeignore"


class IgnoreRules:
    """The patterns of one `.nbkubeignore`, with the syntax of `.gitignore`; the last pattern that matches decides."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        rules = (_rule(line) for line in lines)
        self._rules = [rule for rule in rules if rule is not None][::-1]

    def __bool__(self) -> bool:
        return bool(self._rules)

    def leaves_out(self, path: str, *, folder: bool) -> bool:
        """Tell whether a path (POSIX, relative to the root) is left out; asked for folders before their content."""
        for pattern, keep, folders_only in self._rules:
            if (folder or not folders_only) and pattern.match(path):
                return not keep
        return False


def _rule(line: str) -> tuple[re.Pattern[str], bool, bool] | None:
    """Return (regular expression on the whole path, keeps, only folders), or None for blank lines and comments."""
    text = re.sub(r"(?<!\\) +$", "", line.rstrip("\r\n"))
    if not text or text.startswith("#"):
        return None
    keep = text.startswith("!")
    if keep:
        text = text[1:]
    folders_only = text.endswith("/")
    if folders_only:
        text = text[:-1]
    anchored = "/" in text
    text = text.removeprefix("/")
    if not text:
        return None
    try:
        return re.compile(("" if anchored else "(?:.*/)?") + _expression(text) + r"\Z", re.DOTALL), keep, folders_only
    except re.error:  # such as a range that runs backwards: like git, such a pattern matches nothing
        return None


def _expression(text: str) -> str:
    result = []
    at = 0
    while at < len(text):
        if text.startswith("**/", at) and (at == 0 or text[at - 1] == "/"):
            result.append("(?:.*/)?")
            at += 3
        elif text[at:] == "**" and (at == 0 or text[at - 1] == "/"):
            result.append(".*")
            at += 2
        elif text[at] == "*":
            result.append("[^/]*")
            at += 1
        elif text[at] == "?":
            result.append("[^/]")
            at += 1
        elif text[at] == "[" and (end := text.find("]", at + 2 + text.startswith("!", at + 1))) > 0:
            body = text[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            result.append("(?!/)[" + ("^" + body[1:] if body[0] in "!^" else body) + "]")
            at = end + 1
        else:
            if text[at] == "\\" and at + 1 < len(text):
                at += 1
            result.append(re.escape(text[at]))
            at += 1
    return "".join(result)
