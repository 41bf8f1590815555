"""The HTTP side of a server: paths, limits, the token, errors as sentences.

Answers to errors are JSON: {"error": "which input, what is wrong, what was expected"}.
"""

from __future__ import annotations

import hmac
import time
from typing import Any

import msgspec
import prometheus_client as prometheus
from tornado import web

from nbkube import __version__
from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.models.model import ModelVersion
from nbkube.serving import protocol, tfserving
from nbkube.serving.faults import RequestError
from nbkube.serving.model import Routing
from nbkube.serving.routing import with_canary, with_shadow
from nbkube.serving.service import Service

VERSION_HEADER = "Nbkube-Model-Version"
_JSON = "application/json"
_BINARY = "application/octet-stream"
_PLATFORMS = {
    "sklearn": "sklearn_skops", "keras": "keras", "tensorflow": "tensorflow_savedmodel", "xgboost": "xgboost",
    "lightgbm": "lightgbm", "onnx": "onnx", "python": "python", "pickle": "sklearn_joblib",
}  # fmt: skip


class Handler(web.RequestHandler):
    """What all paths have in common."""

    service: Service
    early = False
    """Whether an answer would come before the body has: the connection ends with it then."""

    def initialize(self, service: Service) -> None:
        """Take the service."""
        self.service = service

    def set_default_headers(self) -> None:
        """Say little about the server, and that answers are JSON."""
        self.set_header("Server", "nbkube")
        self.set_header("Content-Type", _JSON)
        self.set_header("X-Content-Type-Options", "nosniff")

    def compute_etag(self) -> None:
        """Answers are not kept by callers, so that no digest of them is needed."""

    def check_token(self) -> None:
        """Refuse a caller without the token."""
        token = self.service.task.token
        given = self.request.headers.get("Authorization", "")
        if token and not hmac.compare_digest(given.encode(), f"Bearer {token}".encode()):
            raise RequestError("this endpoint wants a token. Expected: the header Authorization: Bearer TOKEN.", 401)

    def say(self, value: Any, status: int = 200) -> None:
        """Answer with JSON."""
        self.set_status(status)
        self.finish(msgspec.json.encode(value))

    def check_model(self, name: str) -> None:
        """Refuse a model that is not the one served here."""
        if name != self.service.name:
            raise RequestError(f"there is no model {name[:60]!r} here. Served is: {self.service.name}.", 404)

    def write_error(self, status_code: int, **details: Any) -> None:
        """Answer with a sentence, whatever went wrong."""
        error = details.get("exc_info", (None, None, None))[1]
        if isinstance(error, RequestError):
            status_code, message = error.status, str(error)
        elif isinstance(error, NbkubeError):
            status_code, message = 409, str(error)
        elif status_code == 405:
            message = f"{self.request.method} does nothing here."
        elif status_code < 500:
            message = str(getattr(error, "log_message", "") or getattr(error, "reason", "") or self._reason)
        else:
            message = "the server has a defect; its log says more."
        # What was set before the fault is gone by now, so that these headers are set here.
        if status_code == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status_code in (503, 504):
            self.set_header("Retry-After", "1")
        if self.early or self.service.draining:
            self.set_header("Connection", "close")
        self.say({"error": message}, status_code)

    def log_exception(self, kind: Any, error: Any, trace: Any) -> None:
        """Write down defects, not what callers do wrong."""
        if not isinstance(error, RequestError | NbkubeError | web.HTTPError):
            super().log_exception(kind, error, trace)


class NotThere(Handler):
    """Any other path."""

    def prepare(self) -> None:
        """Say what there is."""
        name = self.service.name
        raise RequestError(
            f"there is nothing at {self.request.path[:80]!r}. Expected: /v2/models/{name}/infer, /v2/models/{name}, "
            f"/v2/health/ready, /v1/models/{name}:predict or /metrics.",
            404,
        )


class Health(Handler):
    """Whether the process lives, and whether requests would be answered."""

    def get(self, what: str) -> None:
        """Answer probes."""
        if what == "live":
            self.say({"live": True})
        else:
            ready = self.service.ready and not self.service.draining
            self.say({"ready": ready}, 200 if ready else 503)


class ServerMetadata(Handler):
    """What this server is."""

    def get(self) -> None:
        """Return name, version and extensions."""
        self.check_token()
        extensions = ["binary_tensor_data", "model_versions"]
        self.say({"name": "nbkube", "version": __version__, "extensions": extensions})


class ModelMetadata(Handler):
    """What a version takes and gives."""

    def get(self, name: str, asked: str | None = None) -> None:
        """Return the metadata of the protocol."""
        self.check_token()
        self.check_model(name)
        self.say(_metadata(self.service.version(_stable(self.service, asked)), self.service.versions))


class ModelReady(Handler):
    """Whether a version answers."""

    def get(self, name: str, asked: str | None = None) -> None:
        """Answer probes."""
        self.check_model(name)
        _stable(self.service, asked)
        ready = self.service.ready and not self.service.draining
        self.say({"name": name, "ready": ready}, 200 if ready else 503)


class ModelStatus(Handler):
    """TensorFlow Serving's status and metadata."""

    def get(self, name: str, asked: str | None = None, metadata: str | None = None) -> None:
        """Return either."""
        self.check_token()
        self.check_model(name)
        number = _stable(self.service, asked)
        if metadata:
            self.say(tfserving.metadata(name, number, self.service.version(number).signature))
        else:
            self.say(tfserving.status(number))


class Models(Handler):
    """The models of this server."""

    def get(self) -> None:
        """List them."""
        self.check_token()
        self.say({"models": [self.service.name]})


def _stable(service: Service, asked: str | None) -> int:
    return service.routing.version if asked is None else service.choose(None, asked)


