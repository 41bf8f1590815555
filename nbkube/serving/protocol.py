"""The Open Inference Protocol v2 over HTTP, with its extension for binary tensors.

Sources: github.com/kserve/open-inference-protocol, and Triton's `extension_binary_data` for the binary form: the JSON
comes first, its length is in the header `Inference-Header-Content-Length`, then the tensors in their order.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from nbkube.decoding import json_decoder
from nbkube.models.model import Signature, Tensor
from nbkube.models.tensors import DATATYPES, Array, TensorError, as_json, datatype_of
from nbkube.serving.faults import RequestError

HEADER_LENGTH = "Inference-Header-Content-Length"
MOST_TENSORS = 256
MOST_ELEMENTS = 1 << 28


class Query(msgspec.Struct, frozen=True):
    """A checked request: inputs as arrays, the outputs asked for (none: the usual ones), which of them in binary."""

    inputs: dict[str, Array]
    outputs: tuple[str, ...] = ()
    binary: frozenset[str] = frozenset()
    all_binary: bool = False
    id: str = ""

    @property
    def rows(self) -> int:
        """The number of examples."""
        return min((len(one) for one in self.inputs.values()), default=0)


class _Input(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: Any = None
    parameters: dict[str, Any] = {}


class _Output(msgspec.Struct):
    name: str
    parameters: dict[str, Any] = {}


class _Request(msgspec.Struct):
    inputs: list[_Input]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[_Output] = []


_decoder = json_decoder(_Request)


def decoded(body: bytes, header: str | None, signature: Signature) -> Query:
    """Return the request that a body holds.

    Raises:
        RequestError: it is none, or does not fit the model; names the input and says what is expected.
    """
    text, rest = body, memoryview(b"")
    if header is not None:
        if not header.isascii() or not header.isdigit() or len(header) > 12 or int(header) > len(body):
            raise RequestError(
                f"the header {HEADER_LENGTH} says {header[:20]!r}, but the body has {len(body)} bytes. Expected: the "
                "length of the JSON before the binary tensors."
            )
        text, rest = body[: int(header)], memoryview(body)[int(header) :]
    request = _parsed(text)
    if not request.inputs:
        raise RequestError(f"the request has no inputs. Expected: {described(signature.inputs)}.")
    if len(request.inputs) > MOST_TENSORS:
        raise RequestError(f"the request has {len(request.inputs)} inputs. Expected: {described(signature.inputs)}.")
    arrays: dict[str, Array] = {}
    for one in request.inputs:
        array, rest = _array(one, rest, signature)
        if one.name in arrays:
            raise RequestError(f"the input {shown(one.name)} is there twice.")
        arrays[one.name] = array
    if len(rest):
        raise RequestError(f"{len(rest)} bytes follow the last tensor. Expected: as many as binary_data_size says.")
    outputs, binary = _outputs(request, signature)
    return Query(
        fitted(arrays, signature), outputs, binary, request.parameters.get("binary_data_output") is True, request.id
    )


def _parsed(text: bytes) -> _Request:
    try:
        return _decoder.decode(text)
    except msgspec.ValidationError as error:
        raise RequestError(f"the body is no inference request: {error}. Expected: {_FORM}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is no JSON: {error}. Expected: {_FORM}.") from None
    except RecursionError:
        raise RequestError(f"the body is nested too deeply. Expected: {_FORM}.") from None


_FORM = '{"inputs": [{"name", "shape", "datatype", "data"}]}'


def shown(text: str) -> str:
    """Return a text from outside as it may stand in a message."""
    return repr(text if len(text) <= 60 else text[:59] + "…")


def described(tensors: Sequence[Tensor]) -> str:
    """Return inputs as a reader of a message sees them."""
    listed = [f"{one.name} {one.datatype} {list(one.shape)}" for one in tensors[:6]]
    return ", ".join(listed) + (f" and {len(tensors) - 6} more" if len(tensors) > 6 else "")


# -- inputs --------------------------------------------------------------------------------------------------------


def _array(one: _Input, rest: memoryview, signature: Signature) -> tuple[Array, memoryview]:
    """Return a tensor of a request as an array, and what of the binary part is left."""
    where = f"the input {shown(one.name)}"
    if any(size < 0 for size in one.shape):
        raise RequestError(f"{where} has the shape {one.shape[:8]}. Expected: sizes of 0 or more.")
    if len(one.shape) > 16:
        raise RequestError(f"{where} has {len(one.shape)} dimensions. Expected: {described(signature.inputs)}.")
    count = math.prod(one.shape)
    if count > MOST_ELEMENTS:
        raise RequestError(f"{where} says that it has {count} elements, more than a request can hold.")
    if one.datatype != "BYTES" and one.datatype not in DATATYPES:
        known = ", ".join([*DATATYPES, "BYTES"])
        raise RequestError(f"{where} has the datatype {shown(one.datatype)}. Expected: one of {known}.")
    size = one.parameters.get("binary_data_size")
    if size is None:
        if one.data is None:
            raise RequestError(f"{where} has no data.")
        return _from_json(one, count, where, signature), rest
    if one.data is not None:
        raise RequestError(f"{where} has data in JSON and binary_data_size. Expected: one of them.")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(rest):
        raise RequestError(f"{where} says binary_data_size {str(size)[:20]}, but {len(rest)} bytes are left.")
    return from_bytes(one.datatype, one.shape, count, rest[:size], where), rest[size:]


def from_bytes(datatype: str, shape: Sequence[int], count: int, raw: memoryview, where: str) -> Array:
    """Return a binary tensor of `count` elements as an array.

    Raises:
        RequestError: it has another length than that.
    """
    if datatype == "BYTES":
        return _texts_from_bytes(raw, count, where).reshape(shape)
    kind = np.dtype(DATATYPES[datatype])
    if len(raw) != count * kind.itemsize:
        raise RequestError(
            f"{where} has {len(raw)} bytes. Expected: {count * kind.itemsize} for shape {list(shape)} of {datatype}."
        )
    return np.frombuffer(raw, dtype=kind).reshape(shape)


def _texts_from_bytes(raw: memoryview, count: int, where: str) -> Array:
    """Read elements of BYTES: each has its length before it, four bytes, little end first."""
    array = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        if at + 4 > len(raw):
            raise RequestError(f"{where} ends after {index} elements. Expected: {count}.")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if length > len(raw) - at:
            raise RequestError(f"{where}: element {index} says that it has {length} bytes, {len(raw) - at} are left.")
        array[index] = bytes(raw[at : at + length])
        at += length
    if at != len(raw):
        raise RequestError(f"{where}: {len(raw) - at} bytes follow its last element.")
    return array


def _from_json(one: _Input, count: int, where: str, signature: Signature) -> Array:
    """Read data that is flat or nested as its shape says."""
    return array_of(one.data, one.datatype, where, signature, shape=tuple(one.shape), count=count)


def array_of(
    data: Any,
    datatype: str,
    where: str,
    signature: Signature,
    *,
    shape: tuple[int, ...] | None = None,
    count: int = 0,
) -> Array:
    """Return JSON data as an array of a datatype; with a `shape` it may also be flat.

    Raises:
        RequestError: it has another type or shape.
    """
    if not isinstance(data, list):
        if shape != () and shape is not None:
            raise RequestError(f"{where}: data is a {_kind(data)}. Expected: a list.")
        data = [data]
    try:
        if datatype == "BYTES":
            array = _texts(data, where)
        else:
            found = np.array(data)
            if not found.size:
                found = found.astype(DATATYPES[datatype])
            array = _numbers(found, datatype, where)
    except (ValueError, OverflowError, RecursionError) as error:
        raise RequestError(
            f"{where}: data is no regular list of {datatype} ({str(error)[:80]}). "
            f"Expected: {described(signature.inputs)}."
        ) from None
    if shape is None:
        return array
    if array.size != count or (array.ndim > 1 and array.shape != shape):
        got = f"{array.size} elements" if array.ndim <= 1 else f"the shape {list(array.shape)}"
        raise RequestError(f"{where} has {got}. Expected: {count} for the shape {list(shape)}.")
    return array.reshape(shape)


def _kind(value: Any) -> str:
    return {dict: "object", str: "text", bool: "boolean", type(None): "null"}.get(type(value), "number")


def _numbers(found: Array, datatype: str, where: str) -> Array:
    kind = np.dtype(DATATYPES[datatype])
    if found.dtype.kind not in "biuf":
        raise RequestError(f"{where}: data holds something that is no number. Expected: {datatype}.")
    if found.dtype.kind == "f" and kind.kind in "iub" and not (np.isfinite(found) & (found == np.floor(found))).all():
        raise RequestError(f"{where}: data holds numbers that are not whole. Expected: {datatype}.")
    if kind.kind == "b" and not np.isin(found, (0, 1)).all():
        raise RequestError(f"{where}: data holds something that is neither true nor false. Expected: BOOL.")
    if kind.kind in "iu" and found.size:
        limits = np.iinfo(kind)
        if found.min() < limits.min or found.max() > limits.max:
            raise RequestError(f"{where}: data holds a number that {datatype} does not reach.")
    return found.astype(kind)


def _texts(data: list[Any], where: str) -> Array:
    shape: list[int] = []
    level: Any = data
    while isinstance(level, list):
        shape.append(len(level))
        level = level[0] if level else None
    flat: Any = data
    for _ in shape[1:]:
        flat = [one for part in flat for one in part] if all(isinstance(part, list) for part in flat) else flat
    if not all(isinstance(one, str | bytes) for one in flat):
        raise RequestError(f"{where}: data holds something that is no text. Expected: BYTES.")
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape) if math.prod(shape) == len(flat) else array


# -- fitting the model ---------------------------------------------------------------------------------------------


def fitted(arrays: Mapping[str, Array], signature: Signature) -> dict[str, Array]:
    """Return a request's arrays under the names and in the types of the model's inputs.

    A model with one input takes it by any name; one that takes columns takes them side by side as well.

    Raises:
        RequestError: an input is missing, unknown, or of another type or shape.
    """
    specs = signature.inputs
    if len(arrays) == 1 and len(specs) == 1:
        return {specs[0].name: _checked(next(iter(arrays)), next(iter(arrays.values())), specs[0])}
    if len(arrays) == 1 and signature.layout == "columns":
        arrays = _columns(*next(iter(arrays.items())), specs)
    missing = [one.name for one in specs if one.name not in arrays]
    unknown = [name for name in arrays if all(name != one.name for one in specs)]
    if missing or unknown:
        what = f"the input {shown(missing[0])} is missing" if missing else f"there is no input {shown(unknown[0])}"
        raise RequestError(f"{what}. Expected: {described(specs)}.")
    found = {one.name: _checked(one.name, arrays[one.name], one) for one in specs}
    if signature.batched and len({len(one) for one in found.values()}) > 1:
        sizes = ", ".join(f"{name} {len(one)}" for name, one in list(found.items())[:6])
        raise RequestError(f"the inputs have different numbers of examples: {sizes}.")
    return found


def _columns(name: str, array: Array, specs: Sequence[Tensor]) -> dict[str, Array]:
    if array.ndim != 2 or array.shape[1] != len(specs):
        raise RequestError(
            f"the input {shown(name)} has the shape {list(array.shape)}. "
            f"Expected: {len(specs)} columns: {described(specs)}."
        )
    return {one.name: array[:, index] for index, one in enumerate(specs)}


def _checked(name: str, array: Array, spec: Tensor) -> Array:
    where = f"the input {shown(name)}"
    shape = list(array.shape)
    if len(shape) != len(spec.shape) or any(want not in (-1, got) for got, want in zip(shape, spec.shape, strict=True)):
        raise RequestError(f"{where} has the shape {shape}. Expected: {list(spec.shape)} of {spec.datatype}.")
    if shape and shape[0] == 0:
        raise RequestError(f"{where} has no examples. Expected: {list(spec.shape)} of {spec.datatype}.")
    if spec.datatype == "BYTES":
        if array.dtype.kind != "O":
            raise RequestError(f"{where} has the datatype {datatype_of(array)}. Expected: BYTES.")
        return _as_spec(array, spec, where)
    if array.dtype.kind == "O":
        raise RequestError(f"{where} has the datatype BYTES. Expected: {spec.datatype}.")
    kind = np.dtype(DATATYPES[spec.datatype])
    if array.dtype == kind:
        return array
    if not np.can_cast(array.dtype, kind, "same_kind"):
        raise RequestError(f"{where} has the datatype {datatype_of(array)}. Expected: {spec.datatype}.")
    if kind.kind in "iu" and array.size:
        return _numbers(array, spec.datatype, where)
    return array.astype(kind)


def _as_spec(array: Array, spec: Tensor, where: str) -> Array:
    """Return elements as texts or as bytes, whichever the model takes."""
    out = np.empty(array.size, dtype=object)
    for index, one in enumerate(array.flat):
        if spec.text and isinstance(one, bytes):
            try:
                out[index] = one.decode()
            except UnicodeDecodeError:
                raise RequestError(f"{where}: element {index} is no text in UTF-8.") from None
        elif not spec.text and isinstance(one, str):
            out[index] = one.encode()
        else:
            out[index] = one
    return out.reshape(array.shape)


# -- outputs -------------------------------------------------------------------------------------------------------


def _outputs(request: _Request, signature: Signature) -> tuple[tuple[str, ...], frozenset[str]]:
    known = [one.name for one in (*signature.outputs, *signature.optional)]
    for one in request.outputs:
        if one.name not in known:
            raise RequestError(f"there is no output {shown(one.name)}. There are: {', '.join(known)}.")
    binary = frozenset(one.name for one in request.outputs if one.parameters.get("binary_data") is True)
    return tuple(one.name for one in request.outputs), binary


def encoded(query: Query, name: str, version: str, outputs: Mapping[str, Array]) -> tuple[bytes, int | None]:
    """Return the body of an answer, and the length of its JSON if binary tensors follow."""
    wanted = query.outputs or tuple(outputs)
    tensors: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for one in wanted:
        array = outputs[one]
        if query.all_binary or one in query.binary:
            raw = as_bytes(array)
            tail.append(raw)
            tensors.append(
                {
                    "name": one,
                    "shape": list(array.shape),
                    "datatype": datatype_of(array),
                    "parameters": {"binary_data_size": len(raw)},
                }
            )
        else:
            tensors.append(as_json(one, array))
    answer = msgspec.json.encode({"model_name": name, "model_version": version, "id": query.id, "outputs": tensors})
    return (answer + b"".join(tail), len(answer)) if tail else (answer, None)


def as_bytes(array: Array) -> bytes:
    """Return an array as a binary tensor."""
    if array.dtype.kind != "O":
        return np.ascontiguousarray(array).tobytes()
    parts = []
    for one in array.flat:
        raw = one.encode() if isinstance(one, str) else bytes(one)
        parts += [struct.pack("<I", len(raw)), raw]
    return b"".join(parts)


__all__ = [
    "HEADER_LENGTH",
    "Query",
    "TensorError",
    "as_bytes",
    "decoded",
    "described",
    "encoded",
    "fitted",
    "from_bytes",
    "shown",
]
