"""A notebook server on the cluster: made from a request, used through the port-forward, its files kept."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.profile import use


@pytest.fixture
def project(bench: Bench, api: Api, namespace: str, tmp_path: Path) -> dict[str, str]:
    variables = use(bench, api, namespace, f"lab-{namespace}", tmp_path)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NBKUBE_"))}
    return {**kept, **variables, "NBKUBE_PROFILE": "bench"}


def run(env: dict[str, str], folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nbkube", "lab", *words]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)


def ask(url: str, verb: str, path: str, token: str, body: object = None) -> tuple[int, bytes]:
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    headers = {"Authorization": f"token {token}"} if token else {}
    connection.request(verb, path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def started(env: dict[str, str], folder: Path, *words: str) -> tuple[subprocess.Popen[str], str, str]:
    """Start `nbkube lab up`, return it with the address and the token it has shown."""
    command = [sys.executable, "-m", "nbkube", "lab", "up", *words]
    process = subprocess.Popen(
        command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    if not line:
        process.wait(30)
        assert process.stderr is not None
        raise AssertionError(process.stderr.read())
    return process, line.split("?")[0], line.partition("token=")[2]


def ended(process: subprocess.Popen[str]) -> None:
    with process:  # closes its pipes
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@pytest.mark.timeout(600)
def test_from_up_to_down(
    project: dict[str, str], lab_image: str, bench: Bench, api: Api, namespace: str, tmp_path: Path
) -> None:
    asked = ["--image", lab_image, "--cpu", "50m", "--memory", "512Mi"]
    size = f"new:64Mi:{bench.storage_class}"
    process, url, token = started(project, tmp_path, "mine", *asked, "--workspace", size)
    try:
        assert ask(url, "GET", "/api/contents", "")[0] == 403
        note = {"type": "file", "format": "text", "content": "kept"}
        assert ask(url, "PUT", "/api/contents/note.txt", token, note)[0] == 201
        assert ask(url, "GET", "/lab", token)[0] == 200
        kernel = ask(url, "POST", "/api/kernels", token, {"name": "python3"})
        assert kernel[0] == 201, kernel
    finally:
        ended(process)
    [listed] = json.loads(run(project, tmp_path, "list", "--json").stdout)
    assert (listed["name"], listed["phase"], listed["memory"]) == ("mine", "Ready", "512Mi")
    assert "mine" in run(project, tmp_path, "list").stdout
    assert token not in json.dumps(api.get(f"/apis/apps/v1/namespaces/{namespace}/statefulsets/nbkube-lab-mine"))

    assert json.loads(run(project, tmp_path, "down", "mine", "--json").stdout) == {"name": "mine", "removed": True}
    _gone(api, namespace)
    process, url, again = started(project, tmp_path, "mine", *asked, "--workspace", size)
    try:
        assert again != token
        assert b"kept" in ask(url, "GET", "/api/contents/note.txt", again)[1]
    finally:
        ended(process)
    run(project, tmp_path, "down", "mine", "--delete-workspace")
    claims = api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims")["items"]
    assert all("deletionTimestamp" in one["metadata"] for one in claims)
    assert run(project, tmp_path, "down", "mine").stderr.strip() == "mine: was not there"


def test_what_it_waits_for_is_said(project: dict[str, str], tmp_path: Path, bench: Bench) -> None:
    asked = ["--image", bench.images.base, "--cpu", "999", "--workspace", f"new:64Mi:{bench.storage_class}"]
    done = run(project, tmp_path, "up", "large", *asked, "--wait", "10")
    assert done.returncode == 2
    assert "cpu" in done.stderr.lower()
    assert "nbkube lab down large" in done.stderr
    run(project, tmp_path, "down", "large", "--delete-workspace")


def _gone(api: Api, namespace: str) -> None:
    end = time.monotonic() + 60
    while api.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=nbkube.io/lab")["items"]:
        assert time.monotonic() < end, "the pod does not go"
        time.sleep(0.5)
