"""The interface of a running server: notebooks, previews, runs, logs, artifacts, and what is wrong said plainly."""

from __future__ import annotations

import http.client
import json
import time
from pathlib import Path
from typing import Any

from tests.building import notebook, write_notebook
from tests.jupyter import API, TOKEN, Server
from tests.unit.server.conftest import CELLS


def test_a_notebook_as_it_stands_in_the_editor(server: Server) -> None:
    content = notebook([*CELLS, ("step:later", "print(area, nowhere)")])
    view = server.ask("POST", f"{API}/pipeline", {"path": "circle.ipynb", "content": content}).json
    assert [step["name"] for step in view["steps"]] == ["setup", "area", "volume", "metrics", "later"]
    assert {"producer": "area", "consumer": "volume", "names": ["area"]} in view["edges"]
    assert not view["ready"]
    [problem] = [one for one in view["problems"] if one["severity"] == "error"]
    assert (problem["cell"], problem["cell_id"]) == (6, "cell-6")
    assert "nowhere" in problem["message"]


def test_a_notebook_that_cannot_be_read_is_a_view_with_its_problems(server: Server) -> None:
    view = server.ask("POST", f"{API}/pipeline", {"path": "x.ipynb", "content": {"cells": 3}}).json
    assert not view["ready"]
    assert view["problems"]


def test_tags_are_proposed(server: Server) -> None:
    content = notebook([("", "import os"), ("", "data = open('x').read()"), ("", "model.fit(data)")])
    found = server.ask("POST", f"{API}/proposal", {"path": "new.ipynb", "content": content}).json
    assert [one["tags"] for one in found["tags"]] == [["imports"], ["step:load"], ["step:train"]]


def test_from_preview_to_artifacts(server: Server) -> None:
    body = {"path": "circle.ipynb", "parameters": {"radius": "3"}}
    preview = server.ask("POST", f"{API}/preview", body).json
    assert preview["ready"]
    assert preview["parameters"] == {"radius": 3.0}
    assert preview["steps"][0]["forecast"] == "run"

    started = server.ask("POST", f"{API}/runs", {**body, "digest": preview["digest"], "experiment": "radii"})
    assert started.status == 200, started.body
    run = started.json["run"]
    detail = _ended(server, run)
    assert detail["summary"]["phase"] == "Succeeded"
    assert detail["summary"]["path"] == "circle.ipynb"
    assert detail["actions"] == ["delete"]
    assert 84 < detail["summary"]["metrics"]["volume"] < 85

    events = _log(server, run, "area")
    assert "computing" in events
    assert "event: end" in events
    assert "computing" not in _log(server, run, "area", last_event_id="9")

    made = server.ask("GET", f"{API}/runs/{run}/artifacts").json
    assert {"area", "volume"} <= {one["name"] for one in made["variables"]}
    report = server.ask("GET", f"{API}/runs/{run}/report")
    assert report.headers["content-security-policy"].startswith("sandbox;")

    noted = server.ask("PATCH", f"{API}/runs/{run}", {"labels": ["big", "big"], "note": "the first"}).json
    assert (noted["summary"]["labels"], noted["summary"]["note"]) == (["big"], "the first")
    for text in ("big", "radius=3", "RADII"):
        rows = server.ask("GET", f"{API}/runs?text={text}").json["runs"]
        assert [row["id"] for row in rows] == [run], text
    assert server.ask("GET", f"{API}/runs?text=nothing-like-it").json["runs"] == []

    known = server.ask("POST", f"{API}/preview", body).json
    assert {step["forecast"] for step in known["steps"]} == {"known"}

    assert server.ask("DELETE", f"{API}/runs/{run}").status == 200
    assert server.ask("GET", f"{API}/runs/{run}").status == 404


def test_a_forecast_says_what_an_edit_leaves_known(server: Server, tmp_path: Path) -> None:
    path = write_notebook(server.folder / "edited.ipynb", CELLS)
    run = server.ask("POST", f"{API}/runs", {"path": path.name}).json["run"]
    _ended(server, run)
    write_notebook(path, [*CELLS[:3], ("step:volume", "volume = area * 4"), CELLS[4]])
    preview = server.ask("POST", f"{API}/preview", {"path": path.name}).json
    found = {step["name"]: step["forecast"] for step in preview["steps"]}
    assert found == {"setup": "known", "area": "known", "volume": "run", "metrics": "open"}


def test_a_run_that_fails_says_why_and_where(server: Server) -> None:
    write_notebook(server.folder / "broken.ipynb", [("step:one", "x = 1"), ("step:two", "y = x\n1 / 0")])
    run = server.ask("POST", f"{API}/runs", {"path": "broken.ipynb"}).json["run"]
    detail = _ended(server, run)
    assert detail["summary"]["phase"] == "Failed"
    [failed] = [step for step in detail["steps"] if step["failure"]]
    assert failed["failure"]["sentence"] == "ZeroDivisionError: division by zero (cell 2, line 2)."
    assert failed["failure"]["cell_id"] == "cell-2"
    assert "resume" in detail["actions"]


