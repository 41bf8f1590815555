"""From HTTP to the service and back: every verb authenticated, authorised, typed, and off the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import quote

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado import iostream, web

from nbkube.decoding import from_json, from_plain
from nbkube.errors import ClusterError, LocationError, NbkubeError, NotebookError, NotFoundError, RunError, StorageError
from nbkube.server import model
from nbkube.server.bodies import BodyHandler
from nbkube.server.events import Watcher
from nbkube.server.openapi import document
from nbkube.server.routes import PREFIX, ROUTES, Route
from nbkube.server.service import Service
from nbkube.server.views import problems

_RUN_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_LOOK = 0.1
"""Seconds between two looks for new lines of a log."""
_MANY = 1000
"""Lines after which the next ones are sent at once: a long log that is there already."""
_ALIVE = 15.0
"""Seconds after which a silent stream says that it is still there."""
_CHUNK = 256 << 10
_STORAGE_THREADS = 8
_BYTES = "application/octet-stream"
_STATUS: tuple[tuple[type[NbkubeError], int], ...] = (
    (NotFoundError, 404),
    (NotebookError, 422),
    (RunError, 409),
    (LocationError, 400),
    (StorageError, 503),
    (ClusterError, 503),
)
_Result = TypeVar("_Result")


class RouteHandler(APIHandler):
    """One path of the interface; its subclasses have a method for each verb."""

    auth_resource = "nbkube"
    service: Service
    threads: ThreadPoolExecutor
    watcher: Watcher
    routes: ClassVar[dict[str, Route]] = {}

    def initialize(self, service: Service, threads: ThreadPoolExecutor, watcher: Watcher) -> None:
        """Take what all handlers share."""
        self.service = service
        self.threads = threads
        self.watcher = watcher

    async def answer(self, verb: str, run: str | None) -> None:
        """Call what a route names and send its answer; errors of nbkube are answers, too."""
        route = self.routes[verb]
        try:
            arguments = self._arguments(route, run)
            for one in arguments:
                if isinstance(one, model.InProject | model.RunBody):
                    self.watcher.ask(await self.in_thread(self.service.project, one.path))
            if route.form == "stream":
                await self._stream(route, arguments)
            else:
                await self._send(route, await self.in_thread(route.call, self.service, *arguments))
        except (msgspec.ValidationError, msgspec.DecodeError, UnicodeDecodeError) as error:
            self._refuse(400, model.Fault(message=f"the request cannot be understood: {error}"))
        except NbkubeError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 400)
            self._refuse(status, model.Fault(message=str(error), problems=problems(error.diagnostics)))
        except OSError as error:
            if isinstance(error, iostream.StreamClosedError):
                return
            message = f"{error.filename or 'a file'}: {error.strerror or error}"
            self._refuse(404 if isinstance(error, FileNotFoundError) else 409, model.Fault(message=message))

    async def in_thread(self, call: Callable[..., _Result], *arguments: Any) -> _Result:
        """Run something that may wait, without stopping the server meanwhile."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, functools.partial(call, *arguments))

    def _arguments(self, route: Route, run: str | None) -> list[Any]:
        arguments: list[Any] = []
        if route.has_run:
            if run is None or not _RUN_ID.fullmatch(run):
                raise NotFoundError("there is no such run.")
            arguments.append(run)
        if route.query is not None:
            given = {name: values[-1].decode("utf-8") for name, values in self.request.query_arguments.items()}
            given.pop("_xsrf", None)
            given.pop("token", None)
            arguments.append(from_plain(given, route.query, strict=False))
        if route.body is not None:
            arguments.append(from_json(self.request.body or b"{}", route.body))
        if route.raw:
            arguments.append(self.request.body)
        return arguments

    async def _send(self, route: Route, result: Any) -> None:
        if route.form == "html":
            # The page holds no scripts; should one slip in, the browser will not run it.
            self.set_header(
                "Content-Security-Policy", "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"
            )
            await self.finish(result, set_content_type="text/html; charset=utf-8")
        elif route.form == "file":
            await self._send_file(*result)
        elif route.form == "pieces":
            await self._send_pieces(*result)
        else:
            self.set_header("Content-Type", "application/json")
            await self.finish(msgspec.json.encode(result))

    def _attached(self, name: str) -> None:
        """Have a browser keep the answer as a file, whatever it holds."""
        self.set_header("Content-Type", _BYTES)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name, safe='')}")

    async def _send_pieces(self, name: str, size: int, pieces: Generator[bytes, None, None]) -> None:
        """Send a file piece by piece, only as fast as it is taken; one that breaks off is not taken for a whole."""
        self._attached(name)
        self.set_header("Content-Length", str(size))
        try:
            while (data := await self.in_thread(next, pieces, None)) is not None:
                self.write(data)
                await self.flush()
        except NbkubeError:
            if not self._headers_written:
                raise
            self.detach().close()  # fewer bytes than promised: the browser sees that the download has failed
            return
        finally:
            await self.in_thread(pieces.close)
        await self.finish(set_content_type=_BYTES)

    async def _send_file(self, name: str, place: Path) -> None:
        self._attached(name)
        with place.open("rb") as source:
            while data := await self.in_thread(source.read, _CHUNK):
                self.write(data)
                await self.flush()
        await self.finish(set_content_type=_BYTES)

    async def _stream(self, route: Route, arguments: list[Any]) -> None:
        """Send what a step shows, now and as it comes. Each event's id is the piece to go on with after a break."""
        query: model.LogQuery = arguments[-1]
        start = max(query.start, _count(self.request.headers.get("Last-Event-ID", "")))
        query = msgspec.structs.replace(query, start=start)
        read = await self.in_thread(route.call, self.service, *arguments[:-1], query)
        ended, silent = False, 0.0
        while not ended:
            pieces, end, ended = await self.in_thread(read)
            if not self._headers_written:
                self.set_header("Content-Type", "text/event-stream")
                self.set_header("X-Accel-Buffering", "no")
            if pieces or ended or silent >= _ALIVE or not self._headers_written:
                self.write(_events(pieces, end, ended=ended) or b": here\n\n")
                await self.flush()
                silent = 0.0
            if not ended and len(pieces) < _MANY:
                await asyncio.sleep(_LOOK)
                silent += _LOOK
        await self.finish(set_content_type="text/event-stream")

    def _refuse(self, status: int, fault: model.Fault) -> None:
        if self._headers_written:
            return
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(msgspec.json.encode(fault))

    def set_default_headers(self) -> None:
        """Keep answers out of caches."""
        super().set_default_headers()
        self.set_header("Cache-Control", "no-store")


