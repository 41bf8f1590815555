"""A version whose server is another process, as a router sees it: asked over HTTP, by binary tensors.

It stands where a pool of workers stands in a server that loads models itself. Requests are sent again when a server
goes away with them, as in a pool: pods are replaced without anybody's request being lost.
"""

from __future__ import annotations

import asyncio
import math
import time
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
import numpy as np

from nbkube.decoding import from_json
from nbkube.models.model import ModelVersion
from nbkube.models.tensors import DATATYPES, Array, datatype_of, from_example
from nbkube.serving.connection import Connection
from nbkube.serving.faults import RequestError
from nbkube.serving.model import Limits
from nbkube.serving.pool import StartError
from nbkube.serving.protocol import HEADER_LENGTH, as_bytes, from_bytes
from nbkube.serving.runtimes import Dialect

START_SECONDS = 120.0
_CONNECT_SECONDS = 1.0
_AGE = 2.0
"""Seconds after which a connection is replaced, so that pods that an autoscaler adds get their share."""
_PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4)
_LOST = (OSError, EOFError, asyncio.LimitOverrunError, ValueError)


class _Output(msgspec.Struct):
    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] = {}


class _Answer(msgspec.Struct):
    outputs: list[_Output]


class Upstream:
    """The server of one version.

    Args:
        url: its address.
        version: what it serves.
        limits: how long an answer may take.
        token: is sent along, "" for none.
        dialect: v1 for TensorFlow Serving's REST, else the Open Inference Protocol.
    """

    def __init__(
        self, url: str, version: ModelVersion, limits: Limits, token: str = "", dialect: Dialect = "v2"
    ) -> None:
        self.version = version
        self.processes: dict[int, Any] = {}
        self._limits = limits
        self._token = token
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._dialect = dialect
        place = f"models/{version.name}/versions/{version.version}"
        self._path = f"/v1/{place}:predict" if dialect == "v1" else f"/v2/{place}/infer"
        self._free: list[tuple[Connection, float]] = []
        self._closing = False
        self._own = False
        """Whether the server is nbkube's: it says so in each answer, errors included."""
        self.waiting = 0
        signature = version.signature
        self._texts = {one.name for one in (*signature.outputs, *signature.optional) if one.text}

    async def start(self) -> None:
        """Return when the server has answered the version's example.

        Raises:
            StartError: it does not answer, or answers with an error.
        """
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                await self.predict(from_example(self.version.example), ())
                return
            except RequestError as error:
                if error.status not in (503, 504) or time.monotonic() > until:
                    raise StartError(f"its server says: {error}") from None

    async def close(self) -> None:
        """Close the connections."""
        self._closing = True
        for connection, _ in self._free:
            connection.close()
        self._free.clear()

    async def predict(self, inputs: dict[str, Array], wanted: tuple[str, ...]) -> dict[str, Array]:
        """Return the outputs for some examples.

        Raises:
            RequestError: the model does not take the input, or takes too long.
        """
        self.waiting += 1
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._asked(self._request(inputs, wanted))
        except TimeoutError:
            raise RequestError(f"the model has not answered within {self._limits.seconds:g} s.", 504) from None
        finally:
            self.waiting -= 1

    async def _asked(self, request: bytes) -> dict[str, Array]:
        tries = 0
        while True:
            connection, opened = self._free.pop() if self._free else (self._connection(), time.monotonic())
            reused = connection.is_open
            try:
                status, headers, body = await connection.send(request)
            except _LOST:
                status, headers, body = 0, {}, b""
            except BaseException:
                connection.close()
                raise
            # The address of a pod that has gone may be another one's already, of whatever kind, and the node has yet to
            # learn it: such a one does not know the path (404), or is none of ours.
            own = headers.get("server") == "nbkube"
            lost = status in (0, 404, 503) or (self._own and not own)
            # Another try takes a new connection: it may lead to another pod.
            if connection.is_open and not lost and not self._closing and time.monotonic() - opened < _AGE:
                self._free.append((connection, opened))
            else:
                connection.close()
            if status == 200 and not lost:
                self._own = own
                return self._read(body, headers.get(HEADER_LENGTH.lower(), ""))
            if not lost:
                raise RequestError(_error(body), status)
            if status or not reused:  # an old connection that ends says nothing of the server
                await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
                tries += 1

    def _connection(self) -> Connection:
        return Connection(self._host, self._port, _CONNECT_SECONDS)

    def _request(self, inputs: Mapping[str, Array], wanted: tuple[str, ...]) -> bytes:
        if self._dialect == "v1":
            columns = {name: as_rows(array) for name, array in inputs.items()}
            return self._post(["Content-Type: application/json"], msgspec.json.encode({"inputs": columns}))
        tensors, tail = [], []
        for name, array in inputs.items():
            raw = as_bytes(array)
            tail.append(raw)
            size = {"binary_data_size": len(raw)}
            tensors.append({"name": name, "shape": array.shape, "datatype": datatype_of(array), "parameters": size})
        body: dict[str, Any] = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        if wanted:
            body["outputs"] = [{"name": name} for name in (*(o.name for o in self.version.signature.outputs), *wanted)]
        text = msgspec.json.encode(body)
        lines = ["Content-Type: application/octet-stream", f"{HEADER_LENGTH}: {len(text)}"]
        return self._post(lines, b"".join((text, *tail)))

    def _post(self, headers: list[str], body: bytes) -> bytes:
        lines = [f"POST {self._path} HTTP/1.1", f"Host: {self._host}", *headers, f"Content-Length: {len(body)}"]
        if self._token:
            lines.append(f"Authorization: Bearer {self._token}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    def _read(self, body: bytes, header: str) -> dict[str, Array]:
        try:
            return self._outputs(body, header)
        except (RequestError, msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            raise RequestError(f"the version's server gave an answer that cannot be read: {error}", 502) from None

    def _outputs(self, body: bytes, header: str) -> dict[str, Array]:
        if self._dialect == "v1":
            specs = self.version.signature.outputs
            outputs = msgspec.json.decode(body)["outputs"]
            columns = outputs if isinstance(outputs, dict) else {specs[0].name: outputs}
            return {one.name: from_rows(columns[one.name], one.datatype) for one in specs}
        length = int(header) if header.isdigit() else len(body)
        found: dict[str, Array] = {}
        rest = memoryview(body)[length:]
        for one in from_json(body[:length], _Answer).outputs:
            size = int(one.parameters.get("binary_data_size", 0))
            if one.datatype not in DATATYPES and one.datatype != "BYTES":
                raise ValueError(f"the datatype {one.datatype!r}")
            array = from_bytes(one.datatype, one.shape, math.prod(one.shape), rest[:size], one.name)
            rest = rest[size:]
            found[one.name] = _texts(array) if one.datatype == "BYTES" and one.name in self._texts else array
        return found


def as_rows(array: Array) -> Any:
    """Return an array as TensorFlow Serving takes it: nested lists, bytes in base64."""
    if array.dtype.kind != "O":
        return array.tolist()
    coded = [one if isinstance(one, str) else {"b64": b64encode(one).decode("ascii")} for one in array.flat]
    return nested(coded, list(array.shape))


def from_rows(rows: Any, datatype: str) -> Array:
    """Return what TensorFlow Serving has answered as an array."""
    return np.array(rows, dtype=object if datatype == "BYTES" else DATATYPES[datatype])


def nested(flat: list[Any], shape: list[int]) -> list[Any]:
    """Return flat data in the form of its shape."""
    for size in reversed(shape[1:]):
        flat = [flat[at : at + size] for at in range(0, len(flat), size)] if size else [[] for _ in range(shape[0])]
    return flat


def _texts(array: Array) -> Array:
    out = np.empty(array.size, dtype=object)
    out[:] = [one.decode("utf-8", "replace") for one in array.flat]
    return out.reshape(array.shape)


def _error(body: bytes) -> str:
    try:
        return str(msgspec.json.decode(body)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return body[:200].decode("utf-8", "replace") or "the version's server gave no reason"
