"""Code objects apart from where they stand: bytes that do not change when a cell moves or its file is renamed.

A code object is stored as its parts, with the file name, first line and line table replaced by an index into a table
of *places* kept beside the stream. The table also carries the source text, for tracebacks and `inspect.getsource`.
"""

from __future__ import annotations

import hashlib
import linecache
import sys
from types import CodeType
from typing import Any

import msgspec

from nbkube.decoding import from_msgpack

_PARTS = (
    "co_argcount",
    "co_posonlyargcount",
    "co_kwonlyargcount",
    "co_nlocals",
    "co_stacksize",
    "co_flags",
    "co_code",
    "co_names",
    "co_varnames",
    "co_name",
    "co_qualname",
    "co_exceptiontable",
    "co_freevars",
    "co_cellvars",
)


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a code object stood."""

    file: str
    line: int
    table: bytes


class Places(msgspec.Struct):
    """The places of a stream's code objects in the order they were met, and the source of their files."""

    codes: list[Place] = []
    lines: list[int] = []
    sources: dict[str, str] = {}

    def add(self, code: CodeType) -> int:
        """Keep a code object's place; return its index."""
        self.codes.append(Place(code.co_filename, code.co_firstlineno, code.co_linetable))
        if code.co_filename not in self.sources:
            lines = linecache.getlines(code.co_filename) if code.co_filename[:1] == "<" else _lines(code.co_filename)
            self.sources[code.co_filename] = "".join(lines)
        return len(self.codes) - 1

    def add_line(self, line: int) -> int:
        """Keep a bare line number (of a class statement); return its index."""
        self.lines.append(line)
        return len(self.lines) - 1

    def encode(self) -> bytes:
        """Return the table as bytes, nothing where it is empty."""
        return msgspec.msgpack.encode(self) if self.codes or self.lines else b""

    def publish_sources(self) -> None:
        """Make the source text known to tracebacks and `inspect`, unless the file is known already."""
        for name, text in self.sources.items():
            if text and not linecache.getlines(name):
                linecache.cache[name] = (len(text), None, text.splitlines(True), name)


def _lines(name: str) -> list[str]:
    entry = linecache.cache.get(name)
    if entry is not None and len(entry) == 4:
        return entry[2]
    return linecache.getlines(name)


def decode(data: bytes) -> Places:
    """Return the table from its bytes."""
    return from_msgpack(data, Places) if data else Places()


def code_parts(code: CodeType, places: Places) -> tuple[Any, ...]:
    """Return what `build_code` needs; the place goes into the table."""
    index = places.add(code)
    return (index, code.co_consts, *(getattr(code, part) for part in _PARTS))


def build_code(places: Places, parts: tuple[Any, ...]) -> CodeType:
    """Return the code object again, at its old place."""
    index, consts, *rest = parts
    place = places.codes[index]
    (argcount, posonly, kwonly, nlocals, stack, flags, code, names, variables, name, qualname, table, free, cell) = rest
    return CodeType(
        argcount,
        posonly,
        kwonly,
        nlocals,
        stack,
        flags,
        code,
        consts,
        names,
        variables,
        place.file,
        name,
        qualname,
        place.line,
        place.table,
        table,
        free,
        cell,
    )


def code_digest(code: CodeType) -> str:
    """Digest of what the code does, whatever its place; equal in all processes of one Python minor version."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    for part in _PARTS:
        digest.update(repr(getattr(code, part)).encode())
    for constant in code.co_consts:
        digest.update(_constant(constant).encode())
    return digest.hexdigest()


def _constant(value: object) -> str:
    if isinstance(value, CodeType):
        return code_digest(value)
    if isinstance(value, frozenset):
        return "frozenset" + repr(sorted(_constant(one) for one in value))
    if isinstance(value, tuple):
        return "(" + ",".join(_constant(one) for one in value) + ")"
    return f"{type(value).__name__}:{value!r}"