class DocumentHandler(APIHandler):
    """The description of the interface."""

    auth_resource = "nbkube"

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Send the OpenAPI document."""
        self.set_header("Content-Type", "application/json")
        await self.finish(msgspec.json.encode(document()))


def handlers(base_url: str, service: Service, threads: ThreadPoolExecutor, watcher: Watcher) -> list[tuple[Any, ...]]:
    """Return tornado's table of handlers: one class for each path, made from the routes."""
    paths: dict[str, list[Route]] = defaultdict(list)
    for route in ROUTES:
        paths[route.path].append(route)
    shared = {"service": service, "threads": threads, "watcher": watcher}
    # Of their own: a store that does not answer must not keep pipelines and runs waiting.
    apart = {**shared, "threads": ThreadPoolExecutor(_STORAGE_THREADS, thread_name_prefix="nbkube-storage")}
    table: list[tuple[Any, ...]] = [
        (
            url_path_join(base_url, PREFIX, _pattern(path)),
            _handler(path, routes),
            apart if path.startswith("/storage") else shared,
        )
        for path, routes in paths.items()
    ]
    return [*table, (url_path_join(base_url, PREFIX, "openapi.json"), DocumentHandler)]


def _handler(path: str, routes: Iterable[Route]) -> type[RouteHandler]:
    known = {route.verb: route for route in routes}
    methods: dict[str, Any] = {verb: _method(verb) for verb in known}
    name = "".join(part.strip("{}").title() for part in path.split("/")) + "Handler"
    kinds = (BodyHandler, RouteHandler) if any(route.raw for route in known.values()) else (RouteHandler,)
    return type(name, kinds, {"routes": known, "__doc__": path, **methods})


def _method(verb: str) -> Callable[..., Any]:
    @web.authenticated
    @authorized
    async def method(self: RouteHandler, run: str | None = None) -> None:
        await self.answer(verb, run)

    return method


def _pattern(path: str) -> str:
    return path.replace("{run}", "(?P<run>[^/]+)")


def _events(pieces: list[model.LogPiece], end: int, *, ended: bool) -> bytes:
    """Return pieces of a log as server-sent events, many lines together in one event."""
    body = b"id: %d\nevent: log\ndata: %b\n\n" % (end, msgspec.json.encode(pieces)) if pieces else b""
    return body + (b"id: %d\nevent: end\ndata: {}\n\n" % end if ended else b"")


def _count(text: str) -> int:
    with contextlib.suppress(ValueError):
        return max(0, int(text))
    return 0
