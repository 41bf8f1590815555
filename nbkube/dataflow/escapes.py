"""IPython syntax in a cell: magics, shell commands and help lines become placeholders that plain Python can parse.

Only cells that are no plain Python come here. Every line stays where it is, so places in the result are places in
the cell. The rules are IPython's: an escape counts only where a logical line starts (never inside brackets, strings or
after a backslash), a cell magic only on the first line with text.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from nbkube.dataflow.tables import names

EscapeKind = Literal["magic", "cell", "shell", "help"]

PLACEHOLDER = "__nbkube_escape__"
"""Name of the call that stands in the parsed tree for the escape with the index given as its argument."""

PYTHON_BODIES = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun", "lprun", "snakeviz", "debug", "step"})
"""Cell magics whose body is Python run by the notebook's kernel."""

AUTOMAGIC = names("""
pip conda cd ls ll lsmagic pwd mkdir rm rmdir mv cp cat less more man matplotlib time timeit run load_ext env who whos
who_ls reset history config pinfo pinfo2 psearch precision pylab
""")
"""Magics that a cell of one line may call without the percent sign."""

_OPEN, _CLOSE = "([{", ")]}"
_STRUCTURE = re.compile(r"""\"\"\"|'''|["'#()\[\]{}]""")
_ASSIGNED = re.compile(r"^(?P<left>\s*[^\s=!%#?(][^=!%#?(]*?)=\s*(?P<mark>[!%])(?![=])(?P<rest>.*)$", re.DOTALL)
_HELP = re.compile(r"^\s*(?P<what>%{0,2}(?!\d)[\w*]+(?:\.[\w*]+|\[-?\d+\])*)\?{1,2}\s*$")
_STRING_ENDS = {quote: re.compile(r"(?:\\.|[^\\])*?" + quote, re.DOTALL) for quote in ('"', "'", '"""', "'''")}


class Escape(NamedTuple):
    """One piece of IPython syntax.

    `name` is the magic's (empty for shell and help), `text` its arguments or the command, `body` the text below a
    cell magic, `line` its line in the source from 1, `assigned` whether its result is bound.
    """

    kind: EscapeKind
    name: str
    text: str
    line: int
    body: str = ""
    assigned: bool = False


class Transformed(NamedTuple):
    """Python text with the same lines as the source, and the escapes its placeholders stand for.

    `heads` are the cell magics with a Python body that open the cell, outermost first; they have no placeholder.
    """

    source: str
    escapes: tuple[Escape, ...]
    heads: tuple[Escape, ...]


def transform(source: str) -> Transformed:
    """Replace the IPython syntax of `source` by placeholders, line for line."""
    lines = source.split("\n")
    heads: list[Escape] = []
    first = _first_text(lines, 0)
    while first < len(lines) and lines[first].startswith("%%") and not _HELP.match(lines[first]):
        name, _, rest = lines[first][2:].strip().partition(" ")
        body = "\n".join(lines[first + 1 :])
        if name not in PYTHON_BODIES:
            escape = Escape("cell", name, rest.strip(), first + 1, body)
            padding = [""] * first + [f"{PLACEHOLDER}(0)"]
            return Transformed("\n".join(padding), (escape,), tuple(heads))
        heads.append(Escape("cell", name, rest.strip(), first + 1))
        lines[first] = ""
        first = _first_text(lines, first)
    if first < len(lines) and _first_text(lines, first + 1) == len(lines):
        _mark_automagic(lines, first)
    _dedent(lines, first)
    escapes = _replace_lines(lines)
    return Transformed("\n".join(lines), tuple(escapes), tuple(heads))


def _first_text(lines: list[str], start: int) -> int:
    while start < len(lines) and not lines[start].strip():
        start += 1
    return start


