"""Writing tags and options back: only the bytes that must change are changed, and never half a file is seen."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nbkube.errors import Diagnostic, NotebookError, Place
from nbkube.notebook.document import decode_text, parse_document
from nbkube.notebook.scan import items, member, members
from nbkube.notebook.scripts import is_script, with_metadata, with_source
from nbkube.notebook.source import read_bytes, refuse
from nbkube.notebook.suggest import did_you_mean
from nbkube.notebook.tags import read_tags
from nbkube.notebook.versions import cells_of

_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u(?:00[89a-fA-F]|0[1-9a-fA-F]|[1-9a-fA-F])")


def set_tags(
    path: str | os.PathLike[str],
    cell: int | str,
    tags: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    digest: str | None = None,
) -> bool:
    """Set a cell's tags and options in its notebook file; return whether the file was changed.

    Args:
        path: the notebook file (nbformat 4), or a percent script.
        cell: its number among all cells, from 1, or its id.
        tags: all tags the cell shall have; None leaves them as they are.
        options: the object `nbkube` of its metadata; an empty one is taken away, None leaves it as it is. The
            caller has checked it (`nbkube.pipeline.check_options`).
        digest: the file's digest when it was read; by default the file is read now.

    Raises:
        NotebookError: no such cell, a tag with a fault, a file that cannot be edited or has changed meanwhile.
    """
    name = os.fspath(path)
    content = read_bytes(name)
    if digest not in (None, content.digest):
        raise _changed(name)
    document = parse_document(name, content.data)
    version, cells = cells_of(name, document)
    if version[0] < 4:
        hint = "open and save it in Jupyter first, which makes it nbformat 4"
        raise refuse(name, "old-version", f"has nbformat {version[0]}, which is only read", hint)
    index = _cell_index(name, cells, cell)
    if tags is not None:
        _require_good(Place(name, index + 1, _id(cells[index])), tags)
    text = decode_text(name, content.data)
    if is_script(name):
        edited = _edited_script(name, text, index, tags, options)
    else:
        edited = edited_text(text, index, tags, options)
    if edited == text:
        return False
    _replace_file(name, edited.encode("utf-8"), content.digest)
    return True


def set_sources(path: str | os.PathLike[str], sources: Mapping[int, str], *, digest: str) -> None:
    """Replace the text of cells in a notebook file; everything else in it stays byte for byte.

    Args:
        path: the notebook file (nbformat 4), or a percent script.
        sources: the whole text of each cell to change, by its number among all cells, from 1.
        digest: the file's digest when it was read.

    Raises:
        NotebookError: no such cell, a file that cannot be edited or has changed meanwhile.
    """
    name = os.fspath(path)
    content = read_bytes(name)
    if digest != content.digest:
        raise _changed(name)
    version, cells = cells_of(name, parse_document(name, content.data))
    if version[0] < 4:
        hint = "open and save it in Jupyter first, which makes it nbformat 4"
        raise refuse(name, "old-version", f"has nbformat {version[0]}, which is only read", hint)
    text = decode_text(name, content.data)
    style = None if is_script(name) else _Style(text)
    for number, source in sources.items():
        index = _cell_index(name, cells, number)
        text = with_source(name, text, index, source) if style is None else _with_source(text, index, source, style)
    _replace_file(name, text.encode("utf-8"), content.digest)


def _with_source(text: str, index: int, source: str, style: _Style) -> str:
    """Set a cell's source, as a list of lines or one text as it was before."""
    found = member(text, _cell_start(text, index), "source")
    assert found is not None, "a cell that was read has a source"
    start, end = found.span
    value = source.splitlines(keepends=True) if text[start] == "[" else source
    return text[:start] + style.render(value, style.indent_at(text, found.key_span[0])) + text[end:]


def _edited_script(
    path: str, text: str, index: int, tags: Sequence[str] | None, options: Mapping[str, Any] | None
) -> str:
    values: dict[str, Any] = {}
    if tags is not None:
        values["tags"] = list(dict.fromkeys(tags)) or None
    if options is not None:
        values["nbkube"] = dict(options) or None
    return with_metadata(path, text, index, values)


