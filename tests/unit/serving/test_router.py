"""A router of our own server before servers of versions, all on this machine: the pods of a cluster without one."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import msgspec
import pytest

from nbkube.errors import DamagedObjectError
from nbkube.models import ModelRegistry
from nbkube.models.copying import copy_version, mirror
from nbkube.serving.local import LocalEndpoints
from nbkube.serving.model import Endpoint, Routing, ServerTask
from nbkube.storage import open_store
from tests.serving import ask, constant, function_model, task_of
from tests.unit.serving.bad_requests import BAD, PATHS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STRICT = (
    "def predict(texts):\n    return {'upper': [one.upper() for one in texts], 'size': [len(one) for one in texts]}"
)
PATH = "/v1/models/small:predict"


@contextlib.contextmanager
def routed(folder: Path, name: str, *versions: int) -> Iterator[tuple[LocalEndpoints, Endpoint]]:
    """Serve versions, each by a server of its own at 127.0.0.VERSION and one port, and a router before them."""
    router = LocalEndpoints(folder / "router")
    with contextlib.ExitStack() as stack:
        port = 0
        for version in versions:
            server = LocalEndpoints(folder / f"server-{version}")
            task = task_of(folder, name, version, host=f"127.0.0.{version}", port=port, workers=1)
            port = urlsplit(server.start(task).url).port or 0
            stack.callback(server.stop, name)
        upstream = f"http://127.0.0.{{version}}:{port}"
        endpoint = router.start(ServerTask(name, open_store(folder).url, Routing(versions[0]), upstream=upstream))
        stack.callback(router.stop, name)
        yield router, endpoint


def test_versions_behind_a_router(tmp_path: Path) -> None:
    for number in (1, 2):
        constant(tmp_path, "small", number)
    with routed(tmp_path, "small", 1, 2) as (router, endpoint):
        rows = {"instances": [[1.0, 2.0], [3.0, 4.0]]}
        reply = ask(endpoint, "POST", PATH, rows)
        assert (reply.json, reply.headers["nbkube-model-version"]) == ({"predictions": [1.0, 1.0]}, "1")
        router.order("small", "switch", version=2)
        assert ask(endpoint, "POST", PATH, rows).json == {"predictions": [2.0, 2.0]}
        router.order("small", "shadow", version=1)
        assert ask(endpoint, "POST", PATH, rows).json == {"predictions": [2.0, 2.0]}
        while router.order("small", "status")[1].differing < 1:
            time.sleep(0.01)  # the test's own time limit ends it
        router.order("small", "rollback")
        assert ask(endpoint, "POST", PATH, rows).json == {"predictions": [1.0, 1.0]}
        for bad in (*BAD, *PATHS):
            assert 400 <= ask(endpoint, "POST", bad.path, bad.body, dict(bad.headers)).status < 500, bad


class Stranger(BaseHTTPRequestHandler):
    """What may be found at the address of a pod that has gone: a server of another kind."""

    asked: ClassVar[int] = 0

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        Stranger.asked += 1
        self.send_response(400)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_what_a_stranger_says_at_the_address_of_a_version_is_no_answer(tmp_path: Path) -> None:
    constant(tmp_path, "small", 1)
    server = LocalEndpoints(tmp_path / "server")
    router = LocalEndpoints(tmp_path / "router")
    url = server.start(task_of(tmp_path, "small", 1, workers=1)).url
    port = urlsplit(url).port or 0
    routing = ServerTask("small", open_store(tmp_path).url, Routing(1), upstream=f"http://127.0.0.1:{port}")
    endpoint = router.start(routing)
    try:
        assert ask(endpoint, "POST", PATH, {"instances": [[1.0, 2.0]]}).status == 200
        server.stop("small")
        with ThreadPoolExecutor(1) as pool:
            with HTTPServer(("127.0.0.1", port), Stranger) as stranger:
                thread = threading.Thread(target=stranger.serve_forever)
                thread.start()
                asking = pool.submit(ask, endpoint, "POST", PATH, {"instances": [[1.0, 2.0]]})
                while Stranger.asked < 2:
                    time.sleep(0.01)  # the test's own time limit ends it
                stranger.shutdown()
                thread.join()
            server.start(task_of(tmp_path, "small", 1, port=port, workers=1))
            assert asking.result().json == {"predictions": [1.0]}
    finally:
        router.stop("small")
        server.stop("small")


def test_texts_stay_texts_behind_a_router(tmp_path: Path) -> None:
    function_model(tmp_path, "small", STRICT, ["a", "bc"])
    with routed(tmp_path, "small", 1) as (_, endpoint):
        answer = ask(endpoint, "POST", PATH, {"instances": ["good", "ü"]}).json
        assert answer == {"predictions": [{"upper": "GOOD", "size": 4}, {"upper": "Ü", "size": 1}]}


def test_a_version_is_copied_by_its_digests(tmp_path: Path) -> None:
    constant(tmp_path / "here", "small", 1)
    second = constant(tmp_path / "here", "small", 2)
    here, there = open_store(tmp_path / "here"), open_store(tmp_path / "there")
    copied = copy_version(here, there, second)
    assert (copied.version, copied.digest) == (1, second.digest)
    assert copy_version(here, there, second) == copied  # the same again is no new version
    kept = mirror(here, open_store(tmp_path / "pod"), "small", 2)
    assert ModelRegistry(open_store(tmp_path / "pod")).get("small") == kept == second
    poisoned = next(iter((*second.files, *second.objects)))
    blob = here.local_path(poisoned.digest)
    blob.chmod(0o600)
    blob.write_bytes(b"nothing")
    with pytest.raises(DamagedObjectError, match="was changed since it was registered"):
        mirror(here, open_store(tmp_path / "other"), "small", 2)
    assert msgspec.to_builtins(ModelRegistry(there).get("small")) == msgspec.to_builtins(copied)
