"""On the cluster: a version gets a share of the requests, callers keep their version, a shadow gets copies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nbkube.serving.load import Answer, OpenLoop, request_of
from nbkube.serving.requests import predict_url
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.projects import project
from tests.cluster.test_serving import BODY, SMALL, SOAK, Shell
from tests.serving import constant_of

COUNT = 5000 if SOAK else 1000
RATE = 200.0 if SOAK else 100.0
CALLERS = 50


@pytest.fixture
def shell(bench: Bench, api: Api, namespace: str, serve_image: str, tmp_path: Path) -> Iterator[Shell]:
    with project(tmp_path / "work", bench, api, namespace, serve_image) as found:
        yield Shell(found)


def asked(url: str, count: int, headers: Callable[[int], list[tuple[str, str]]] = lambda _: []) -> list[Answer]:
    """Send requests at a steady rate; each is answered with 200."""
    loop = OpenLoop(url, lambda number: request_of(url, BODY, headers=headers(number)))
    asyncio.run(loop.run(RATE, count / RATE))
    assert len(loop.answers) == count
    assert [one for one in loop.answers if one.status != 200] == []
    return loop.answers


@pytest.mark.timeout(900)
def test_canary_sticky_callers_and_shadow(shell: Shell) -> None:
    store = shell.project.store()
    for number in (1, 2):
        constant_of(store, "small", number)
    shell.project.configure(image=shell.project.client().profile().image, more='serve.expose = "node-port"')
    served = shell.json("serve", "small", "--version", "1", "--detach", *SMALL)
    url = predict_url(served["url"], "small")
    client = shell.project.client()

    client.canary("small", 2, 0.1)
    share = sum(one.version == "2" for one in asked(url, COUNT)) / COUNT
    print(f"{share:.3f} of {COUNT} requests went to the canary")  # noqa: T201
    assert 0.08 <= share <= 0.12

    client.canary("small", 2, 0.3, sticky="X-User")
    versions: dict[int, set[str]] = {}
    for one in asked(url, 10 * CALLERS, lambda number: [("X-User", f"user-{number % CALLERS}")]):
        versions.setdefault(round(one.due * RATE) % CALLERS, set()).add(one.version)
    assert [found for found in versions.values() if len(found) > 1] == []
    assert {"1", "2"} == set().union(*versions.values())

    assert client.rollback_endpoint("small").routing.canary is None
    client.shadow("small", 2)
    assert {one.version for one in asked(url, 20)} == {"1"}
    while client.endpoint("small")[1].differing < 20:  # the test's own time limit ends it
        time.sleep(0.2)
    while _differences(shell) < 20:
        time.sleep(0.2)
    assert (client.endpoint("small")[1].differing, _differences(shell)) == (20, 20)
    client.stop_endpoint("small")


def _differences(shell: Shell) -> int:
    store = shell.project.store()
    logs = [store.read(name) or b"" for name in store.list("endpoints/small/differences/")]
    return sum(len(log.splitlines()) for log in logs)
