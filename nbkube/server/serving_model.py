"""Models and endpoints as they go over the wire."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from nbkube.server.model import InProject, Name


class VersionRow(Struct, frozen=True, kw_only=True):
    """A version of a model. `takes` and `gives` describe tensors, `example` is rows as JSON text to try it with."""

    version: int
    format: str
    created: float
    size: int
    digest: str
    run: str
    step: str
    source: str
    metrics: dict[str, Any]
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    example: str
    runs_code: bool


class ModelRow(Struct, frozen=True, kw_only=True):
    """A model with its versions, newest first."""

    name: str
    versions: tuple[VersionRow, ...]


class EndpointRow(Struct, frozen=True, kw_only=True):
    """A model that is being served, or was. `latencies` are seconds of the last answers; `answers` counts them.

    `canary` is the version that gets the `share` of requests, 0 if there is none; `previous` is that of a rollback.
    """

    name: str
    version: int
    url: str
    phase: str
    started: float
    canary: int
    share: float
    shadow: int
    previous: int
    answers: int
    faults: int
    latencies: tuple[float, ...]
    message: str
    authenticated: bool


class ModelList(Struct, frozen=True, kw_only=True):
    """The models of a project and its endpoints on this machine; `fault` says why there are none to be seen."""

    models: tuple[ModelRow, ...]
    endpoints: tuple[EndpointRow, ...]
    fault: str = ""


class ServeBody(InProject, frozen=True, kw_only=True):
    """What is to be served: by default the newest version. `trust` is the digest of a model that runs code."""

    name: Name
    version: Annotated[int, Meta(ge=0)] = 0
    workers: Annotated[int, Meta(ge=1, le=16)] = 2
    trust: Name = ""


class EndpointBody(InProject, frozen=True, kw_only=True):
    """An endpoint, and for a canary the version and its share (0 to 1; 0 ends it)."""

    name: Name
    version: Annotated[int, Meta(ge=0)] = 0
    share: Annotated[float, Meta(ge=0, le=1)] = 0.0


class PredictBody(InProject, frozen=True, kw_only=True):
    """Rows or a request for an endpoint, as JSON text."""

    name: Name
    data: Annotated[str, Meta(max_length=4 << 20)]


class Prediction(Struct, frozen=True, kw_only=True):
    """An endpoint's answer as JSON text, and the seconds it took."""

    answer: str
    seconds: float
