"""The description of the interface, made from its routes and types."""

from __future__ import annotations

import functools
from typing import Any

import msgspec

from nbkube import __version__
from nbkube.server import model
from nbkube.server.routes import PREFIX, ROUTES, Route

_FAULTS = {
    "400": "the request cannot be understood",
    "403": "not logged in, not allowed, or without the XSRF token",
    "404": "there is no such path, run, step or file",
    "409": "not possible as things stand",
    "422": "the notebook has faults",
    "503": "store or cluster cannot be reached",
}
_MEDIA = {
    "json": "application/json",
    "stream": "text/event-stream",
    "html": "text/html",
    "file": "application/octet-stream",
    "pieces": "application/octet-stream",
}
_EVENT = {
    "type": "object",
    "properties": {"id": {"type": "string"}, "event": {"enum": ["log", "end"]}, "data": {"type": "string"}},
    "required": ["id", "event", "data"],
}
"""One event of a stream: `data` of a `log` is JSON, a list of pieces."""


@functools.cache
def document() -> dict[str, Any]:
    """Return the OpenAPI 3.1 document."""
    kinds: list[type] = [model.Fault]
    for route in ROUTES:
        kinds += [kind for kind in (route.answer, route.query, route.body) if kind is not None]
    kinds = list(dict.fromkeys(kinds))
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(PREFIX + route.path, {})[route.verb] = _operation(route, by_kind, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "nbkube", "version": __version__, "description": "Pipelines of notebooks and their runs."},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "Authorization"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, by_kind: dict[type, Any], components: dict[str, Any]) -> dict[str, Any]:
    name = f"{route.verb}{''.join(part.strip('{}').title() for part in route.path.split('/'))}"
    operation: dict[str, Any] = {
        "operationId": name,
        "summary": route.summary,
        "parameters": _parameters(route, components),
        "responses": {
            "200": {"description": "done", "content": {_MEDIA[route.form]: {"schema": _answer(route, by_kind)}}},
            **{code: _fault(text, by_kind) for code, text in _FAULTS.items()},
        },
    }
    if route.raw:
        schema = {"type": "string", "format": "binary"}
        operation["requestBody"] = {"required": True, "content": {"application/octet-stream": {"schema": schema}}}
    if route.body is not None:
        content = {"application/json": {"schema": by_kind[route.body]}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _answer(route: Route, by_kind: dict[type, Any]) -> dict[str, Any]:
    if route.form == "json":
        return dict(by_kind[route.answer])
    return _EVENT if route.form == "stream" else {"type": "string"}


def _parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if route.has_run:
        schema = {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$"}
        found.append({"name": "run", "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        described = components[route.query.__name__]
        for name, schema in described.get("properties", {}).items():
            required = name in described.get("required", ())
            found.append({"name": name, "in": "query", "required": required, "schema": schema})
    return found


def _fault(text: str, by_kind: dict[type, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": by_kind[model.Fault]}}}
