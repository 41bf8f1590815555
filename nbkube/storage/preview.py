"""The beginning of a file for looking at: bounded bytes, read as data, never unpickled or executed.

What can be shown is told by the name and then by the bytes: text, the first rows of a table, an image, the cells of a
notebook, the first records of a TFRecord file. All else is only named.
"""

from __future__ import annotations

import base64
import csv
import io
import itertools
import json
import zlib
from collections.abc import Callable
from typing import Any, Literal

import msgspec

from nbkube.storage import tfexample

TEXT_BYTES = 64 << 10
WHOLE_BYTES = 4 << 20
"""How much of what is of use only as a whole (images, notebooks) is read."""

_RECORD_BYTES = 1 << 20
_ROWS, _COLUMNS, _CELL = 200, 100, 300
_CELLS, _SOURCE = 300, 4000
_RECORDS = 20
_IMAGES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp"}
_TABLES = {".csv": ",", ".tsv": "\t"}
_RECORD_FILES = (".tfrecord", ".tfrecords", ".tfrec")
Kind = Literal["text", "table", "image", "notebook", "records", "other"]


class NotebookCell(msgspec.Struct, frozen=True, kw_only=True):
    """A cell of a notebook: its kind (code, markdown, raw) and its source."""

    kind: str
    source: str


class RecordFeature(msgspec.Struct, frozen=True, kw_only=True):
    """A feature of a record: bytes, float or int64, how many values it has, and the first of them as text."""

    name: str
    type: str
    count: int
    text: str


class RecordHead(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a TFRecord file: its bytes, and its features where it is a tf.train.Example."""

    size: int
    features: tuple[RecordFeature, ...]


class ObjectPreview(msgspec.Struct, frozen=True, kw_only=True):
    """The beginning of a file. `text` is that of a text, or an image as base64 with its `media` type; `cut` says that
    there is more."""

    kind: Kind
    size: int
    media: str = ""
    text: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    cells: tuple[NotebookCell, ...] = ()
    records: tuple[RecordHead, ...] = ()
    cut: bool = False


def preview(name: str, size: int, head: Callable[[int], bytes]) -> ObjectPreview:
    """Return the beginning of a file.

    Args:
        name: its name, whose ending says what to try first.
        size: its bytes.
        head: gives at most so many bytes from its beginning; called once.
    """
    plain = name.lower().removesuffix(".gz")
    packed = plain != name.lower()
    suffix = "." + plain.rpartition(".")[2]
    if suffix in _IMAGES and not packed:
        return _image(size, _IMAGES[suffix], head(WHOLE_BYTES))
    if suffix == ".ipynb" and not packed:
        data = head(WHOLE_BYTES)
        return _notebook(size, data) or _text(size, data[:TEXT_BYTES], len(data) > TEXT_BYTES or size > len(data))
    limit = _RECORD_BYTES if suffix in _RECORD_FILES else TEXT_BYTES
    data = head(limit)
    cut = size > len(data)
    if packed:
        data, more = _unpacked(data, limit)
        cut = cut or more
    if suffix in _RECORD_FILES:
        return _records(size, data, cut)
    if suffix in _TABLES:
        return _table(size, data, _TABLES[suffix], cut)
    return _text(size, data, cut)


def _image(size: int, media: str, data: bytes) -> ObjectPreview:
    if size > len(data):
        return ObjectPreview(kind="image", size=size, media=media, cut=True)
    return ObjectPreview(kind="image", size=size, media=media, text=base64.b64encode(data).decode())


def _text(size: int, data: bytes, cut: bool) -> ObjectPreview:
    if b"\0" in data:
        return ObjectPreview(kind="other", size=size, cut=cut)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        if not cut or error.start < len(data) - 4:  # more than a character that the limit has cut
            return ObjectPreview(kind="other", size=size, cut=cut)
        text = data[: error.start].decode()
    return ObjectPreview(kind="text", size=size, text=text, cut=cut)


def _table(size: int, data: bytes, delimiter: str, cut: bool) -> ObjectPreview:
    text = data.decode("utf-8", "replace")
    if cut:
        text = text[: text.rfind("\n") + 1] or text
    try:
        found = list(itertools.islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), _ROWS + 1))
    except csv.Error:
        return _text(size, data, cut)
    rows = tuple(tuple(one[:_CELL] for one in row[:_COLUMNS]) for row in found[:_ROWS])
    return ObjectPreview(kind="table", size=size, rows=rows, cut=cut or len(found) > _ROWS)


def _notebook(size: int, data: bytes) -> ObjectPreview | None:
    if size > len(data):
        return None
    try:
        found: Any = json.loads(data)
        cells = [one for one in found["cells"] if isinstance(one, dict)]
        shown = tuple(_cell(one) for one in cells[:_CELLS])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return ObjectPreview(kind="notebook", size=size, cells=shown, cut=len(cells) > _CELLS)


def _cell(cell: dict[str, Any]) -> NotebookCell:
    source = cell.get("source", "")
    text = "".join(map(str, source)) if isinstance(source, list) else str(source)
    return NotebookCell(kind=str(cell.get("cell_type", ""))[:20], source=text[:_SOURCE])


def _records(size: int, data: bytes, cut: bool) -> ObjectPreview:
    found: list[RecordHead] = []
    more = cut
    for payload in tfexample.records(data):
        if len(found) == _RECORDS:
            more = True
            break
        features = tuple(
            RecordFeature(name=name[:_CELL], type=kind, count=count, text=text[:_CELL])
            for name, kind, count, text in tfexample.features(payload)
        )
        found.append(RecordHead(size=len(payload), features=features))
    if not found:
        return ObjectPreview(kind="other", size=size, cut=cut)
    return ObjectPreview(kind="records", size=size, records=tuple(found), cut=more)


def _unpacked(data: bytes, limit: int) -> tuple[bytes, bool]:
    """Return the beginning of what gzip has packed, at most `limit` bytes of it, and whether there is more."""
    unpacking = zlib.decompressobj(wbits=31)
    try:
        found = unpacking.decompress(data, limit)
    except zlib.error:
        return data, False
    return found, not unpacking.eof
