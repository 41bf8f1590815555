"""Messages between a server and its workers: a length, then MessagePack; tensors travel as bytes, never as pickles."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from nbkube.models.tensors import DATATYPES, Array, datatype_of

_LENGTH = struct.Struct("<I")
MOST = 1 << 31


class Packed(msgspec.Struct, array_like=True):
    """A tensor on its way: elements of fixed size as bytes, others as a list of texts or bytes."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: Any


class Job(msgspec.Struct, array_like=True):
    """Examples to predict, and the optional outputs that are wanted."""

    inputs: list[Packed]
    wanted: tuple[str, ...] = ()


class Done(msgspec.Struct, array_like=True):
    """What became of a job. `fault` is "" if it went well; `blame` says whose fault it is: the input's or the model's.

    A worker's first message has `ready` set.
    """

    outputs: list[Packed] = []
    fault: str = ""
    blame: str = ""
    seconds: float = 0.0
    ready: bool = False


def pack(arrays: Mapping[str, Array]) -> list[Packed]:
    """Return arrays as they travel."""
    return [Packed(name, datatype_of(array), array.shape, _data(array)) for name, array in arrays.items()]


def _data(array: Array) -> Any:
    return array.ravel().tolist() if array.dtype.kind == "O" else np.ascontiguousarray(array).tobytes()


def unpack(packed: list[Packed]) -> dict[str, Array]:
    """Return arrays that have travelled."""
    found: dict[str, Array] = {}
    for one in packed:
        if one.datatype == "BYTES":
            array = np.empty(len(one.data), dtype=object)
            array[:] = one.data
        else:
            array = np.frombuffer(bytearray(one.data), dtype=DATATYPES[one.datatype])
        found[one.name] = array.reshape(one.shape)
    return found


def frame(message: Job | Done) -> bytes:
    """Return a message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return _LENGTH.pack(len(body)) + body


def length_of(head: bytes) -> int:
    """Return the length that a frame begins with."""
    return int(_LENGTH.unpack(head)[0])