def edited_text(text: str, index: int, tags: Sequence[str] | None, options: Mapping[str, Any] | None) -> str:
    """Return a notebook's JSON text with tags and options of the cell at `index` (from 0) set."""
    style = _Style(text)
    if tags is not None:
        text = _set(text, index, "tags", list(dict.fromkeys(tags)) or None, style)
    if options is not None:
        text = _set(text, index, "nbkube", dict(options) or None, style)
    return text


def _set(text: str, index: int, key: str, value: Any, style: _Style) -> str:
    """Set or take away (None) one member of a cell's metadata."""
    cell = _cell_start(text, index)
    metadata = member(text, cell, "metadata")
    if metadata is None:
        return text if value is None else _with_member(text, cell, "metadata", {key: value}, style)
    found = member(text, metadata.span[0], key)
    if found is None:
        return text if value is None else _with_member(text, metadata.span[0], key, value, style)
    if key == "tags" and value is None:
        value = []  # Jupyter keeps the key, too
    if value is None:
        return _without_member(text, metadata.span[0], key)
    start, end = found.span
    if json.loads(text[start:end]) == value:
        return text
    return text[:start] + style.render(value, style.indent_at(text, found.key_span[0])) + text[end:]


def _cell_start(text: str, index: int) -> int:
    cells = member(text, text.index("{"), "cells")
    assert cells is not None, "a parsed notebook has cells"
    for number, span in enumerate(items(text, cells.span[0])):
        if number == index:
            return span[0]
    raise AssertionError("a parsed notebook has this cell")


def _with_member(text: str, start: int, key: str, value: Any, style: _Style) -> str:
    """Add a member to the object at `start`; among sorted keys (as Jupyter writes them) in its place."""
    known = list(members(text, start))
    outer = style.indent_at(text, start)
    if not known:
        inner = style.deeper(outer)
        body = f"{style.lead(inner)}{json.dumps(key)}{style.colon}{style.render(value, inner)}{style.lead(outer)}"
        return text[: start + 1] + body + text[text.index("}", start) :]
    first = known[0].key_span[0]
    lead = text[start + 1 : first]
    pair = f"{json.dumps(key)}{style.colon}{style.render(value, style.indent_at(text, first))}"
    keys = [one.key for one in known]
    later = next((one for one in known if one.key > key), None) if keys == sorted(keys) else None
    if later is not None:
        at = later.key_span[0]
        return f"{text[:at]}{pair},{lead or style.gap}{text[at:]}"
    at = known[-1].span[1]
    return f"{text[:at]},{lead or style.gap}{pair}{text[at:]}"


def _without_member(text: str, start: int, key: str) -> str:
    known = list(members(text, start))
    at = [one.key for one in known].index(key)
    if len(known) == 1:
        return text[: start + 1] + text[text.index("}", known[0].span[1]) :]
    if at + 1 < len(known):
        return text[: known[at].key_span[0]] + text[known[at + 1].key_span[0] :]
    return text[: known[at - 1].span[1]] + text[known[at].span[1] :]


class _Style:
    """How a file writes JSON: indentation, line ends, spaces, escapes."""

    def __init__(self, text: str) -> None:
        first = next(members(text, text.index("{")), None)
        lead = text[text.index("{") + 1 : first.key_span[0]] if first else ""
        self._newline = "\r\n" if "\r\n" in lead else "\n" if "\n" in lead else ""
        self._unit = lead.rpartition("\n")[2] if self._newline else ""
        colon = text[first.key_span[1] : first.span[0]] if first else ": "
        self.colon = colon if colon.strip() == ":" and "\n" not in colon else ": "
        self.gap = " " if self.colon.endswith(" ") else ""
        # Only an escape of a printable character tells that the writer had a choice; control characters never have.
        self._ascii = text.isascii() and _ESCAPED.search(text) is not None

    def indent_at(self, text: str, position: int) -> str:
        """Return the white space that the line of a position begins with."""
        line = text[text.rfind("\n", 0, position) + 1 : position]
        return line[: len(line) - len(line.lstrip(" \t"))]

    def deeper(self, indent: str) -> str:
        """Return one level more."""
        return indent + self._unit

    def lead(self, indent: str) -> str:
        """Return what stands before a member that has a line of its own."""
        return self._newline + indent if self._newline else ""

    def render(self, value: Any, indent: str) -> str:
        """Return a value as JSON text whose first line stands at `indent`."""
        separators = ("," if self._newline else f",{self.gap}", self.colon)
        unit = self._unit if self._newline else None
        text = json.dumps(value, ensure_ascii=self._ascii, indent=unit, separators=separators)
        return text.replace("\n", self._newline + indent) if self._newline else text


