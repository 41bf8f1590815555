"""Over a hundred requests that no server may take, and none may fall over."""

from __future__ import annotations

import itertools
import struct
from typing import Any, NamedTuple

import msgspec

from nbkube.models.model import Signature, Tensor
from nbkube.serving.protocol import HEADER_LENGTH

SIGNATURE = Signature((Tensor("input", "FP64", (-1, 2)),), (Tensor("predict", "INT64", (-1,)),))
INFER = "/v2/models/small/infer"
PREDICT = "/v1/models/small:predict"


class Bad(NamedTuple):
    """A request and what it is called in a test's report."""

    id: str
    body: bytes
    path: str = INFER
    headers: tuple[tuple[str, str], ...] = ()


def _tensor(**more: Any) -> dict[str, Any]:
    return {"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1, 2], **more}


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in _tensor().items() if key != name}


def _infer(label: str, *tensors: Any, **more: Any) -> Bad:
    return Bad(label, msgspec.json.encode({"inputs": list(tensors), **more}))


def _binary(label: str, size: Any, raw: bytes, header: str | None = None, **more: Any) -> Bad:
    one = {"name": "input", "shape": [1, 2], "datatype": "FP64", "parameters": {"binary_data_size": size}, **more}
    head = msgspec.json.encode({"inputs": [one]})
    return Bad(f"binary-{label}", head + raw, INFER, ((HEADER_LENGTH, str(len(head)) if header is None else header),))


