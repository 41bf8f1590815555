"""What is no notebook at all, or not a whole one."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

from tests.unit.broken.row import Broken, raw
from tests.unit.documents import code, document, encoded, text

_WHOLE = encoded(
    document(
        text("Größe ≥ 1 – “words” \\ \t", metadata={"tags": ["überschrift"]}),
        code('print("a\\n", 1.5e3)', "step:load", options={"cpu": 2, "cache": False, "env": {"A": "ü"}}),
        code("x = [1, 2]\ny = None", "step:train", outputs=[{"output_type": "stream", "text": ["a"]}]),
        metadata={"kernelspec": {"name": "python3", "language": "python"}, "n": None, "t": True, "f": -0.5},
    )
)
_OFFSETS = [1 + number * (len(_WHOLE) - 4) // 49 for number in range(50)]


def _folder(folder: Path) -> Path:
    path = folder / "folder.ipynb"
    path.mkdir()
    return path


def _pipe(folder: Path) -> Path:
    path = folder / "pipe.ipynb"
    os.mkfifo(path)
    return path


def _loop(folder: Path) -> Path:
    path = folder / "loop.ipynb"
    path.symlink_to("other.ipynb")
    (folder / "other.ipynb").symlink_to("loop.ipynb")
    return path


def _large(folder: Path) -> Path:
    path = folder / "large.ipynb"
    with path.open("wb") as file:
        file.truncate(65 * 2**20)
    return path


def _deep(levels: int) -> bytes:
    return b'{"nbformat": 4, "cells": [], "metadata": {"a": ' + b"[" * levels + b"]" * levels + b"}}"


def _with(old: str, new: str) -> bytes:
    whole = _WHOLE.decode()
    assert old in whole
    return whole.replace(old, new, 1).encode()


ROWS = [
    *(raw(f"cut-off-at-{at}", _WHOLE[:at], "truncated", "ends in the middle") for at in _OFFSETS),
    raw("empty", b"", "empty-file", "is empty. Fix: open a copy"),
    raw("white-space", b" \n\t\n", "empty-file", "nothing but white space"),
    raw("png", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not-utf8", "not UTF-8 text"),
    raw("nul-bytes", bytes(512), "not-utf8", "UTF-16, UTF-32 or binary"),
    raw("gzip", gzip.compress(_WHOLE, mtime=0), "not-utf8", "not UTF-8 text"),
    raw("html", b"<!DOCTYPE html>\n<html><body>404</body></html>", "not-a-notebook", "web page (HTML)"),
    raw("html-with-spaces", b"\n\n  <html lang='en'>", "not-a-notebook", "the Raw button"),
    raw("xml", b"<?xml version='1.0'?><a/>", "not-a-notebook", "web page"),
    raw("utf-16", _WHOLE.decode().encode("utf-16"), "not-utf8", "iconv -f UTF-16"),
    raw("utf-16-big-endian", b"\xfe\xff" + _WHOLE.decode().encode("utf-16-be"), "not-utf8", "UTF-16"),
    raw("utf-16-unmarked", _WHOLE.decode().encode("utf-16-le"), "not-utf8", "UTF-16"),
    raw("utf-32", _WHOLE.decode().encode("utf-32"), "not-utf8", "UTF-32"),
    raw("byte-order-mark", b"\xef\xbb\xbf" + _WHOLE, "byte-order-mark", "without BOM"),
    raw("latin-1", _with("–", "-").replace("ü".encode(), b"\xfc"), "not-utf8", "byte 0xfc at offset"),
    raw("key-twice", _with('"nbformat": 4,', '"nbformat": 4, "nbformat": 4,'), "repeated-key", "'nbformat' twice"),
    raw("key-twice-in-cell", _with('"id": "c2",', '"id": "c2", "id": "x",'), "repeated-key", "'id' twice"),
    raw("key-twice-escaped", _with('"id": "c2",', '"id": "c2", "\\u0069d": "x",'), "repeated-key", "'id' twice"),
    raw("key-twice-cut-off", _with('"id": "c2",', '"id": "c2", "id": "x",')[:-9], "truncated", "ends in the middle"),
    raw("nan", _with('"n": null', '"n": NaN'), "not-json", "holds NaN"),
    raw("infinity", _with('"n": null', '"n": Infinity'), "not-json", "holds Infinity"),
    raw("minus-infinity", _with('"n": null', '"n": -Infinity'), "not-json", "holds -Infinity"),
    raw("endless-number", _with('"n": null', '"n": ' + "9" * 5000), "not-json", "impossible number"),
    raw("nested-300", _deep(300), "too-deep", "256 levels"),
    raw("nested-1000", _deep(1000), "too-deep", "256 levels"),
    raw("nested-100000", _deep(100_000), "too-deep", "256 levels"),
    Broken("folder", _folder, "not-a-file", "is a folder"),
    Broken("pipe", _pipe, "not-a-file", "is a pipe (FIFO)"),
    Broken("link-loop", _loop, "link-loop", "leads back to itself"),
    Broken("large", _large, "too-large", "65 MiB; the limit is 64 MiB"),
    raw("json-list", b"[]", "not-a-notebook", "holds a JSON array"),
    raw("json-text", b'"notebook"', "not-a-notebook", "holds a JSON string"),
    raw("json-null", b"null", "not-a-notebook", "holds a JSON null"),
    raw("json-number", b"4", "not-a-notebook", "holds a JSON number"),
    raw("script", b"import os\nprint(1)\n", "not-a-notebook", "jupytext --to notebook"),
    raw("python-dict", repr(json.loads(_WHOLE)).encode(), "not-json", "Expecting property name"),
    raw("merge-marks", _with('   "id": "c2"', '<<<<<<< HEAD\n   "id": "c2"'), "merge-conflict", "git merge conflict"),
    raw("trailing-comma", _with('"t": true', '"t": true,'), "not-json", "not well-formed JSON"),
    raw("trailing-text", _WHOLE + b"x", "not-json", "goes on after its end"),
    raw("two-documents", _WHOLE + _WHOLE, "not-json", "goes on after its end"),
    raw("bare-newline-in-text", _with("[1, 2]", "[1,\n2]"), "not-json", "Invalid control character"),
    raw("missing-comma", _with('"f": -0.5,', '"f": -0.5'), "not-json", "Expecting ',' delimiter"),
]  # fmt: skip
