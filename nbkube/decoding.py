"""Typed values out of JSON, MessagePack and plain objects, from any thread.

msgspec learns a type when it first meets it, and another thread that meets it meanwhile reads what is half learned: the
process dies of a segmentation fault (msgspec 0.22, Python 3.11; `tests/unit/test_decoding.py` shows it). Here types are
learned one after the other; what is known is used without a lock. A test keeps typed decoding to this module.
"""

from __future__ import annotations

import os
import threading
from typing import Any, TypeVar

import msgspec

_T = TypeVar("_T")

_known: set[Any] = set()
_learning = threading.Lock()


def learn(kind: Any) -> None:
    """Have msgspec know a type, and all types within it, before anything else is done with it."""
    if kind not in _known:
        with _learning:
            msgspec.msgpack.Decoder(kind)
            _known.add(kind)


def from_json(data: bytes | bytearray | memoryview | str, kind: type[_T]) -> _T:
    """Return what a JSON text holds, as a value of a type.

    Raises:
        msgspec.ValidationError: it is no value of that type.
        msgspec.DecodeError: it is not JSON.
    """
    learn(kind)
    return msgspec.json.decode(data, type=kind)


def from_msgpack(data: bytes | bytearray | memoryview, kind: type[_T]) -> _T:
    """Return what MessagePack bytes hold, as a value of a type; raises as `from_json` does."""
    learn(kind)
    return msgspec.msgpack.decode(data, type=kind)


def from_plain(value: Any, kind: type[_T], *, strict: bool = True) -> _T:
    """Return plain objects (dicts, lists, texts, numbers) as a value of a type.

    Args:
        value: as `msgspec.to_builtins` gives it.
        kind: the type.
        strict: False to take numbers and truth values from texts, too.

    Raises:
        msgspec.ValidationError: it is no value of that type.
    """
    learn(kind)
    return msgspec.convert(value, kind, strict=strict)


def json_decoder(kind: type[_T]) -> msgspec.json.Decoder[_T]:
    """Return a decoder for many JSON texts of a type."""
    learn(kind)
    return msgspec.json.Decoder(kind)


def msgpack_decoder(kind: type[_T]) -> msgspec.msgpack.Decoder[_T]:
    """Return a decoder for many MessagePack values of a type."""
    learn(kind)
    return msgspec.msgpack.Decoder(kind)


def _after_fork() -> None:
    global _learning
    _learning = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)