def test_a_run_is_stopped(server: Server) -> None:
    write_notebook(server.folder / "long.ipynb", [("step:wait", "import time\ntime.sleep(60)")])
    run = server.ask("POST", f"{API}/runs", {"path": "long.ipynb"}).json["run"]
    _until(lambda: server.ask("GET", f"{API}/runs/{run}").json["summary"]["current"] == "wait")
    stopped = server.ask("POST", f"{API}/runs/{run}/stop").json
    assert stopped["summary"]["phase"] == "Cancelled"


def test_a_file_that_was_changed_after_the_preview_is_not_run(server: Server) -> None:
    path = write_notebook(server.folder / "moving.ipynb", CELLS)
    digest = server.ask("POST", f"{API}/preview", {"path": path.name}).json["digest"]
    write_notebook(path, CELLS[:3])
    answer = server.ask("POST", f"{API}/runs", {"path": path.name, "digest": digest})
    assert answer.status == 409
    assert "has been changed since the preview" in answer.json["message"]


def test_wrong_parameters_are_problems_of_the_preview(server: Server) -> None:
    preview = server.ask("POST", f"{API}/preview", {"path": "circle.ipynb", "parameters": {"radius": "wide"}}).json
    assert not preview["ready"]
    assert "is not a number" in preview["problems"][0]["message"]


def test_nothing_outside_the_served_folder_is_reached(server: Server) -> None:
    outside = write_notebook(server.folder.parent / "outside.ipynb", CELLS)
    (server.folder / "link.ipynb").unlink(missing_ok=True)
    (server.folder / "link.ipynb").symlink_to(outside)
    sibling = f"../{server.folder.name}-sibling/x.ipynb"
    for path in ("../outside.ipynb", "a/../../outside.ipynb", str(outside), "link.ipynb", sibling, "x\0y", "~/x.ipynb"):
        answer = server.ask("POST", f"{API}/pipeline", {"path": path})
        assert answer.status == 404 or answer.json["problems"][0]["code"] == "no-file", (path, answer.body)
        assert b"area" not in answer.body


def test_what_cannot_be_understood_is_said_so(server: Server) -> None:
    for verb, path, body in (
        ("POST", "/pipeline", {"paths": "x"}),
        ("POST", "/pipeline", [1]),
        ("POST", "/runs", {"path": 3}),
        ("GET", "/runs?limit=0", None),
        ("GET", "/runs?limit=many", None),
        ("GET", "/runs?unknown=1", None),
        ("GET", "/runs/20260101-000000-bbbbbb/log?step=x&start=-1", None),
    ):
        answer = server.ask(verb, API + path, body)
        assert answer.status == 400, (path, answer.body)
        assert answer.json["message"].startswith("the request cannot be understood")
    assert server.ask("GET", f"{API}/runs/20260101-000000-bbbbbb").status == 404
    assert server.ask("GET", f"{API}/runs/UPPER").status == 404


def test_the_server_answers_while_a_log_is_followed(server: Server) -> None:
    write_notebook(server.folder / "slow.ipynb", [("step:tick", "import time\ntime.sleep(20)")])
    run = server.ask("POST", f"{API}/runs", {"path": "slow.ipynb"}).json["run"]
    connections = []
    for _ in range(12):  # more than the server has threads for nbkube
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        connection.request("GET", f"{API}/runs/{run}/log?step=tick", headers={"Authorization": f"token {TOKEN}"})
        connections.append(connection)
    for _ in range(5):
        assert server.ask("GET", "/api/status", timeout=20).status == 200
        assert server.ask("GET", f"{API}/runs", timeout=20).status == 200
    server.ask("POST", f"{API}/runs/{run}/stop")
    for connection in connections:
        assert "event: end" in connection.getresponse().read().decode()
        connection.close()


def _ended(server: Server, run: str) -> dict[str, Any]:
    def look() -> Any:
        detail = server.ask("GET", f"{API}/runs/{run}").json
        return detail if detail["summary"]["phase"] not in ("Pending", "Running") else None

    found: dict[str, Any] = _until(look)
    return found


def _until(look: Any, seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError("what was waited for did not come")


def _log(server: Server, run: str, step: str, last_event_id: str = "") -> str:
    headers = {"Authorization": f"token {TOKEN}", **({"Last-Event-ID": last_event_id} if last_event_id else {})}
    answer = server.ask("GET", f"{API}/runs/{run}/log?step={step}", headers=headers)
    assert answer.headers["content-type"] == "text/event-stream"
    for line in answer.body.decode().splitlines():
        if line.startswith("data: "):
            json.loads(line[6:])
    return answer.body.decode()
