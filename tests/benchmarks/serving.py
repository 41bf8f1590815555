"""Serving one scikit-learn model, beside kserve's ModelServer and MLServer: `python -m tests.benchmarks.serving`.

Each lives in an environment of its own: NBKUBE_KSERVE_PYTHON and NBKUBE_MLSERVER_PYTHON name their interpreters. All
train the same classifier on the same digits and get the same requests, in the Open Inference Protocol, from one client.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.serving.connection import Connection
from nbkube.serving.load import measure, request_of
from tests.benchmarks.measure import Line, environment, show
from tests.serving import serving

TRAIN = """
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
data = load_digits()
images = data.data / 16
model = LogisticRegression(max_iter=200).fit(images[:1200], data.target[:1200])
"""
KSERVE = f"""
import sys
import numpy as np
from kserve import Model, ModelServer, InferRequest
from kserve.utils.utils import get_predict_input, get_predict_response
{TRAIN}
class Digits(Model):
    def load(self):
        self.ready = True
        return True
    def predict(self, payload, headers=None):
        return get_predict_response(payload, model.predict(get_predict_input(payload)), self.name)
digits = Digits("digits")
digits.load()
ModelServer(http_port=int(sys.argv[1]), enable_grpc=False, workers=1).start([digits])
"""
SECONDS = 8.0
CALLERS = 16
RATE = 100.0
IDLE = 3.0


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    lines: list[Line] = []
    answers: dict[str, list[Any]] = {}
    figures: dict[str, tuple[float, dict[str, float], float]] = {}
    idle: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        servers: dict[str, Any] = {"nbkube": _nbkube(folder)}
        for name, variable, start in (
            ("kserve", "NBKUBE_KSERVE_PYTHON", _kserve),
            ("mlserver", "NBKUBE_MLSERVER_PYTHON", _mlserver),
        ):
            if os.environ.get(variable):
                servers[name] = start(folder, os.environ[variable])
            else:
                sys.stdout.write(f"{variable} is not set: no comparison with {name}.\n")
        for name, server in servers.items():
            with server as (url, process):
                body, rows = _request(folder)
                answers[name] = list(_ask(url, body)["outputs"][0]["data"])
                time.sleep(IDLE)  # workers that follow the first one are there, too
                idle[name] = _memory(process) / 2**20
                rate = asyncio.run(_closed(url, body))
                slow = measure(url, body, rate=RATE, seconds=SECONDS)
                figures[name] = (rate, slow.percentiles, _memory(process) / 2**20)
                sys.stdout.write(f"{name}: {rate:.0f}/s, {slow.percentiles}, {len(rows)} rows, failed {slow.failed}\n")
        lines.append(Line("start to first answer, scikit-learn", _first_answer(folder), "s", 2.0))
    assert all(found == answers["nbkube"] for found in answers.values()), answers
    for name, (rate, percentiles, memory) in figures.items():
        lines.append(Line(f"{name}: answers a second, {CALLERS} callers", rate, "/s"))
        lines.append(Line(f"{name}: p50 at {RATE:g}/s", percentiles["p50"] * 1000, "ms"))
        lines.append(Line(f"{name}: p99 at {RATE:g}/s", percentiles["p99"] * 1000, "ms"))
        lines.append(Line(f"{name}: memory of all its processes, idle", idle[name], "MiB"))
        lines.append(Line(f"{name}: the same after the load", memory, "MiB"))
    others = [found for name, found in figures.items() if name != "nbkube"]
    if others:
        best = max(rate for rate, _, _ in others)
        least = min(percentiles["p99"] for _, percentiles, _ in others)
        ours = figures["nbkube"]
        lines.append(Line("times the better one's throughput", ours[0] / best, "x", 2.0, at_least=True))
        lines.append(Line("p99 as a part of the better one's", ours[1]["p99"] / least, "x", 1.0))
    return show("Serving a scikit-learn classifier, one example a request", lines)


def _request(folder: Path) -> tuple[bytes, list[list[float]]]:
    rows: list[list[float]] = json.loads((folder / "rows.json").read_text())
    one = {"name": "input-0", "shape": [1, 64], "datatype": "FP64", "data": rows[0]}
    return msgspec.json.encode({"id": "a", "inputs": [one]}), rows


@contextlib.contextmanager
def _nbkube(folder: Path) -> Iterator[tuple[str, int]]:
    _register(folder)
    with serving(folder / "store", "digits") as (_, endpoint):
        assert endpoint.process is not None
        yield f"{endpoint.url}/v2/models/digits/infer", endpoint.process.pid


def _register(folder: Path) -> None:
    from skops import io

    from nbkube.models.publish import add_file
    from nbkube.storage import open_store

    space: dict[str, Any] = {}
    exec(TRAIN, space)
    rows = space["images"][1200:1202].tolist()
    (folder / "rows.json").write_text(json.dumps(rows))
    io.dump(space["model"], folder / "model.skops")
    add_file(open_store(folder / "store"), "digits", folder / "model.skops", example=rows)


def _first_answer(folder: Path) -> float:
    """Return the median seconds from the start of an endpoint to its first answer over HTTP."""
    found = []
    for _ in range(3):
        started = time.perf_counter()
        with _nbkube_again(folder) as url:
            _ask(url, _request(folder)[0])
            found.append(time.perf_counter() - started)
    return statistics.median(found)


@contextlib.contextmanager
def _nbkube_again(folder: Path) -> Iterator[str]:
    with serving(folder / "store", "digits") as (_, endpoint):
        yield f"{endpoint.url}/v2/models/digits/infer"


@contextlib.contextmanager
def _kserve(folder: Path, python: str) -> Iterator[tuple[str, int]]:
    (folder / "kserve_server.py").write_text(KSERVE)
    port = _free_port()
    with _running([python, "kserve_server.py", str(port)], folder) as pid:
        yield _await(f"http://127.0.0.1:{port}", folder), pid


@contextlib.contextmanager
def _mlserver(folder: Path, python: str) -> Iterator[tuple[str, int]]:
    place = folder / "mlserver"
    place.mkdir()
    port, others = _free_port(), (_free_port(), _free_port())
    script = f"{TRAIN}\nimport joblib\njoblib.dump(model, 'model.joblib')"
    subprocess.run([python, "-c", script], cwd=place, check=True, capture_output=True)
    settings = {"http_port": port, "grpc_port": others[0], "metrics_port": others[1], "parallel_workers": 0}
    (place / "settings.json").write_text(json.dumps(settings))
    model = {
        "name": "digits",
        "implementation": "mlserver_sklearn.SKLearnModel",
        "parameters": {"uri": "./model.joblib"},
        "max_batch_size": 64,
        "max_batch_time": 0.001,
    }
    (place / "model-settings.json").write_text(json.dumps(model))
    with _running([str(Path(python).with_name("mlserver")), "start", "."], place) as pid:
        yield _await(f"http://127.0.0.1:{port}", place), pid


@contextlib.contextmanager
def _running(command: list[str], folder: Path, more: Mapping[str, str] | None = None) -> Iterator[int]:
    env = {**environment(), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **(more or {})}
    env.pop("PYTHONPATH")
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process.pid
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(base: str, folder: Path) -> str:
    """Return the address for inference once it answers."""
    url = f"{base}/v2/models/digits/infer"
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with contextlib.suppress(OSError, KeyError, ValueError, http.client.HTTPException):
            _ask(url, _request(folder if (folder / "rows.json").exists() else folder.parent)[0])
            return url
        time.sleep(0.2)
    raise RuntimeError((folder / "log").read_text()[-3000:])


def _ask(url: str, body: bytes) -> Any:
    host, port = url.split("/")[2].split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    try:
        connection.request("POST", "/" + "/".join(url.split("/")[3:]), body, {"Content-Type": "application/json"})
        answer = json.loads(connection.getresponse().read())
        answer["outputs"][0]["data"]
        return answer
    finally:
        connection.close()


async def _closed(url: str, body: bytes) -> float:
    """Return the answers a second to callers of whom each waits for its answer."""
    host, port = url.split("/")[2].split(":")
    request = request_of(url, body)
    until = time.perf_counter() + SECONDS
    count = 0

    async def call() -> None:
        nonlocal count
        connection = Connection(host, int(port))
        while time.perf_counter() < until:
            status, _, _ = await connection.send(request)
            assert status == 200, status
            count += 1
        connection.close()

    await asyncio.gather(*(call() for _ in range(CALLERS)))
    return count / SECONDS


def _memory(pid: int) -> float:
    """Return the bytes that a process and all below it hold, shared pages counted once for each (PSS where known)."""
    total = 0
    waiting = [pid]
    while waiting:
        one = waiting.pop()
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{one}/smaps_rollup").read_text()
            total += int(next(line for line in text.splitlines() if line.startswith("Pss:")).split()[1]) * 1024
            waiting += [int(child) for child in Path(f"/proc/{one}/task/{one}/children").read_text().split()]
    return float(total)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(not main())
