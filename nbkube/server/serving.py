"""Routes about models and endpoints: each calls `Client` once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import msgspec

from nbkube.client import Client
from nbkube.errors import NbkubeError
from nbkube.models import ModelVersion, Tensor
from nbkube.server import serving_model as wire
from nbkube.server.model import InProject
from nbkube.server.service import Service
from nbkube.server.views import plain
from nbkube.serving.model import Endpoint, Statistics
from nbkube.serving.upstream import nested

_LATENCIES = 120
_VERSIONS = 50


def models(service: Service, query: InProject) -> wire.ModelList:
    """List the models of a project and its endpoints."""
    client = service.client(query)
    endpoints = tuple(_endpoint(client, one) for one in client.endpoints())
    try:
        known = client.models()
    except NbkubeError as error:
        return wire.ModelList(models=(), endpoints=endpoints, fault=str(error))
    rows = tuple(
        wire.ModelRow(name=name, versions=tuple(_version(one) for one in reversed(found[-_VERSIONS:])))
        for name, found in known.items()
    )
    return wire.ModelList(models=rows, endpoints=endpoints)


def serve(service: Service, body: wire.ServeBody) -> wire.EndpointRow:
    """Serve a version of a model; answers once it has predicted its example."""
    client = service.client(body)
    client.serve(body.name, body.version or None, workers=body.workers, trust=body.trust)
    return _row(client, body.name)


def stop(service: Service, body: wire.EndpointBody) -> wire.EndpointRow:
    """Let an endpoint finish what it has and end."""
    return _as_row(service.client(body).stop_endpoint(body.name), Statistics())


def rollback(service: Service, body: wire.EndpointBody) -> wire.EndpointRow:
    """Go back to the version that answered before, or away from a canary."""
    client = service.client(body)
    client.rollback_endpoint(body.name)
    return _row(client, body.name)


def canary(service: Service, body: wire.EndpointBody) -> wire.EndpointRow:
    """Let another version answer a share of the requests."""
    client = service.client(body)
    client.canary(body.name, body.version, body.share)
    return _row(client, body.name)


def predict(service: Service, body: wire.PredictBody) -> wire.Prediction:
    """Ask an endpoint."""
    try:
        given = msgspec.json.decode(body.data)
    except msgspec.DecodeError as error:
        raise NbkubeError(f"what is to be sent is no JSON: {error}. Fix: write a list of rows.") from None
    started = time.perf_counter()
    answer = service.client(body).predict(body.name, given)
    seconds = time.perf_counter() - started
    return wire.Prediction(answer=msgspec.json.encode(answer).decode(), seconds=seconds)


def _row(client: Client, name: str) -> wire.EndpointRow:
    return _as_row(*client.endpoint(name))


def _endpoint(client: Client, endpoint: Endpoint) -> wire.EndpointRow:
    if endpoint.phase == "Ready":
        with contextlib.suppress(NbkubeError):
            return _as_row(*client.endpoint(endpoint.name))
    return _as_row(endpoint, Statistics())


def _as_row(endpoint: Endpoint, known: Statistics) -> wire.EndpointRow:
    routing = endpoint.routing
    answers = [(status, count) for found in known.answers.values() for status, count in found.items()]
    return wire.EndpointRow(
        name=endpoint.name,
        version=endpoint.version,
        url=endpoint.url,
        phase=endpoint.phase,
        started=endpoint.started,
        canary=routing.canary.version if routing.canary else 0,
        share=routing.canary.share if routing.canary else 0.0,
        shadow=routing.shadow or 0,
        previous=routing.previous or 0,
        answers=sum(count for _, count in answers),
        faults=sum(count for status, count in answers if status != "200"),
        latencies=tuple(round(one, 6) for one in known.latencies[-_LATENCIES:]),
        message=endpoint.message,
        authenticated=endpoint.authenticated,
    )


def _version(one: ModelVersion) -> wire.VersionRow:
    return wire.VersionRow(
        version=one.version,
        format=one.format,
        created=one.created,
        size=one.size,
        digest=one.digest,
        run=one.run,
        step=one.step,
        source=one.source,
        metrics=plain(one.metrics),
        takes=_described(one.signature.inputs),
        gives=_described((*one.signature.outputs, *one.signature.optional)),
        example=_rows(one),
        runs_code=one.runs_code,
    )


def _described(tensors: Iterable[Tensor]) -> tuple[str, ...]:
    shapes = ((one, ", ".join("any" if size == -1 else str(size) for size in one.shape)) for one in tensors)
    return tuple(f"{one.name}: {one.datatype} [{shape}]" for one, shape in shapes)


def _rows(one: ModelVersion) -> str:
    """Return the example as a person would type it: rows, one by one."""
    columns = {tensor["name"]: nested(tensor["data"], tensor["shape"]) for tensor in one.example}
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    elif one.signature.batched:
        rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    else:
        return msgspec.json.encode({"inputs": columns}).decode()
    return "[" + ",\n ".join(msgspec.json.encode(row).decode() for row in rows) + "]"