def _metadata(version: ModelVersion, served: list[int]) -> dict[str, Any]:
    signature = version.signature
    return {
        "name": version.name,
        "versions": [str(one) for one in served],
        "platform": _PLATFORMS[version.format],
        "inputs": [_spec(one) for one in signature.inputs],
        "outputs": [_spec(one) for one in (*signature.outputs, *signature.optional)],
    }


def _spec(one: Any) -> dict[str, Any]:
    return {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}


@web.stream_request_body
class Inference(Handler):
    """Predicting, in the Open Inference Protocol or TensorFlow Serving's."""

    def initialize(self, service: Service, rows: bool = False) -> None:
        """Take the service; `rows`: the second protocol."""
        super().initialize(service)
        self._in_rows = rows
        self._body = bytearray()
        self._started = time.perf_counter()
        self._number = 0

    def prepare(self) -> None:
        """Refuse before the body comes what would be refused after it."""
        self.early = True
        if self.request.method != "POST":
            raise web.HTTPError(405)
        limit = self.service.task.limits.body
        length = self.request.headers.get("Content-Length", "0")
        self.check_token()
        if self.request.headers.get("Content-Encoding", "identity") != "identity":
            raise RequestError("the body is compressed. Expected: no Content-Encoding.", 415)
        if length.isdigit() and int(length) > limit:
            raise RequestError(f"the body has {length} bytes. Expected: at most {limit}.", 413)
        self.early = False

    def data_received(self, chunk: bytes) -> None:
        """Gather the body."""
        if len(self._body) <= self.service.task.limits.body:
            self._body += chunk  # what comes beyond the limit is dropped

    async def post(self, name: str, asked: str | None = None) -> None:
        """Predict."""
        service = self.service
        if len(self._body) > service.task.limits.body:
            raise RequestError(f"the body is longer than {service.task.limits.body} bytes.", 413)
        if service.draining:
            self.set_header("Connection", "close")
        self.check_model(name)
        if not service.ready:
            raise RequestError("the server is not ready.", 503)
        sticky = service.routing.sticky
        self._number = service.choose(self.request.headers.get(sticky) if sticky else None, asked)
        signature = service.version(self._number).signature
        body = bytes(self._body)
        self.set_header(VERSION_HEADER, str(self._number))
        if self._in_rows:
            query, in_rows = tfserving.decoded(body, signature)
            answer = tfserving.encoded(await service.predict(self._number, query), in_rows=in_rows)
        else:
            query = protocol.decoded(body, self.request.headers.get(protocol.HEADER_LENGTH), signature)
            outputs = await service.predict(self._number, query)
            answer, length = protocol.encoded(query, name, str(self._number), outputs)
            if length is not None:
                self.set_header("Content-Type", _BINARY)
                self.set_header(protocol.HEADER_LENGTH, str(length))
        self.finish(answer)

    def on_finish(self) -> None:
        """Count the answer."""
        if self._number:
            self.service.count(self._number, self.get_status(), time.perf_counter() - self._started)


class Metrics(Handler):
    """Counts and times for Prometheus."""

    def get(self) -> None:
        """Return them as text."""
        self.check_token()
        self.set_header("Content-Type", prometheus.CONTENT_TYPE_LATEST)
        self.finish(prometheus.generate_latest(self.service.metrics))


_MODEL = r"/models/([^/:]+)"
_VERSION = r"(?:/versions/([^/:]+))?"


def application(service: Service) -> web.Application:
    """Return what is served to callers."""
    given = {"service": service}
    routes: list[Any] = [
        (r"/v2/health/(live|ready)", Health, given),
        (r"/v2/?", ServerMetadata, given),
        (rf"/v2{_MODEL}{_VERSION}/infer", Inference, given),
        (rf"/v2{_MODEL}{_VERSION}/ready", ModelReady, given),
        (rf"/v2{_MODEL}{_VERSION}", ModelMetadata, given),
        (r"/v1/models", Models, given),
        (rf"/v1{_MODEL}{_VERSION}:predict", Inference, {**given, "rows": True}),
        (rf"/v1{_MODEL}{_VERSION}(/metadata)?", ModelStatus, given),
        (r"/metrics", Metrics, given),
    ]
    return web.Application(
        routes, default_handler_class=NotThere, default_handler_args=given, log_function=lambda _: None
    )


# -- orders, through a socket that only this user can open --------------------------------------------------------


class Order(msgspec.Struct, frozen=True):
    """What is wanted: `action` is one of status, switch, rollback, canary, shadow, stop, or route: take `routing`."""

    action: str
    routing: Routing | None = None
    version: int = 0
    share: float = 0.0
    sticky: str = ""


class Control(Handler):
    """Orders to this server; the answer is its routing."""

    async def post(self) -> None:
        """Carry out an order."""
        order = from_json(self.request.body, Order)
        service = self.service
        if order.action == "switch":
            await service.switch(order.version)
        elif order.action == "rollback":
            await service.rollback()
        elif order.action == "canary":
            await service.change(with_canary(service.routing, order.version, order.share, order.sticky), "canary")
        elif order.action == "shadow":
            await service.change(with_shadow(service.routing, order.version), "shadow")
        elif order.action == "route" and order.routing is not None:
            await service.change(order.routing, "routed")
        elif order.action == "stop":
            self.settings["stop"]()
        self.say(Standing(service.routing, service.statistics()))


class Standing(msgspec.Struct, frozen=True):
    """What a server answers to orders."""

    routing: Routing
    statistics: Any


def control_application(service: Service, stop: Any) -> web.Application:
    """Return what takes orders."""
    return web.Application([(r"/", Control, {"service": service})], stop=stop, log_function=lambda _: None)
