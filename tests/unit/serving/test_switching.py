"""Versions change under load: nobody's request is lost, and no old version answers after a switch has returned.

`SOAK=1` does it at full size: 200 requests a second for at least 60 seconds.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

import msgspec
import pytest

from nbkube.errors import NotFoundError
from nbkube.serving.journal import history
from nbkube.serving.load import Answer, OpenLoop, request_of
from nbkube.serving.local import LocalEndpoints, ServingError
from nbkube.serving.model import Endpoint
from nbkube.serving.requests import predict_url
from nbkube.storage import open_store
from tests.serving import ask, constant, serving

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SOAK = os.environ.get("SOAK") == "1"
RATE = 200.0 if SOAK else 100.0
ROUNDS = 20 if SOAK else 3
SECONDS = 60.0
BODY = msgspec.json.encode({"instances": [[1.0, 2.0]]})
PATH = "/v1/models/small:predict"


Headers = Callable[[int], list[tuple[str, str]]]


def under_load(endpoint: Endpoint, work: Callable[[], None], headers: Headers) -> list[Answer]:
    """Do something while requests come at a steady rate; return all answers."""
    url = predict_url(endpoint.url, endpoint.name)
    loop = OpenLoop(url, lambda number: request_of(url, BODY, headers=headers(number)), keep=True)
    ended = threading.Event()

    async def run() -> None:
        while not ended.is_set() or (SOAK and len(loop.answers) < RATE * SECONDS):
            await loop.run(RATE, 1.0)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        work()
    finally:
        ended.set()
        thread.join()
    return loop.answers


def test_no_request_is_lost_while_versions_change_and_workers_die(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    for number in (1, 2, 3):
        constant(tmp_path, "small", number)
    with serving(tmp_path, "small") as (endpoints, endpoint):

        def answered(version: int) -> None:
            """After an order has returned, only its version answers."""
            for _ in range(5):
                reply = ask(endpoint, "POST", PATH, BODY)
                assert reply.json == {"predictions": [float(version)]}
                assert reply.headers["nbkube-model-version"] == str(version)

        def change() -> None:
            for turn in range(ROUNDS):
                version = 2 + turn % 2
                before = endpoints.get("small").version
                endpoints.order("small", "switch", version=version)
                answered(version)
                endpoints.order("small", "rollback")
                answered(before)
                endpoints.order("small", "switch", version=version)
                worker = endpoints.order("small", "status")[1].processes[0]
                os.kill(worker, signal.SIGKILL)
                answered(version)

        began = time.monotonic()
        answers = under_load(endpoint, change, lambda _: [])
        took = time.monotonic() - began
        record_property("requests a second", round(len(answers) / took))
        assert len(answers) >= RATE
        assert [(one.status, one.body) for one in answers if one.status != 200] == []
        wrong = [one for one in answers if msgspec.json.decode(one.body) != {"predictions": [float(one.version)]}]
        assert wrong == []
        print(f"{len(answers)} requests in {took:.0f} s, slowest {max(one.seconds for one in answers):.3f} s")  # noqa: T201
    actions = [one.action for one in history(open_store(tmp_path), "small")]
    assert actions[0] == "started"
    assert actions.count("rolled back") == ROUNDS
    assert actions[-1] == "stopped"


def test_requests_in_pieces_and_several_at_once_while_workers_end_and_versions_change(tmp_path: Path) -> None:
    """Cut at each byte, with a worker killed or another version between the pieces; then many in one piece."""
    for number in (1, 2):
        constant(tmp_path, "small", number)
    with serving(tmp_path, "small", workers=1) as (endpoints, endpoint):
        whole = request_of(predict_url(endpoint.url, "small"), BODY)
        parts = urlsplit(endpoint.url)
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=120) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            answers = connection.makefile("rb")
            version = 1
            for cut in range(1, len(whole)):
                connection.sendall(whole[:cut])
                if cut % 40 == 0:
                    os.kill(endpoints.order("small", "status")[1].processes[0], signal.SIGKILL)
                elif cut % 20 == 0:
                    version = 3 - version
                    endpoints.order("small", "switch", version=version)
                connection.sendall(whole[cut:])
                assert answer_from(answers) == (200, {"predictions": [float(version)]})
            os.kill(endpoints.order("small", "status")[1].processes[0], signal.SIGKILL)
            connection.sendall(whole * 50)
            assert [answer_from(answers) for _ in range(50)] == [(200, {"predictions": [float(version)]})] * 50


def answer_from(stream: IO[bytes]) -> tuple[int, object]:
    """Read one answer of a connection that goes on after it."""
    status = int(stream.readline().split(b" ")[1])
    headers = http.client.parse_headers(stream)
    return status, msgspec.json.decode(stream.read(int(headers["Content-Length"])))


def test_canary_sticky_callers_and_shadow(tmp_path: Path) -> None:
    for number in (1, 2):
        constant(tmp_path, "small", number)
    with serving(tmp_path, "small", workers=1) as (endpoints, endpoint):
        changed, _ = endpoints.order("small", "canary", version=2, share=0.1)
        assert changed.routing.canary is not None

        async def ask_many(count: int, headers: Callable[[int], list[tuple[str, str]]]) -> list[Answer]:
            url = predict_url(endpoint.url, "small")
            loop = OpenLoop(url, lambda number: request_of(url, BODY, headers=headers(number)))
            await loop.run(2000.0, count / 2000.0)
            return loop.answers

        plain = asyncio.run(ask_many(5000, lambda _: []))
        assert [one for one in plain if one.status != 200] == []
        assert 0.08 <= sum(one.version == "2" for one in plain) / 5000 <= 0.12

        endpoints.order("small", "canary", version=2, share=0.3, sticky="X-User")
        callers = {number: f"user-{number % 50}" for number in range(1000)}
        found: dict[str, set[str]] = {}
        for one, number in ((ask(endpoint, "POST", PATH, BODY, {"X-User": callers[n]}), n) for n in range(200)):
            found.setdefault(callers[number], set()).add(one.headers["nbkube-model-version"])
        assert all(len(versions) == 1 for versions in found.values())
        assert {version for versions in found.values() for version in versions} == {"1", "2"}

        assert endpoints.order("small", "rollback")[0].routing.canary is None
        endpoints.order("small", "shadow", version=2)
        for _ in range(20):
            assert ask(endpoint, "POST", PATH, BODY).json == {"predictions": [1.0]}
        while endpoints.order("small", "status")[1].shadowed < 20:
            time.sleep(0.01)  # the test's own time limit ends it
        assert endpoints.order("small", "status")[1].differing == 20
    store = open_store(tmp_path)
    logged = [line for name in store.list("endpoints/small/differences/") for line in (store.read(name) or b"").split()]
    assert len(logged) == 20


def test_a_version_that_cannot_be_loaded_changes_nothing(tmp_path: Path) -> None:
    constant(tmp_path, "small", 1)
    poisoned = constant(tmp_path, "small", 2)
    blob = open_store(tmp_path).local_path(poisoned.files[0].digest)
    with serving(tmp_path, "small", workers=1) as (endpoints, endpoint):
        blob.chmod(0o600)
        blob.write_bytes(b"nothing")
        with pytest.raises(ServingError, match="small version 2 cannot be served"):
            endpoints.order("small", "switch", version=2)
        with pytest.raises(ServingError, match="small version 2 cannot be served"):
            endpoints.order("small", "canary", version=2, share=0.5)
        with pytest.raises(ServingError, match="has no version 7"):
            endpoints.order("small", "switch", version=7)
        with pytest.raises(ServingError, match="nothing to go back to"):
            endpoints.order("small", "rollback")
        assert ask(endpoint, "POST", PATH, BODY).json == {"predictions": [1.0]}
        assert endpoints.get("small").version == 1


def test_what_is_being_answered_is_finished_before_the_end(tmp_path: Path) -> None:
    from tests.serving import function_model

    source = "import time\ndef predict(rows):\n    time.sleep(float(rows.max()))\n    return rows.sum(axis=1)"
    function_model(tmp_path, "small", source, {"input": [[0.0, 0.0]]})
    with serving(tmp_path, "small", workers=1) as (endpoints, endpoint):
        replies: list[int] = []
        asking = threading.Thread(
            target=lambda: replies.append(ask(endpoint, "POST", PATH, {"instances": [[1.0, 0.5]]}).status)
        )
        asking.start()
        while not endpoints.order("small", "status")[1].waiting:
            time.sleep(0.005)
        endpoints.stop("small")
        asking.join()
        assert replies == [200]


def test_endpoints_of_a_project_are_listed(tmp_path: Path) -> None:
    endpoints = LocalEndpoints(tmp_path / "work")
    assert endpoints.all() == []
    for name in ("../other", "a\0b", "", "/etc"):
        with pytest.raises(NotFoundError, match="cannot name a model"):
            endpoints.stop(name)