def _cell_index(path: str, cells: Sequence[Any], cell: int | str) -> int:
    ids = [_id(one) for one in cells]
    if isinstance(cell, str):
        if ids.count(cell) == 1:
            return ids.index(cell)
        if ids.count(cell) > 1:
            raise refuse(path, "repeated-id", f"has {ids.count(cell)} cells with the id {cell!r}", "name it by number")
        if not cell.isdecimal() or not cell.isascii() or len(cell) > 6:
            otherwise = f"name a cell by its number from 1 to {len(cells)}"
            hint = did_you_mean(cell, [one for one in ids if one], otherwise)
            raise refuse(path, "unknown-cell", f"has no cell with the id {cell!r}", hint)
    number = int(cell)
    if not 1 <= number <= len(cells):
        hint = f"name a cell by its number from 1 to {len(cells)}" if cells else "add a cell in Jupyter"
        raise refuse(path, "unknown-cell", f"has no cell {number}", hint)
    if not isinstance(cells[number - 1], dict):
        raise refuse(path, "bad-cell", f"its cell {number} is not a JSON object", "restore an earlier copy")
    if not isinstance(cells[number - 1].get("metadata", {}), dict):
        raise refuse(path, "bad-metadata", f"the metadata of cell {number} is not a JSON object", "restore a copy")
    return number - 1


def _id(cell: Any) -> str:
    identity = cell.get("id") if isinstance(cell, dict) else None
    return identity if isinstance(identity, str) else ""


def _require_good(place: Place, tags: Sequence[str]) -> None:
    faults = [
        Diagnostic("error", one.code, place, one.message, one.hint)
        for one in read_tags(tags)[1]
        if one.severity == "error"
    ]
    for tag in tags:
        if not tag.strip() or not tag.isprintable() or "," in tag:
            message = f"the tag {tag!r} is empty or holds a comma or a control character"
            faults.append(Diagnostic("error", "bad-tag", place, message, "write one tag after the other"))
    if faults:
        raise NotebookError(diagnostics=faults)


def _changed(path: str) -> NotebookError:
    return refuse(path, "changed-file", "was changed by another program meanwhile", "look at it, then try again")


def _replace_file(path: str, data: bytes, digest: str) -> None:
    """Put new content in place of the old in one step, if the file still is what was read."""
    target = os.path.realpath(path)
    try:
        if not os.access(target, os.W_OK):
            raise refuse(path, "no-permission", "you may not write it", "run `chmod u+w` on the file")
        with _temporary(target) as (descriptor, temporary):
            with open(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if read_bytes(path).digest != digest:
                raise _changed(path)
            os.replace(temporary, target)
        _sync_folder(os.path.dirname(target))
    except OSError as error:
        raise refuse(path, "not-written", f"cannot be written: {error.strerror}", "check the disk") from None


@contextlib.contextmanager
def _temporary(target: str) -> Iterator[tuple[int, str]]:
    """Yield a new file beside `target` with its mode and owner; it is removed unless it was renamed."""
    import tempfile  # slow to import, and seldom needed

    status = os.stat(target)
    folder, name = os.path.split(target)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=folder)
    try:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.fchmod(descriptor, status.st_mode & 0o7777)
        yield descriptor, temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
