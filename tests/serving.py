"""Models and endpoints for tests: cheap functions as models, servers in processes of their own."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from nbkube.models import ModelVersion
from nbkube.models.exporter import ExportTask
from nbkube.models.publish import _registered
from nbkube.serving.local import LocalEndpoints
from nbkube.serving.model import Endpoint, Routing, ServerTask
from nbkube.state.namespace import Namespace
from nbkube.state.publish import publish
from nbkube.storage import ObjectStore, open_store

FOURFOLD = "def predict(rows):\n    return rows.sum(axis=1) * 0 + {}"


def function_model(folder: Path, name: str, source: str, example: Any, entry: str = "predict") -> ModelVersion:
    """Register a function, given by its source, as a model in the store of a folder."""
    return function_of(open_store(folder), name, source, example, entry)


def function_of(store: ObjectStore, name: str, source: str, example: Any, entry: str = "predict") -> ModelVersion:
    """Register a function, given by its source, as a model in a store."""
    space = Namespace({}, store)
    exec(compile(source, "<test>", "exec"), space)
    task = ExportTask(store.url, name, source=entry, bindings=publish(space).outputs, given=example)
    return _registered(store, task)


def constant(folder: Path, name: str, number: int) -> ModelVersion:
    """Register a model that takes rows of two numbers and answers with a number of its own."""
    return constant_of(open_store(folder), name, number)


def constant_of(store: ObjectStore, name: str, number: int) -> ModelVersion:
    """Register such a model in a store."""
    return function_of(store, name, FOURFOLD.format(number), {"input": [[1.0, 2.0]]})


def task_of(folder: Path, name: str, version: int = 1, **more: Any) -> ServerTask:
    """Return what a server of a model in a folder is started with."""
    return ServerTask(name, open_store(folder).url, Routing(version), **more)


@contextlib.contextmanager
def serving(folder: Path, name: str, version: int = 1, **more: Any) -> Iterator[tuple[LocalEndpoints, Endpoint]]:
    """Serve a model of a folder's store until the end of the block."""
    endpoints = LocalEndpoints(folder / "work")
    endpoint = endpoints.start(task_of(folder, name, version, **more))
    try:
        yield endpoints, endpoint
    finally:
        endpoints.stop(name)


class Reply(msgspec.Struct):
    """An answer over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


def ask(
    endpoint: Endpoint, method: str, path: str, body: bytes | Any = b"", headers: Mapping[str, str] | None = None
) -> Reply:
    """Send a request; a body that is no bytes is sent as JSON."""
    parts = urlsplit(endpoint.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        connection.request(method, path, raw, dict(headers or {}))
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, found, response.read())
    finally:
        connection.close()
