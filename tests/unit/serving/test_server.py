"""A real server with real workers, asked over HTTP."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from nbkube.errors import NotFoundError
from nbkube.serving.journal import history
from nbkube.serving.local import LocalEndpoints, ServingError
from nbkube.serving.model import Endpoint, Limits, RequestLog
from nbkube.serving.protocol import HEADER_LENGTH
from nbkube.storage import open_store
from nbkube.storage.seal import checked
from tests.serving import ask, constant, function_model, serving, task_of
from tests.unit.serving.bad_requests import BAD, PATHS

pytestmark = pytest.mark.timeout(300)

TENSOR = {"name": "input", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}
TOKEN = "a-token-of-more-than-sixteen-letters"
STRICT = """
def predict(rows):
    if rows.max() > 1e6:
        raise ValueError("too large")
    if rows.min() < -1e6:
        raise RuntimeError("broken")
    return rows.sum(axis=1)
"""
DEADLY = "import os\ndef predict(rows):\n    if rows.max() > 5:\n        os._exit(9)\n    return rows.sum(axis=1)"
SLOW = "import time\ndef predict(rows):\n    time.sleep(float(rows.max()))\n    return rows.sum(axis=1)"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("served")
    function_model(folder, "small", STRICT, {"input": [[1.0, 2.0]]})
    with serving(folder, "small") as (_, found):
        yield found


def test_health_and_metadata(endpoint: Endpoint) -> None:
    assert ask(endpoint, "GET", "/v2/health/live").json == {"live": True}
    assert ask(endpoint, "GET", "/v2/health/ready").json == {"ready": True}
    assert ask(endpoint, "GET", "/v2").json["extensions"] == ["binary_tensor_data", "model_versions"]
    found = ask(endpoint, "GET", "/v2/models/small").json
    assert found["versions"] == ["1"]
    assert found["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 2]}]
    assert ask(endpoint, "GET", "/v2/models/small/versions/1/ready").json == {"name": "small", "ready": True}
    status = ask(endpoint, "GET", "/v1/models/small").json["model_version_status"]
    assert [one["state"] for one in status] == ["AVAILABLE"]
    described = ask(endpoint, "GET", "/v1/models/small/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert described["serving_default"]["inputs"]["input"]["dtype"] == "DT_DOUBLE"


def test_both_protocols_answer(endpoint: Endpoint) -> None:
    reply = ask(endpoint, "POST", "/v2/models/small/infer", {"id": "a", "inputs": [TENSOR]})
    assert reply.json == {
        "model_name": "small", "model_version": "1", "id": "a",
        "outputs": [{"name": "output", "shape": [1], "datatype": "FP64", "data": [3.0]}],
    }  # fmt: skip
    assert reply.headers["nbkube-model-version"] == "1"
    assert ask(endpoint, "POST", "/v2/models/small/versions/1/infer", {"inputs": [TENSOR]}).status == 200
    rows = ask(endpoint, "POST", "/v1/models/small:predict", {"instances": [[1, 2], [3, 4]]})
    assert rows.json == {"predictions": [3.0, 7.0]}


def test_no_bad_request_is_answered_with_5xx(endpoint: Endpoint) -> None:
    assert len(BAD) + len(PATHS) >= 100
    for bad in (*BAD, *PATHS):
        reply = ask(endpoint, "POST", bad.path, bad.body, dict(bad.headers))
        assert 400 <= reply.status < 500, f"{bad.id}: {reply.status} {reply.body[:200]!r}"
        assert " " in reply.json["error"], bad.id
    assert ask(endpoint, "POST", "/v2/models/small/infer", {"inputs": [TENSOR]}).status == 200


def test_what_the_model_does_not_take_is_the_callers_fault(endpoint: Endpoint) -> None:
    reply = ask(endpoint, "POST", "/v1/models/small:predict", {"instances": [[1e9, 2]]})
    assert reply.status == 400
    assert "does not take this input: ValueError: too large. Expected: input FP64 [-1, 2]" in reply.json["error"]
    broken = ask(endpoint, "POST", "/v1/models/small:predict", {"instances": [[-1e9, 2]]})
    assert (broken.status, broken.json["error"]) == (500, "the model has failed: RuntimeError: broken")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD"])
def test_other_methods_are_refused(endpoint: Endpoint, method: str) -> None:
    assert ask(endpoint, method, "/v2/models/small/infer").status == 405


def test_metrics_count_what_was_answered(endpoint: Endpoint) -> None:
    ask(endpoint, "POST", "/v2/models/small/infer", {"inputs": [TENSOR]})
    text = ask(endpoint, "GET", "/metrics").body.decode()
    assert 'nbkube_requests_total{model="small",status="200",version="1"}' in text
    assert "nbkube_request_seconds_bucket" in text


def raw(endpoint: Endpoint, data: bytes) -> bytes:
    """Send bytes as they are and return all that comes back."""
    parts = urlsplit(endpoint.url)
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=30) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


@pytest.mark.parametrize(
    "data",
    [
        b"GET\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
        b"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nshort",
        b"POST /v2/models/small/infer HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)  # fmt: skip
def test_broken_http_does_no_harm(endpoint: Endpoint, data: bytes) -> None:
    answer = raw(endpoint, data)
    assert not answer or b" 4" in answer.split(b"\r\n")[0]
    assert ask(endpoint, "GET", "/v2/health/ready").status == 200


def test_limits_token_and_log(tmp_path: Path) -> None:
    function_model(tmp_path, "slow", SLOW, {"input": [[0.0, 0.0]]})
    limits = Limits(body=2000, seconds=2.0)
    log = RequestLog(share=1.0, most=2)
    with serving(tmp_path, "slow", limits=limits, log=log, token=TOKEN, workers=1) as (_, endpoint):
        allowed = {"Authorization": f"Bearer {TOKEN}"}
        fine: Any = {"instances": [[0.0, 0.5]]}
        path = "/v1/models/slow:predict"
        for wrong in ({}, {"Authorization": "Bearer nothing"}, {"Authorization": TOKEN}):
            reply = ask(endpoint, "POST", path, fine, wrong)
            assert reply.status == 401
            assert "wants a token" in reply.json["error"]
        assert ask(endpoint, "GET", "/v2/models/slow").status == 401
        assert ask(endpoint, "GET", "/v2/health/ready").status == 200
        assert ask(endpoint, "POST", path, fine, allowed).status == 200
        large = ask(endpoint, "POST", path, {"instances": [[0.0, 0.5]] * 500}, allowed)
        assert large.status == 413
        assert "Expected: at most 2000" in large.json["error"]
        packed = ask(endpoint, "POST", path, fine, {**allowed, "Content-Encoding": "gzip"})
        assert packed.status == 415
        late = ask(endpoint, "POST", path, {"instances": [[0.0, 60.0]]}, allowed)
        assert (late.status, late.json["error"]) == (504, "the model has not answered within 2 s.")
        while ask(endpoint, "POST", path, fine, allowed).status != 200:
            pass  # until there is a new worker; the test's own time limit ends it
        for _ in range(3):
            ask(endpoint, "POST", path, fine, allowed)
    store = open_store(tmp_path)
    kept = [line for name in store.list("endpoints/slow/requests/") for line in (store.read(name) or b"").splitlines()]
    assert 1 <= len(kept) <= 6  # two a minute, however many minutes it takes
    assert msgspec.json.decode(checked(kept[0]) or b"")["inputs"][0]["data"] == [0.0, 0.5]
    assert [one.action for one in history(store, "slow")] == ["started", "stopped"]


def test_a_request_that_kills_workers_is_given_up_and_others_are_answered(tmp_path: Path) -> None:
    function_model(tmp_path, "deadly", DEADLY, {"input": [[0.0, 1.0]]})
    with serving(tmp_path, "deadly") as (endpoints, endpoint):
        reply = ask(endpoint, "POST", "/v1/models/deadly:predict", {"instances": [[9.0, 1.0]]})
        assert reply.status == 500
        assert "has ended 3 times over this request" in reply.json["error"]
        assert ask(endpoint, "POST", "/v1/models/deadly:predict", {"instances": [[1.0, 1.0]]}).json == {
            "predictions": [2.0]
        }
        assert endpoints.order("deadly", "status")[1].restarts >= 3


def test_a_model_that_was_changed_is_not_served(tmp_path: Path) -> None:
    made = constant(tmp_path, "small", 1)
    blob = open_store(tmp_path).local_path(made.files[0].digest)
    blob.chmod(0o600)
    blob.write_bytes(blob.read_bytes()[:-1] + b"!")
    with pytest.raises(ServingError, match="small version 1 cannot be served.*its file function.json was changed"):
        LocalEndpoints(tmp_path / "work").start(task_of(tmp_path, "small"))


def test_an_endpoint_is_found_stopped_and_found_dead(tmp_path: Path) -> None:
    constant(tmp_path, "small", 1)
    endpoints = LocalEndpoints(tmp_path / "work")
    with pytest.raises(NotFoundError, match="small is not being served. Fix: nbkube serve small"):
        endpoints.get("small")
    first = endpoints.start(task_of(tmp_path, "small"))
    assert endpoints.get("small") == first
    assert endpoints.stop("small").phase == "Stopped"
    assert endpoints.stop("small").phase == "Stopped"
    second = endpoints.start(task_of(tmp_path, "small"))
    assert second.url == first.url  # the address stays
    assert second.process is not None
    workers = endpoints.order("small", "status")[1].processes
    os.kill(second.process.pid, signal.SIGKILL)
    until = time.monotonic() + 30
    while endpoints.all()[0].phase == "Ready" and time.monotonic() < until:
        time.sleep(0.01)
    assert endpoints.all()[0].phase == "Stopped"
    while any(os.path.exists(f"/proc/{pid}") for pid in workers) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)  # they end with their server


def test_the_socket_for_orders_belongs_to_this_user_alone(tmp_path: Path) -> None:
    constant(tmp_path, "small", 1)
    with serving(tmp_path, "small", workers=1) as (_, endpoint):
        assert os.stat(endpoint.control).st_mode & 0o077 == 0
        assert os.stat(os.path.dirname(endpoint.control)).st_mode & 0o077 == 0
        assert os.stat(tmp_path / "work" / "endpoints" / "small" / "endpoint.json").st_mode & 0o077 == 0
        assert ask(endpoint, "POST", "/", {"action": "stop"}).status == 404


def test_lying_lengths_in_headers(endpoint: Endpoint) -> None:
    body = msgspec.json.encode({"inputs": [TENSOR]})
    for value in ("100000000", "-5", "abc", "5"):
        reply = ask(endpoint, "POST", "/v2/models/small/infer", body, {HEADER_LENGTH: value})
        assert reply.status == 400
