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
    """What a server is started with. `token`: callers must send it as a bearer token ("": none is asked for).

    A router loads no model: `upstream` is the address of the server of each version, with `{version}` in it, and
    `record` the store's record that says which of them answers. In pods orders come through `control_port` of the
    pod's own loopback, and a server that is to end still answers for `linger` seconds, until callers have been told.
    """

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
    upstream: str = ""
    dialect: Literal["v2", "v1"] = "v2"
    record: str = ""
    control_port: int = 0
    linger: float = 0.0


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
    namespace: str = ""
    message: str = ""
    authenticated: bool = False


class Pods(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the pods of an endpoint on a cluster are made of.

    `image` holds nbkube with what serving needs and the libraries of the model. Each version has `replicas` pods, up to
    `most` under load. `cpu` and `memory` are Kubernetes quantities that one pod asks for, `gpu` maps devices to their
    number. With `token` callers are asked for the one in the endpoint's Secret. `runtime` names another server than
    ours for the versions' pods, whose image is `runtime_image` then.
    """

    image: str
    runtime: str = ""
    runtime_image: str = ""
    replicas: int = 1
    most: int = 3
    routers: int = 2
    cpu: str = ""
    memory: str = ""
    gpu: dict[str, int] = {}
    workers: int = 2
    limits: Limits = Limits()
    log: RequestLog = RequestLog()
    token: bool = False


class Deployed(msgspec.Struct, frozen=True, omit_defaults=True):
    """An endpoint on a cluster as its record in the store has it: what answers, and what its pods are made of."""

    routing: Routing
    pods: Pods


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
