"""Asking an endpoint: from values to a request, from an answer to values. Needs nothing but the standard library."""

from __future__ import annotations

import http.client
import time
import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nbkube.errors import NbkubeError
from nbkube.serving.local import ServingError

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8)
_LONGEST = 5.0
"""Seconds that a server may ask for before it is tried again."""


class PredictionError(NbkubeError):
    """The endpoint does not take the input; the message is its own."""


def post(
    url: str, body: bytes, *, token: str = "", headers: Mapping[str, str] | None = None, seconds: float = 60.0
) -> Any:
    """Send JSON and return the JSON that comes back.

    Refused and broken connections are tried again a few times, and so is 503, what a server says that is going away or
    has too much to do: after as many seconds as its `Retry-After` asks for (RFC 9110, 10.2.3), at most 5.

    Raises:
        PredictionError: the answer is 4xx.
        ServingError: nobody answers, or the answer is 5xx.
    """
    parts = urlsplit(url)
    sent = {"Content-Type": "application/json", **(headers or {})}
    if token:
        sent["Authorization"] = f"Bearer {token}"
    fault: Exception | None = None
    for pause in (*_PAUSES, None):
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(parts.hostname or "", parts.port, timeout=seconds)
        asked = 0.0
        try:
            connection.request("POST", parts.path, body, sent)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            fault = error
        else:
            if response.status != 503:
                return _answer(response.status, data)
            fault = ServingError(_error(data))
            asked = _seconds(response.getheader("Retry-After", ""))
        finally:
            connection.close()
        if pause is not None:
            time.sleep(max(pause, asked))
    raise ServingError(f"{url} does not answer: {fault}")


def _answer(status: int, data: bytes) -> Any:
    if status >= 500:
        raise ServingError(_error(data))
    if status >= 400:
        raise PredictionError(_error(data))
    return msgspec.json.decode(data)


def _seconds(header: str) -> float:
    """Return how long a server asks to wait; 0 for what names no seconds."""
    return min(float(header), _LONGEST) if header.isascii() and header.isdigit() else 0.0


def _error(data: bytes) -> str:
    try:
        return str(msgspec.json.decode(data)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return data[:200].decode("utf-8", "replace") or "no reason was given"


def infer_url(url: str, name: str, version: int | None = None) -> str:
    """Return the address for inference."""
    return f"{url}/v2/models/{name}" + (f"/versions/{version}" if version else "") + "/infer"


def predict_url(url: str, name: str, version: int | None = None) -> str:
    """Return the address of TensorFlow Serving's interface, which takes plain rows."""
    return f"{url}/v1/models/{name}" + (f"/versions/{version}" if version else "") + ":predict"


def body_of(value: Any) -> tuple[bytes, bool]:
    """Return a request's body, and whether it is one of the Open Inference Protocol (else rows or columns).

    `value` is a whole request of either protocol, a list of tensors, rows, or an array or table with `tolist` or
    `to_dict`.
    """
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        value = value.to_dict("records")
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        if _are_tensors(value.get("inputs")):
            return msgspec.json.encode({"id": str(uuid.uuid4()), **value}), True
        if "instances" in value or "inputs" in value:
            return msgspec.json.encode(value), False
        return msgspec.json.encode({"inputs": value}), False
    if _are_tensors(value):
        return msgspec.json.encode({"id": str(uuid.uuid4()), "inputs": value}), True
    rows = value if isinstance(value, list | tuple) else [value]
    return msgspec.json.encode({"instances": rows}, enc_hook=_plain), False


def _are_tensors(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and isinstance(value[0], dict) and "datatype" in value[0]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise NotImplementedError