def _mark_automagic(lines: list[str], at: int) -> None:
    """A cell of one line may leave out the percent sign of a magic."""
    word, _, rest = lines[at].strip().partition(" ")
    if word in AUTOMAGIC and not rest.lstrip().startswith("="):
        lines[at] = "%" + lines[at].strip()


def _dedent(lines: list[str], first: int) -> None:
    """IPython drops the indentation of the first line from all lines."""
    if first == len(lines):
        return
    indent = lines[first][: len(lines[first]) - len(lines[first].lstrip(" \t"))]
    if indent:
        for at in range(first, len(lines)):
            lines[at] = lines[at].removeprefix(indent)


def _replace_lines(lines: list[str]) -> list[Escape]:
    escapes: list[Escape] = []
    depth, quote, continued = 0, "", False
    at = 0
    while at < len(lines):
        if depth == 0 and not quote and not continued:
            end = _replace_escape(lines, at, escapes)
            if end > at:
                at = end
                continue
        depth, quote = _scan(lines[at], depth, quote)
        continued = not quote and lines[at].endswith("\\") and "#" not in lines[at]
        at += 1
    return escapes


def _scan(line: str, depth: int, quote: str) -> tuple[int, str]:
    """Bracket depth and open string after `line`, given those before it."""
    at = 0
    while True:
        if quote:
            end = _STRING_ENDS[quote].match(line, at)
            if end is None:
                return depth, quote if len(quote) == 3 or line.endswith("\\") else ""
            at, quote = end.end(), ""
        found = _STRUCTURE.search(line, at)
        if found is None:
            return depth, ""
        mark, at = found.group(), found.end()
        if mark == "#":
            return depth, ""
        if mark in _OPEN:
            depth += 1
        elif mark in _CLOSE:
            depth = max(0, depth - 1)
        else:
            quote = mark


def _replace_escape(lines: list[str], at: int, escapes: list[Escape]) -> int:
    """Put a placeholder on line `at` if an escape starts there; the index after its last line, else `at`."""
    line = lines[at]
    text = line.lstrip(" \t")
    indent = line[: len(line) - len(text)]
    if text[:1] in ("%", "!", "?") or (text[:1] in ("/", ",", ";") and len(text) > 1):
        joined, end = _join(lines, at)
        lines[at] = f"{indent}{PLACEHOLDER}({len(escapes)})"
        escapes.append(_escape(joined.strip(), at + 1))
        return end
    if text.endswith("?") and (helped := _HELP.match(text)):
        lines[at] = f"{indent}{PLACEHOLDER}({len(escapes)})"
        escapes.append(Escape("help", "", helped["what"], at + 1))
        return at + 1
    if ("!" in text or "%" in text) and (found := _ASSIGNED.match(line)):
        joined, end = _join(lines, at)
        found = _ASSIGNED.match(joined)
        if found is not None:
            lines[at] = f"{found['left']}= {PLACEHOLDER}({len(escapes)})"
            escapes.append(_escape(found["mark"] + found["rest"].strip(), at + 1)._replace(assigned=True))
            return end
    return at


def _join(lines: list[str], at: int) -> tuple[str, int]:
    """The command that starts on line `at` with its continuation lines, which become empty."""
    parts = [lines[at]]
    end = at + 1
    while parts[-1].endswith("\\") and end < len(lines):
        parts[-1] = parts[-1][:-1]
        parts.append(lines[end])
        lines[end] = ""
        end += 1
    return "".join(parts), end


def _escape(text: str, line: int) -> Escape:
    if text.startswith("!"):
        return Escape("shell", "", text.lstrip("!").strip(), line)
    if text.startswith("?") or _HELP.match(text):
        return Escape("help", "", text.strip("?").strip(), line)
    if text.startswith("%"):
        name, _, rest = text.lstrip("%").strip().partition(" ")
        return Escape("magic", name, rest.strip(), line)
    # The autocall forms `/f a`, `,f a` and `;f a` call f with the rest as arguments.
    return Escape("magic", "autocall", text[1:].strip(), line)
