"""Values as tensors of the Open Inference Protocol v2 and back (github.com/kserve/open-inference-protocol)."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nbkube.models.model import Tensor

Array = npt.NDArray[Any]

DATATYPES: dict[str, str] = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
"""Datatypes of fixed size, as numpy writes them; BYTES are objects."""

_NAMES = {np.dtype(code): name for name, code in DATATYPES.items()}


class TensorError(ValueError):
    """A value that is no tensor of the protocol; the message says why."""


def datatype_of(array: Array) -> str:
    """Return the protocol's name for an array's type."""
    kind = array.dtype.kind
    if kind in "OSUTV":
        return "BYTES"
    name = _NAMES.get(array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype)
    if name is None:
        raise TensorError(f"elements of type {array.dtype} have no name in the Open Inference Protocol")
    return name


def as_array(value: Any) -> Array:
    """Return what a model takes or gives as an array; numbers become arrays of one element."""
    if hasattr(value, "numpy") and not isinstance(value, np.ndarray):
        value = value.numpy()
    elif hasattr(value, "to_numpy"):
        value = value.to_numpy()
    elif hasattr(value, "toarray"):
        value = value.toarray()
    try:
        array = np.asarray(value)
    except ValueError:
        raise TensorError("its rows have different lengths") from None
    if array.dtype.kind in "SU":
        array = array.astype(object)
    if array.dtype.kind == "O" and not all(isinstance(one, str | bytes) for one in array.flat):
        if all(isinstance(one, bool | int | float) for one in array.flat):
            return array.astype(float)
        bad = next(one for one in array.flat if not isinstance(one, str | bytes))
        raise TensorError(f"it holds an object of type {type(bad).__name__}")
    datatype_of(array)
    return array.reshape(1) if array.ndim == 0 else array


def spec(name: str, array: Array, *, batched: bool = True) -> Tensor:
    """Return the tensor that describes an array, with any number of examples."""
    text = array.dtype.kind != "O" or all(isinstance(one, str) for one in array.flat)
    return Tensor(name, datatype_of(array), (-1 if batched else array.shape[0], *array.shape[1:]), text)


def as_json(name: str, array: Array) -> dict[str, Any]:
    """Return an array as a tensor with flat JSON data. Bytes that are no text are written in base64.

    JSON has no number for NaN and infinity: they become null, as in other servers.
    """
    datatype = datatype_of(array)
    flat: list[Any] = array.ravel().tolist()
    if datatype == "BYTES":
        flat = [_text(one) for one in flat]
    elif datatype.startswith("FP") and not np.isfinite(array).all():
        flat = [one if math.isfinite(one) else None for one in flat]
    return {"name": name, "shape": list(array.shape), "datatype": datatype, "data": flat}


def _text(one: Any) -> str:
    if isinstance(one, str):
        return one
    raw = bytes(one)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode("ascii")


def from_example(example: Sequence[Mapping[str, Any]]) -> dict[str, Array]:
    """Return the arrays of an example that `as_json` has written."""
    found: dict[str, Array] = {}
    for one in example:
        data = one["data"]
        if one["datatype"] == "BYTES":
            array = np.empty(len(data), dtype=object)
            array[:] = data
        else:
            array = np.array(data, dtype=DATATYPES[one["datatype"]])
        found[one["name"]] = array.reshape(one["shape"])
    return found
