"""TensorFlow Serving's REST interface, version 1 (tensorflow.org/tfx/serving/api_rest): predict and metadata."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from nbkube.models.model import Signature, Tensor
from nbkube.models.tensors import Array
from nbkube.serving.faults import RequestError
from nbkube.serving.protocol import Query, array_of, described, fitted, shown

_TYPES = {
    "BOOL": "DT_BOOL", "UINT8": "DT_UINT8", "UINT16": "DT_UINT16", "UINT32": "DT_UINT32", "UINT64": "DT_UINT64",
    "INT8": "DT_INT8", "INT16": "DT_INT16", "INT32": "DT_INT32", "INT64": "DT_INT64", "FP16": "DT_HALF",
    "FP32": "DT_FLOAT", "FP64": "DT_DOUBLE", "BYTES": "DT_STRING",
}  # fmt: skip
_FORM = '{"instances": [...]} or {"inputs": ...}'


def decoded(body: bytes, signature: Signature) -> tuple[Query, bool]:
    """Return the request that a body holds, and whether it is in rows (`instances`) rather than columns (`inputs`).

    Raises:
        RequestError: it is none, or does not fit the model; names the input and says what is expected.
    """
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(f"the body is no JSON: {error}. Expected: {_FORM}.") from None
    except RecursionError:
        raise RequestError(f"the body is nested too deeply. Expected: {_FORM}.") from None
    if not isinstance(request, dict) or ("instances" in request) == ("inputs" in request):
        raise RequestError(f"the body is no request to predict. Expected: {_FORM}.")
    if request.get("signature_name", "serving_default") != "serving_default":
        raise RequestError(f"there is no signature {shown(str(request['signature_name']))}: only serving_default.")
    in_rows = "instances" in request
    try:
        given = _unpacked(request["instances"] if in_rows else request["inputs"])
    except RecursionError:
        raise RequestError(f"the body is nested too deeply. Expected: {_FORM}.") from None
    if in_rows:
        given = _columns_of(given, signature)
    elif not isinstance(given, dict):
        given = {signature.inputs[0].name if len(signature.inputs) == 1 else "inputs": given}
    specs = {one.name: one for one in signature.inputs}
    arrays: dict[str, Array] = {}
    for name, data in given.items():
        spec = specs.get(name)
        if spec is None and signature.layout == "columns" and len(given) == 1:
            spec = Tensor(name, _joint(signature.inputs), ())
        if spec is None:
            raise RequestError(f"there is no input {shown(name)}. Expected: {described(signature.inputs)}.")
        arrays[name] = array_of(data, spec.datatype, f"the input {shown(name)}", signature)
    return Query(fitted(arrays, signature)), in_rows


def _joint(specs: tuple[Tensor, ...]) -> str:
    return "BYTES" if any(one.datatype == "BYTES" for one in specs) else "FP64"


def _unpacked(value: Any) -> Any:
    """Replace {"b64": text} by the bytes it stands for."""
    if isinstance(value, list):
        if value and not isinstance(value[0], list | dict):
            return value
        return [_unpacked(one) for one in value]
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, TypeError, ValueError):
                raise RequestError('{"b64": …} does not hold base64.') from None
        return {name: _unpacked(one) for name, one in value.items()}
    return value


def _columns_of(rows: Any, signature: Signature) -> dict[str, list[Any]]:
    if not isinstance(rows, list) or not rows:
        raise RequestError(f"instances is no list of examples. Expected: {described(signature.inputs)}.")
    if not isinstance(rows[0], dict):
        if any(isinstance(row, dict) for row in rows):
            raise RequestError("instances holds objects and other values. Expected: all of one kind.")
        return {signature.inputs[0].name if len(signature.inputs) == 1 else "instances": rows}
    names = list(rows[0])
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or row.keys() != rows[0].keys():
            raise RequestError(f"instance {index} does not have the inputs of the first one: {', '.join(names[:6])}.")
    return {name: [row[name] for row in rows] for name in names}


def encoded(outputs: Mapping[str, Array], *, in_rows: bool) -> bytes:
    """Return the body of an answer: `predictions` for rows, `outputs` for columns; a lone output has no name."""
    plain = {name: _jsonable(array) for name, array in outputs.items()}
    alone = next(iter(plain.values())) if len(plain) == 1 else None
    if not in_rows:
        return msgspec.json.encode({"outputs": plain if alone is None else alone})
    if alone is not None:
        return msgspec.json.encode({"predictions": alone})
    rows = [dict(zip(plain, values, strict=True)) for values in zip(*plain.values(), strict=True)]
    return msgspec.json.encode({"predictions": rows})


def _jsonable(array: Array) -> Any:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return _without_nan(array.tolist())
    if array.dtype.kind == "O":
        return _texts(array.tolist())
    return array.tolist()


def _without_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nan(one) for one in value]
    return value if math.isfinite(value) else None


def _texts(value: Any) -> Any:
    if isinstance(value, list):
        return [_texts(one) for one in value]
    if isinstance(value, str):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode("ascii")}


def status(version: int) -> dict[str, Any]:
    """Return the state of a version, as the interface writes it."""
    fine = {"error_code": "OK", "error_message": ""}
    return {"model_version_status": [{"version": str(version), "state": "AVAILABLE", "status": fine}]}


def metadata(name: str, version: int, signature: Signature) -> dict[str, Any]:
    """Return the description of a version, as the interface writes it."""
    definition = {
        "inputs": {one.name: _described(one) for one in signature.inputs},
        "outputs": {one.name: _described(one) for one in signature.outputs},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": name, "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": {"serving_default": definition}}},
    }


def _described(tensor: Tensor) -> dict[str, Any]:
    shape = {"dim": [{"size": str(size), "name": ""} for size in tensor.shape], "unknown_rank": False}
    return {"dtype": _TYPES[tensor.datatype], "tensor_shape": shape, "name": tensor.name}
