"""Nobody gets in without a right to: every route of the running application, as it lists them itself."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

from tests.jupyter import API, ROOT, TOKEN, Server

WALK = """
import json
from jupyter_server.serverapp import ServerApp
app = ServerApp(root_dir=".", open_browser=False, allow_root=True, jpserver_extensions={"nbkube.server": True})
app.initialize(argv=[], new_httpserver=False)
VERBS = ("get", "post", "put", "patch", "delete")
found = []
for rule in app.web_app.wildcard_router.rules + app.web_app.default_router.rules:
    for inner in getattr(rule.target, "rules", [rule]):
        handler, regex = inner.target, getattr(inner.matcher, "regex", None)
        if regex is not None and "nbkube" in regex.pattern:
            base = next(kind for kind in handler.__mro__ if kind.__module__ == "tornado.web")
            verbs = [verb for verb in VERBS if getattr(handler, verb) is not getattr(base, verb)]
            found.append([regex.pattern, verbs])
print("ROUTES", json.dumps(found))
"""


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Verb and path of every route under /nbkube/ that an initialised application has."""
    folder = tmp_path_factory.mktemp("walk")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JUPYTER_CONFIG_DIR": str(folder), "JUPYTER_DATA_DIR": str(folder)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WALK], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    listed: list[Any] = json.loads(done.stdout.split("ROUTES ", 1)[1])
    found = [
        (verb, re.sub(r"\(\?P<run>[^)]*\)", "20260101-000000-bbbbbb", pattern.rstrip("$")).replace("\\", ""))
        for pattern, verbs in listed
        for verb in verbs
    ]
    assert len(found) > 15
    return found


def test_without_a_token(server: Server, routes: list[tuple[str, str]]) -> None:
    for verb, path in routes:
        assert server.ask(verb, path, {}, headers={}).status == 403, (verb, path)


def test_with_a_wrong_token(server: Server, routes: list[tuple[str, str]]) -> None:
    for verb, path in routes:
        answer = server.ask(verb, path, {}, headers={"Authorization": "token wrong"})
        assert answer.status == 403, (verb, path)


def test_a_logged_in_browser_without_the_xsrf_token(server: Server, routes: list[tuple[str, str]]) -> None:
    cookies = _login(server)
    acting = [(verb, path) for verb, path in routes if verb != "get"]
    assert acting
    for verb, path in acting:
        answer = server.ask(verb, path, {}, headers={"Cookie": cookies})
        assert answer.status == 403, (verb, path)
        assert b"xsrf" in answer.body.lower()


def test_a_page_of_another_site(server: Server, routes: list[tuple[str, str]]) -> None:
    cookies = _login(server)
    for verb, path in routes:
        headers = {"Cookie": cookies, "Origin": "http://elsewhere.example", "Referer": "http://elsewhere.example/x"}
        answer = server.ask(verb, path, {}, headers=headers)
        assert answer.status in (403, 404), (verb, path, answer.status)


def test_the_same_browser_with_all_of_it_gets_in(server: Server) -> None:
    """The checks above are not passed because nothing works."""
    cookies = _login(server)
    xsrf = re.search(r"_xsrf=([^;]+)", cookies)
    assert xsrf
    headers = {"Cookie": cookies, "X-XSRFToken": xsrf[1]}
    assert server.ask("POST", f"{API}/pipeline", {"path": "circle.ipynb"}, headers=headers).status == 200


def test_what_gets_in_is_not_kept_by_caches(server: Server) -> None:
    assert server.ask("GET", f"{API}/information").headers["cache-control"] == "no-store"


def _login(server: Server) -> str:
    """Log in as a person does: see the form, which brings the XSRF cookie, then give the token; return the cookies."""
    cookies = _cookies(server, "/login", "")
    assert "_xsrf=" in cookies
    found = f"{cookies}; {_cookies(server, f'/login?token={TOKEN}', cookies)}"
    assert "username-" in found, found
    return found


def _cookies(server: Server, path: str, cookies: str) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Accept": "text/html", **({"Cookie": cookies} if cookies else {})})
        answer = connection.getresponse()
        answer.read()
        return "; ".join(value.split(";")[0] for name, value in answer.getheaders() if name.lower() == "set-cookie")
