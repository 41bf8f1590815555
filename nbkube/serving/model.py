"""The frozen types of serving."""

from __future__ import annotations

from typing import Literal

import msgspec

from nbkube.runs.model import Process

EndpointPhase = Literal["Starting", "Ready", "Draining", "Stopped", "Failed", "Unknown"]


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server takes: bytes of a request, seconds for an answer, requests that wait, examples joined at once."""

    body: int = 32 << 20
    seconds: float = 30.0
    waiting: int = 1024
    batch: int = 64


class RequestLog(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is kept of requests: a `share` of them, at most `most` a minute; inputs named in `redact` are left out."""

    share: float = 0.0
    most: int = 600
    redact: tuple[str, ...] = ()


class Shared(msgspec.Struct, frozen=True):
    """A version that gets a share of the requests, from 0 to 1."""

    version: int
    share: float


class Routing(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which version answers a request that names none.

    `canary` gets its share of all requests. With `sticky`, the name of a header, requests with one value of it always
    get the same version. `shadow` gets a copy of each request; its answers are compared and dropped.
    """

    version: int
    canary: Shared | None = None
    sticky: str = ""
    shadow: int | None = None
    previous: int | None = None


class ServerTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a server is started with. `token`: callers must send it as a bearer token ("": none is asked for)."""

    name: str
    store: str
    routing: Routing
    host: str = "127.0.0.1"
    port: int = 0
    workers: int = 2
    limits: Limits = Limits()
    log: RequestLog = RequestLog()
    token: str = ""
    folder: str = ""


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """A model that is being served. `control` is the socket through which its server takes orders."""

    name: str
    version: int
    url: str
    phase: EndpointPhase
    routing: Routing
    process: Process | None = None
    control: str = ""
    started: float = 0.0
    profile: str = ""
    message: str = ""
    authenticated: bool = False


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an endpoint's history: what was done at `time`, and what holds since then."""

    time: float
    action: str
    routing: Routing | None = None
    message: str = ""


class Statistics(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an endpoint has done: answers by version and HTTP status, seconds of the last ones, differing shadows, the
    ids of worker processes."""

    answers: dict[str, dict[str, int]] = {}
    latencies: tuple[float, ...] = ()
    waiting: int = 0
    workers: dict[str, int] = {}
    restarts: int = 0
    shadowed: int = 0
    differing: int = 0
    processes: list[int] = []
