"""Requests are read and checked without a server: what is wrong is said in a sentence that names the input."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import numpy as np
import pytest

from nbkube.models.model import Signature, Tensor
from nbkube.serving import protocol, tfserving
from nbkube.serving.faults import RequestError
from tests.unit.serving.bad_requests import BAD, SIGNATURE, Bad

TEXTS = Signature((Tensor("texts", "BYTES", (-1,)),), (Tensor("output", "BYTES", (-1,)),))
PICTURES = Signature((Tensor("pictures", "BYTES", (-1,), text=False),), (Tensor("output", "INT64", (-1,)),))
COLUMNS = Signature(
    (Tensor("age", "FP64", (-1,)), Tensor("town", "BYTES", (-1,))),
    (Tensor("predict", "INT64", (-1,)),),
    layout="columns",
)


def tensor(data: Any, shape: list[int], datatype: str = "FP64", **more: Any) -> dict[str, Any]:
    return {"name": "input", "shape": shape, "datatype": datatype, "data": data, **more}


def read(inputs: list[dict[str, Any]], signature: Signature = SIGNATURE, **more: Any) -> protocol.Query:
    return protocol.decoded(msgspec.json.encode({"inputs": inputs, **more}), None, signature)


@pytest.mark.parametrize("data", [[1, 2, 3, 4], [[1, 2], [3, 4]], [[1.0, 2], [3, 4.0]]])
def test_flat_and_nested_data_mean_the_same(data: Any) -> None:
    found = read([tensor(data, [2, 2])]).inputs["input"]
    assert found.dtype == np.float64
    assert found.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT64", "INT8", "UINT8", "BOOL"])
def test_types_that_lose_nothing_are_taken(datatype: str) -> None:
    assert read([tensor([1, 0], [1, 2], datatype)]).inputs["input"].tolist() == [[1, 0]]


def test_any_name_will_do_for_the_only_input() -> None:
    assert list(read([{**tensor([1, 2], [1, 2]), "name": "input-0"}]).inputs) == ["input"]


def test_binary_tensors() -> None:
    raw = np.array([[1.5, -2.0]], dtype="<f4").tobytes()
    head = msgspec.json.encode(
        {
            "inputs": [
                {"name": "input", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": len(raw)}}
            ],
            "outputs": [{"name": "predict", "parameters": {"binary_data": True}}],
        }
    )
    query = protocol.decoded(head + raw, str(len(head)), SIGNATURE)
    assert query.inputs["input"].tolist() == [[1.5, -2.0]]
    body, length = protocol.encoded(query, "small", "1", {"predict": np.array([7], dtype=np.int64)})
    assert length is not None
    assert msgspec.json.decode(body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 8}
    assert struct.unpack("<q", body[length:]) == (7,)


def test_binary_texts_there_and_back() -> None:
    raw = b"".join(struct.pack("<I", len(one)) + one for one in (b"good", "schön".encode(), b""))
    head = msgspec.json.encode(
        {
            "inputs": [{"name": "t", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}],
            "parameters": {"binary_data_output": True},
        }
    )
    query = protocol.decoded(head + raw, str(len(head)), TEXTS)
    assert query.inputs["texts"].tolist() == ["good", "schön", ""]
    body, length = protocol.encoded(query, "small", "1", {"output": query.inputs["texts"]})
    assert body[length:] == raw


def test_numbers_that_json_has_not_become_null() -> None:
    body, _ = protocol.encoded(read([tensor([1, 2], [1, 2])]), "m", "1", {"predict": np.array([np.nan, np.inf, 1.0])})
    assert msgspec.json.decode(body)["outputs"][0]["data"] == [None, None, 1.0]


def test_rows_and_columns_of_tensorflow_serving() -> None:
    query, in_rows = tfserving.decoded(b'{"instances": [[1, 2], [3, 4]]}', SIGNATURE)
    assert in_rows
    assert query.inputs["input"].tolist() == [[1, 2], [3, 4]]
    query, in_rows = tfserving.decoded(b'{"inputs": {"input": [[1, 2]]}}', SIGNATURE)
    assert not in_rows
    assert tfserving.encoded({"predict": np.array([1])}, in_rows=True) == b'{"predictions":[1]}'
    assert tfserving.encoded({"predict": np.array([1])}, in_rows=False) == b'{"outputs":[1]}'
    two = tfserving.encoded({"a": np.array([1, 2]), "b": np.array([3.0, np.nan])}, in_rows=True)
    assert msgspec.json.decode(two) == {"predictions": [{"a": 1, "b": 3.0}, {"a": 2, "b": None}]}


def test_examples_as_objects_and_columns() -> None:
    body = b'{"instances": [{"age": 1, "town": "Ulm"}, {"age": 2.5, "town": "Bonn"}]}'
    query, _ = tfserving.decoded(body, COLUMNS)
    assert query.inputs["age"].tolist() == [1, 2.5]
    assert query.inputs["town"].tolist() == ["Ulm", "Bonn"]


def test_pictures_as_bytes() -> None:
    query, _ = tfserving.decoded(b'{"instances": [{"b64": "iVBORw=="}]}', PICTURES)
    assert query.inputs["pictures"].tolist() == [b"\x89PNG"]
    with pytest.raises(RequestError, match="does not hold base64"):
        tfserving.decoded(b'{"instances": [{"b64": "?"}]}', PICTURES)


def test_text_that_is_none_is_named() -> None:
    raw = struct.pack("<I", 2) + b"\xff\xfe"
    head = msgspec.json.encode(
        {"inputs": [{"name": "t", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": 6}}]}
    )
    with pytest.raises(RequestError, match="the input 't': element 0 is no text"):
        protocol.decoded(head + raw, str(len(head)), TEXTS)


@pytest.mark.parametrize("bad", BAD, ids=lambda one: one.id)
def test_bad_requests_are_refused_with_a_sentence(bad: Bad) -> None:
    def read_it() -> None:
        if bad.path.endswith("/infer"):
            protocol.decoded(bad.body, dict(bad.headers).get(protocol.HEADER_LENGTH), SIGNATURE)
        else:
            tfserving.decoded(bad.body, SIGNATURE)

    with pytest.raises(RequestError) as refused:
        read_it()
    assert refused.value.status == 400
    assert " " in str(refused.value)
    assert len(str(refused.value)) < 600
