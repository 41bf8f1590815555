"""Whatever is asked, the answer is one of those the description knows, and never a fault of the server."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbkube.server.openapi import document
from tests.jupyter import Server

TEXTS = st.one_of(
    st.sampled_from(
        ["", "circle.ipynb", "../..", "a/b", "\0", "%00", "20260101-000000-bbbbbb", "last", "*", "💥", "x" * 5000]
    ),
    st.text(st.characters(codec="utf-8"), max_size=40),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
OPERATIONS = [
    (verb, path, operation) for path, verbs in sorted(document()["paths"].items()) for verb, operation in verbs.items()
]


def _schema(operation: dict[str, Any]) -> dict[str, Any]:
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = body.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document()["components"]["schemas"].get(name, body)
    return found


@st.composite
def requests(draw: st.DrawFn, verb: str, path: str, operation: dict[str, Any]) -> tuple[str, str, Any]:
    """A request that is right in parts."""
    address = path.replace("{run}", quote(draw(TEXTS) or "x", safe=""))
    names = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    query = (
        draw(st.dictionaries(st.sampled_from(names) | TEXTS, TEXTS | st.integers().map(str), max_size=5))
        if names
        else {}
    )
    body: Any = None
    if "requestBody" in operation:
        known = sorted(_schema(operation).get("properties", {}))
        body = draw((st.dictionaries(st.sampled_from(known), VALUES, max_size=6) if known else VALUES) | VALUES)
        if operation["operationId"] == "postRuns" and isinstance(body, dict):
            body["path"] = "there-is-none.ipynb"  # no real run is started
    return verb, f"{address}?{urlencode(query)}", body


@pytest.mark.parametrize(("verb", "path", "operation"), OPERATIONS, ids=[one[2]["operationId"] for one in OPERATIONS])
def test_no_request_is_a_fault_of_the_server(server: Server, verb: str, path: str, operation: dict[str, Any]) -> None:
    @settings(max_examples=25, derandomize=True, deadline=None, database=None)
    @given(requests(verb, path, operation))
    def ask(request: tuple[str, str, Any]) -> None:
        answer = server.ask(*request)
        assert answer.status < 500, (request, answer.body)
        assert str(answer.status) in operation["responses"], (request, answer.status)

    ask()
