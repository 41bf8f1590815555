"""Percent scripts: Python files whose cells begin with `# %%`, as jupytext, VS Code, Spyder and PyCharm write them.

jupytext reads them. Edits are made here, line by line, so that everything else stays as it was; what an edit has done
is checked by reading the result again.
"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nbkube.errors import NotebookError
from nbkube.notebook.source import refuse

SUFFIX = ".py"
_MARK = re.compile(r"^# ?%%(?P<level>%*)(?P<rest>[ \t].*)?$")
_LINE_END = re.compile(r"\r?\n$")
_OWN = ("lines_to_next_cell", "lines_to_end_of_cell_marker", "cell_marker", "title", "cell_depth")
"""What jupytext notes of the layout; no metadata of the cell."""


def is_script(path: str) -> bool:
    """Tell whether a path is that of a script."""
    return path.endswith(SUFFIX)


def script_document(path: str, text: str) -> dict[str, Any]:
    """Return a script as the JSON object of a notebook (nbformat 4.4: its cells have no ids).

    Raises:
        NotebookError: jupytext is not installed, or the file has no cells.
    """
    if not any(_MARK.match(line) for line in text.splitlines()):
        hint = "begin each cell with a line `# %%`, or give a notebook (.ipynb)"
        raise refuse(path, "no-cells", "is a Python script without cells", hint)
    try:
        jupytext = _jupytext()
    except ImportError:
        hint = "pip install 'nbkube[jupytext]'"
        raise refuse(path, "no-jupytext", "is a script, and reading it needs jupytext", hint) from None
    try:
        found = jupytext.reads(text, fmt={"extension": SUFFIX, "format_name": "percent"})
    except Exception as error:  # noqa: BLE001 - whatever a reader of foreign text may raise
        message = f"cannot be read as a percent script: {type(error).__name__}: {error}"
        raise refuse(path, "bad-script", message, "look at the lines that begin with # %%") from None
    metadata = {key: value for key, value in json.loads(json.dumps(found.metadata)).items() if key != "jupytext"}
    return {
        "cells": [_cell(json.loads(json.dumps(cell))) for cell in found.cells],
        "metadata": metadata,
        "nbformat": 4,
        "nbformat_minor": 4,
    }


def _jupytext() -> Any:
    """Return jupytext, loaded without the process that loading it starts: it asks `pandoc --version`.

    Raises:
        ImportError: it is not installed.
    """
    spec = importlib.util.find_spec("jupytext")
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec is not None else None
    if "jupytext" in sys.modules or folder is None:
        return importlib.import_module("jupytext")
    beforehand = importlib.util.spec_from_file_location("jupytext.pandoc", f"{folder}/pandoc.py")
    assert beforehand is not None
    assert beforehand.loader is not None
    pandoc: Any = importlib.util.module_from_spec(beforehand)
    beforehand.loader.exec_module(pandoc)
    ask, pandoc.pandoc_version = pandoc.pandoc_version, lambda: "N/A"
    sys.modules["jupytext.pandoc"] = pandoc
    try:
        return importlib.import_module("jupytext")
    finally:
        pandoc.pandoc_version = ask


def _cell(raw: dict[str, Any]) -> dict[str, Any]:
    metadata = {key: value for key, value in raw.get("metadata", {}).items() if key not in _OWN}
    cell = {"cell_type": raw["cell_type"], "metadata": metadata, "source": raw["source"]}
    return {**cell, "outputs": [], "execution_count": None} if raw["cell_type"] == "code" else cell


# -- edits -------------------------------------------------------------------------------------------------------------


def with_metadata(path: str, text: str, index: int, values: Mapping[str, Any]) -> str:
    """Return a script with members of the metadata of the cell at `index` (from 0) set; None takes one away.

    Raises:
        NotebookError: the line that begins the cell cannot be told for sure.
    """
    before = script_document(path, text)
    cells = before["cells"]
    lines = text.splitlines(keepends=True)
    marks = _marks(path, lines, len(cells))
    if marks[index] is None:
        at = _first_line(lines)
        lines.insert(at, f"# %%{_line_end(lines)}")
    else:
        at = marks[index] or 0
    line = _LINE_END.sub("", lines[at])
    end = lines[at][len(line) :]
    for key, value in values.items():
        line = _with_value(line, key, value)
    edited = "".join([*lines[:at], line + end, *lines[at + 1 :]])
    expected = [dict(cell) for cell in cells]
    kept = {key: value for key, value in cells[index]["metadata"].items() if key not in values}
    expected[index]["metadata"] = {**kept, **{key: value for key, value in values.items() if value is not None}}
    _require_cells(path, edited, expected)
    return edited


def with_source(path: str, text: str, index: int, source: str) -> str:
    """Return a script with the text of the cell at `index` (from 0) replaced; its first line and metadata stay.

    Raises:
        NotebookError: the lines of the cell cannot be told for sure.
    """
    from jupytext.magics import comment_magic

    cells = script_document(path, text)["cells"]
    lines = text.splitlines(keepends=True)
    marks = _marks(path, lines, len(cells))
    mark = marks[index]
    first = _first_line(lines) if mark is None else mark + 1
    following = [one for one in marks[index + 1 :] if one is not None]
    last = following[0] if following else len(lines)
    while last > first and not lines[last - 1].strip():
        last -= 1
    end = _line_end(lines)
    body = [line + end for line in comment_magic(source.splitlines(), "python", global_escape_flag=True)]
    if last == len(lines) and lines and not lines[-1].endswith("\n") and body:
        body[-1] = _LINE_END.sub("", body[-1])
    edited = "".join([*lines[:first], *body, *lines[last:]])
    expected = [dict(cell) for cell in cells]
    expected[index]["source"] = source.rstrip("\n")
    _require_cells(path, edited, expected)
    return edited


def _marks(path: str, lines: Sequence[str], count: int) -> list[int | None]:
    """Return the line that begins each cell; None for a first cell without one."""
    from jupytext.stringparser import StringParser

    quotes = StringParser("python")
    found: list[int | None] = []
    for at, line in enumerate(lines):
        bare = _LINE_END.sub("", line)
        if not quotes.is_quoted() and _MARK.match(bare):
            found.append(at)
        quotes.read_line(bare)
    if len(found) == count:
        return found
    if len(found) == count - 1:
        return [None, *found]
    raise _unsure(path)


def _first_line(lines: Sequence[str]) -> int:
    """Return the first line behind the header (comments between two lines `# ---`)."""
    at = 0
    if lines and lines[0].strip() == "# ---":
        ends = [number for number, line in enumerate(lines[1:], 1) if line.strip() == "# ---"]
        at = ends[0] + 1 if ends else 0
    while at < len(lines) and not lines[at].strip():
        at += 1
    return at


def _line_end(lines: Sequence[str]) -> str:
    return "\r\n" if lines and lines[0].endswith("\r\n") else "\n"


def _with_value(line: str, key: str, value: Any) -> str:
    """Set `key=VALUE` in the line that begins a cell, or in the JSON object that some write there."""
    whole = re.search(r"\{.*\}$", line)
    known = _object(whole.group()) if whole and "=" not in line[: whole.start()] else None
    if whole is not None and known is not None:
        known.pop(key, None)
        if value is not None:
            known[key] = value
        shown = json.dumps(known, ensure_ascii=False) if known else ""
        return f"{line[: whole.start()]}{shown}".rstrip()
    found = re.search(rf"(?<![\w\"]){re.escape(key)}=", line)
    text = "" if value is None else f"{key}={json.dumps(value, ensure_ascii=False)}"
    if found is None:
        return f"{line.rstrip()} {text}".rstrip() if text else line
    try:
        _, end = json.JSONDecoder().raw_decode(line, found.end())
    except json.JSONDecodeError:
        end = found.end() + len(re.match(r"\S*", line[found.end() :]).group())  # type: ignore[union-attr]
    head, tail = line[: found.start()], line[end:]
    return f"{head}{text}{tail}" if text else f"{head.rstrip()}{tail}"


def _object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None


def _require_cells(path: str, text: str, expected: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that a script now holds exactly these cells."""
    try:
        found = script_document(path, text)["cells"]
    except NotebookError:
        raise _unsure(path) from None
    if [dict(cell) for cell in found] != [dict(cell) for cell in expected]:
        raise _unsure(path)


def _unsure(path: str) -> NotebookError:
    hint = "edit the line `# %% tags=[…]` by hand"
    return refuse(path, "not-edited", "cannot be edited so that nothing else changes; it is as it was", hint)