_TEXTS = [
    b"", b"{", b"null", b"[]", b"1", b'"text"', b"\xff\xfe", b"{}", b'{"inputs": null}', b'{"inputs": {}}',
    b'{"inputs": []}', b'{"inputs": [null]}', b'{"inputs": [1]}', b'{"inputs": [[]]}', b'{"inputs": [{}]}',
    b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [NaN, 1]}]}',
    b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [Infinity, 1]}]}',
    b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1, 2',
    b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}]} more',
    b"[" * 100_000, b'{"inputs": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    b'{"inputs": [{"name": "input", "shape": [1, 2], "datatype": "FP64", "data": ' + b"[" * 900 + b"]" * 900 + b"}]}",
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000, b"\x00" * 100, b"x" * 100_000,
]  # fmt: skip
_SHAPES: list[Any] = [
    [], [2], [1], [1, 3], [2, 1], [2, 2], [1, 2, 1], [0, 2], [-1, 2], [1, -2], [1, 2**40], [2**31, 2**31], [2**62, 2],
    [1.5, 2], ["1", 2], None, {}, "1,2", [[1, 2]], [True, 2], [1] * 20, [1] * 5000, [10**30, 1],
]  # fmt: skip
_DATATYPES: list[Any] = ["FP8", "fp64", "", "FLOAT", "BYTES", "INT128", 64, None, [], "FP64\x00", "x" * 10_000]
_DATA: list[Any] = [
    None, [], [1], [1, 2, 3], ["a", "b"], [None, None], [1, None], [{}, {}], [[1], [2, 3]], [[1, 2], [3]], "12", 12, {},
    {"0": 1}, [1, "2"], [[[1, 2]]], [[1], [2]], [1, [2]], [10**400, 1],
]  # fmt: skip
_NAMES: list[Any] = [None, 1, []]
_ROWS: list[Any] = [
    {"instances": None}, {"instances": []}, {"instances": {}}, {"instances": "text"}, {"instances": 1},
    {"instances": [[1]]}, {"instances": [[1, 2], [1]]}, {"instances": [[1, 2, 3]]}, {"instances": [["a", "b"]]},
    {"instances": [[None, None]]}, {"instances": [{"other": [1, 2]}]}, {"instances": [{"input": [1, 2]}, {}]},
    {"instances": [{"input": [1, 2]}, [1, 2]]}, {"instances": [[1, 2], {"input": [1, 2]}]}, {"inputs": None},
    {"inputs": {}}, {"inputs": []}, {"inputs": "text"}, {"inputs": {"input": [[1, 2]], "more": [[1, 2]]}},
    {"inputs": {"input": [[[1, 2]]]}}, {"instances": [[1, 2]], "inputs": [[1, 2]]}, {"data": [[1, 2]]}, {}, [], None,
    {"instances": [[1, 2]], "signature_name": "other"}, {"instances": [{"b64": "AAAA"}]}, {"instances": [{"b64": 1}]},
    {"instances": [True]}, {"instances": [[[1, 2], [3, 4]]]},
]  # fmt: skip

BAD: tuple[Bad, ...] = (
    *(Bad(f"text-{number}", text) for number, text in enumerate(_TEXTS)),
    *(Bad(f"rows-text-{number}", text, PREDICT) for number, text in enumerate(_TEXTS[:12])),
    *(_infer(f"shape-{number}", _tensor(shape=shape)) for number, shape in enumerate(_SHAPES)),
    *(_infer(f"datatype-{number}", _tensor(datatype=one)) for number, one in enumerate(_DATATYPES)),
    *(_infer(f"data-{number}", _tensor(data=data)) for number, data in enumerate(_DATA)),
    *(_infer(f"without-{name}", _without(name)) for name in ("name", "shape", "datatype", "data")),
    *(_infer(f"name-{number}", _tensor(name=name)) for number, name in enumerate(_NAMES)),
    _infer("twice", _tensor(), _tensor()),
    _infer("another-input", _tensor(), _tensor(name="more")),
    _infer("many-inputs", *(_tensor(name=str(number)) for number in range(400))),
    _infer("fractions-as-whole-numbers", _tensor(datatype="INT64", data=[1.5, 2])),
    _infer("beyond-the-type", _tensor(datatype="INT8", data=[300, 2])),
    _infer("negative-without-sign", _tensor(datatype="UINT8", data=[-1, 2])),
    _infer("neither-true-nor-false", _tensor(datatype="BOOL", data=[2, 0])),
    _infer("unknown-output", _tensor(), outputs=[{"name": "other"}]),
    _infer("outputs-of-no-kind", _tensor(), outputs=[1]),
    _infer("id-of-no-kind", _tensor(), id=7),
    _infer("parameters-of-no-kind", _tensor(), parameters=[]),
    *(
        _binary(label, size, raw)
        for label, size, raw in (
            ("short", 16, b"\x00" * 15), ("long", 16, b"\x00" * 17), ("none", 16, b""), ("negative", -1, b""),
            ("true", True, b"\x00"), ("text", "16", b"\x00" * 16), ("huge", 2**62, b"\x00" * 16),
            ("other-size", 8, b"\x00" * 8), ("fraction", 1.5, b"\x00" * 16),
        )
    ),
    *(_binary(f"header-{number}", 16, b"\x00" * 16, header) for number, header in enumerate(
        ("-1", "0", "1", "99999999", "9" * 40, "x", "", "1.5", "0x10", "٣")[:9]
    )),
    _binary("and-data", 16, b"\x00" * 16, data=[1, 2]),
    _binary("texts-that-lie", 8, struct.pack("<II", 2**31, 0), datatype="BYTES", shape=[1, 2]),
    _binary("texts-that-end", 5, struct.pack("<IB", 1, 65), datatype="BYTES", shape=[1, 2]),
    *(Bad(f"rows-{number}", msgspec.json.encode(rows), PREDICT) for number, rows in enumerate(_ROWS)),
)  # fmt: skip

_GOOD = msgspec.json.encode({"inputs": [_tensor()]})
PATHS: tuple[Bad, ...] = tuple(
    Bad(f"path-{number}", _GOOD, path)
    for number, path in enumerate(
        itertools.chain(
            ("/", "/v2/models/other/infer", "/v2/models/small/versions/9/infer", "/v2/models/small/versions/x/infer"),
            ("/v2/models/small/versions/-1/infer", "/v2/models/small/versions/99999999999999999999/infer"),
            ("/v2/models//infer", "/v2/models/..%2f..%2fetc/infer", "/v1/models/other:predict"),
            ("/v1/models/small:explain", "/v1/models/small/labels/a:predict", "/v2/models/%00/infer"),
            ("/v2/models/small/infer/more", "/v3/models/small/infer"),
            ("/v2/repository/models/small/unload", "/%ff%fe", "/v2/models/" + "a" * 5000 + "/infer"),
        )
    )
)  # fmt: skip
