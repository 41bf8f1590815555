"""The storage panel's way through the Jupyter server, on a real MinIO: `python -m tests.benchmarks.storage_panel`.

A bucket of 100,000 objects under one prefix (STORAGE_OBJECTS=1000000 for more): the first page, at the server and to
the eye, a page by prefix, the server's memory, a kernel's answers meanwhile. STORAGE_IN_FOLDER=1000 puts so many of
them into a folder each; STORAGE_DISK=FOLDER keeps MinIO's data there and not in memory: on ext4 and XFS it knows by the
number of links which folders are empty, in memory it reads each to the end. What a page needs at the least stands
beside it: MinIO's own answer, and the names in the folder read once, with which MinIO begins. STORAGE_PEER names the
python of an environment with jupyter-drives, to list the same prefix.

A file up and down through the Jupyter server, against a plain copy: the same S3 requests (the same parts, as many at a
time), made by this process straight to MinIO, which saves them a whole hop; and the same once more through a relay, a
process that only hands bytes on, which is as many hops as the panel's way has.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import multiprocessing
import os
import shutil
import socket
import statistics
import sys
import tarfile
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import websocket
from minio import Minio
from playwright.sync_api import sync_playwright

from nbkube.storage import uploads
from nbkube.storage.bucket_files import Bucket
from nbkube.storage.files import Storage
from nbkube.storage.s3.transfer import copy_into
from tests import s3_servers
from tests.benchmarks.measure import Line, show
from tests.browser.lab import FLAGS
from tests.jupyter import API, ROOT, TOKEN, Server, running_server
from tests.s3_servers import S3Server

OBJECTS = int(os.environ.get("STORAGE_OBJECTS", "100000"))
IN_FOLDER = int(os.environ.get("STORAGE_IN_FOLDER", "0"))
PACK = 4_000
"""Objects of an archive: it has to go in one request, which minio sends up to 5 MiB."""
SIZE = 128 << 20
PARALLEL = 3
ROUNDS = 5
WAYS = ("by the panel's way", "straight to MinIO", "through a relay")
HEADERS = {"Authorization": f"token {TOKEN}"}


def main() -> bool:
    """Print the figures beside their bars."""
    disk = os.environ.get("STORAGE_DISK")
    minio = S3Server("minio", folder=Path(disk) if disk else None)
    try:
        os.environ.update(minio.environment())
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "project")
            project.mkdir()
            (project / "nbkube.toml").write_text(f'[profiles.local.store]\nendpoint = "{minio.endpoint}"\n')
            _fill(minio)
            with running_server(project, Path(folder, "settings"), app="lab") as server:
                lines = [*_pages(server, minio), *_eye(server), *_kernel(server), *_transfers(server, minio)]
            if peer := os.environ.get("STORAGE_PEER"):
                lines += _peer(Path(peer), project, Path(folder, "peer"))
    finally:
        minio.close()
    where = f"in folders of {IN_FOLDER:,}" if IN_FOLDER else "under one prefix"
    return show(f"storage panel, {OBJECTS:,} objects {where}", lines)


def _fill(minio: S3Server) -> None:
    """Make the objects by archives that MinIO unpacks itself."""
    keys = s3_servers.KEYS
    client = Minio(
        minio.endpoint.removeprefix("http://"),
        keys["AWS_ACCESS_KEY_ID"],
        keys["AWS_SECRET_ACCESS_KEY"],
        secure=False,
        region=keys["AWS_REGION"],
    )
    client.make_bucket("many")
    client.make_bucket("moved")

    def send(start: int) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for number in range(start, min(start + PACK, OBJECTS)):
                folder = f"{number // IN_FOLDER:07}/" if IN_FOLDER else ""
                entry = tarfile.TarInfo(f"all/{folder}{number:07}.txt")
                entry.size = 1
                archive.addfile(entry, io.BytesIO(b"x"))
        size = packed.tell()
        packed.seek(0)
        headers: dict[str, Any] = {"X-Amz-Meta-Snowball-Auto-Extract": "true"}
        client.put_object("many", f"pack-{start}.tar", packed, size, metadata=headers)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(0, OBJECTS, PACK)))


_kept = threading.local()
_senders = ThreadPoolExecutor(PARALLEL)


def _request(server: Server, verb: str, path: str, body: Any = None, **query: Any) -> http.client.HTTPResponse:
    """Send a request as a browser does: on a connection that is kept, with the cookie of who has logged in."""
    if getattr(_kept, "port", 0) != server.port:
        _kept.port = server.port
        _kept.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
        _kept.connection.request("GET", f"{API}/storage/places", headers=HEADERS)
        with _kept.connection.getresponse() as known:
            known.read()
            _kept.headers = {**HEADERS, "Cookie": known.headers["Set-Cookie"].partition(";")[0]}
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body)
    _kept.connection.request(verb, f"{API}/storage/{path}?{urlencode(query)}", raw, _kept.headers)
    answer: http.client.HTTPResponse = _kept.connection.getresponse()
    return answer


def _ask(server: Server, verb: str, path: str, body: Any = None, **query: Any) -> Any:
    with _request(server, verb, path, body, **query) as answer:
        data = answer.read()
        assert answer.status == 200, data[:500]
    return json.loads(data)


def _median(act: Callable[[], object], turns: int = 9) -> float:
    act()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        act()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _pages(server: Server, minio: S3Server) -> list[Line]:
    at = {"bucket": "many", "key": "all/"}
    place = Storage("", {**os.environ, **minio.environment()})
    alone = _median(lambda: place.page("s3://many/all/", limit=1000))
    first = _median(lambda: _ask(server, "GET", "list", limit=1000, **at))
    entries = _ask(server, "GET", "list", limit=1000, **at)["entries"]
    assert len(entries) == min(1000, OBJECTS // IN_FOLDER if IN_FOLDER else OBJECTS)
    middle = OBJECTS // 2 // (IN_FOLDER or 1)
    typed = _median(lambda: _ask(server, "GET", "list", prefix=f"{middle:07}"[:5], **at))
    names = _median(lambda: os.listdir(minio.data / "many" / "all"))
    before = _memory(server)
    after, count = "", 0
    while count < 100:
        page = _ask(server, "GET", "list", limit=1000, after=after, **at)
        after, count = page["next"], count + 1
        if not after:
            break
    grown = _memory(server) - before
    return [
        Line("first page of 1,000", first * 1000, "ms", 300),
        Line("of which MinIO takes", alone * 1000, "ms"),
        Line("of which the names in the folder take, by Python", names * 1000, "ms"),
        Line("page by a prefix of five letters", typed * 1000, "ms", 300),
        Line(f"memory after {count} pages more", grown / 2**20, "MiB", 30),
    ]


def _eye(server: Server) -> list[Line]:
    """Time from the double click on the folder to its rows on the screen, in a real browser."""
    chromium = shutil.which("chromium")
    if chromium is None or not (ROOT / "nbkube" / "labextension" / "static").is_dir():
        sys.stdout.write("\nstorage panel, to the eye: NOT MEASURED (make labextension; Chromium)\n")
        return []
    times, memory = [], []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(f"{server.url}/lab?reset&token={TOKEN}")
        page.wait_for_selector("#jupyterlab-splash", state="detached")
        page.get_by_role("tab", name="Storage", exact=True).click()
        row = page.get_by_role("region", name="Storage", exact=True).locator(".jp-DirListing-item")
        row.filter(has_text="local").dblclick()
        row.filter(has_text="many").dblclick()
        row.filter(has_text="all").wait_for()
        for _ in range(6):
            times.append(float(page.evaluate(_OPEN_FOLDER)))
            memory.append(float(page.evaluate("performance.memory.usedJSHeapSize")) / 2**20)
            page.locator(".nbk-storage-files .jp-BreadCrumbs").get_by_text("many", exact=True).click()
            row.filter(has_text="all").wait_for()
        browser.close()
    return [
        Line("the first page, to the eye", statistics.median(times[1:]), "ms", 1500),
        Line("the first page, to the eye, the first time", times[0], "ms", 1500),
        Line("the page's memory after five times more", memory[-1] - memory[0], "MiB", 30),
    ]


_OPEN_FOLDER = """async () => {
  const rows = () => [...document.querySelectorAll('.nbk-storage-files .jp-DirListing-item')];
  const folder = rows().find(row => row.textContent.includes('all'));
  const started = performance.now();
  folder.dispatchEvent(new MouseEvent('dblclick', {bubbles: true, cancelable: true}));
  while (!rows().some(row => row.textContent.includes('0000001'))) {
    await new Promise(done => requestAnimationFrame(done));
  }
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
  return performance.now() - started;
}"""


def _peer(python: Path, project: Path, settings: Path) -> list[Line]:
    """List the same prefix by jupyter-drives, which gives the first 1,025 names and no more."""
    names = {
        "AWS_ENDPOINT": os.environ["AWS_ENDPOINT_URL"], "AWS_ALLOW_HTTP": "true", "AWS_DEFAULT_REGION": "us-east-1"
    }  # fmt: skip
    os.environ.update(names)
    with running_server(project, settings, app="lab", python=python, ready="/api/status") as server:
        mount = {"drive_name": "many", "provider": "s3", "location": "us-east-1"}
        answer = server.ask("POST", "/jupyter-drives/drives", mount)
        assert answer.status < 300, answer.body[:500]

        def first() -> None:
            found = server.ask("GET", "/jupyter-drives/drives/many/all", timeout=300)
            assert found.status == 200, found.body[:500]
            assert len(found.json["data"]) > 1000, found.body[:500]

        return [Line("jupyter-drives: its first page", _median(first) * 1000, "ms")]


def _memory(server: Server) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) << 10


def _kernel(server: Server) -> list[Line]:
    """Ask a kernel something over and over, alone and while eight clients list."""
    made = server.ask("POST", "/api/kernels", {"name": "python3"}).json["id"]
    channel = websocket.create_connection(
        f"ws://127.0.0.1:{server.port}/api/kernels/{made}/channels?token={TOKEN}", timeout=60
    )

    def answers(count: int) -> list[float]:
        times = []
        for _ in range(count):
            message = uuid.uuid4().hex
            header = {"msg_id": message, "msg_type": "kernel_info_request", "username": "", "session": "b", "date": ""}
            body = {"header": {**header, "version": "5.3"}, "parent_header": {}, "metadata": {}, "content": {}}
            start = time.perf_counter()
            channel.send(json.dumps({**body, "channel": "shell"}))
            while True:
                got = json.loads(channel.recv())
                if got.get("msg_type") == "kernel_info_reply" and got["parent_header"].get("msg_id") == message:
                    break
            times.append(time.perf_counter() - start)
        return times

    answers(20)
    alone = answers(200)
    stop = threading.Event()

    def list_on() -> None:
        while not stop.is_set():
            _ask(server, "GET", "list", bucket="many", key="all/", limit=1000)

    with ThreadPoolExecutor(2) as pool:
        work = [pool.submit(list_on) for _ in range(2)]
        meanwhile = answers(200)
        stop.set()
        for one in work:
            one.result()
    channel.close()
    delay = statistics.median(meanwhile) - statistics.median(alone)
    return [
        Line("a kernel's answer, alone", statistics.median(alone) * 1000, "ms"),
        Line("later while two clients list", delay * 1000, "ms", 50),
    ]


def _transfers(server: Server, minio: S3Server) -> list[Line]:
    data = os.urandom(SIZE)
    at = {"bucket": "moved", "key": "panel.bin"}
    lines = []
    with _relay(minio.port) as port:
        direct = _bucket(minio.environment(), "direct")
        relayed = _bucket(minio.environment(AWS_ENDPOINT_URL=f"http://127.0.0.1:{port}"), "relayed")
        ways: dict[str, Sequence[Callable[[], object]]] = {
            "upload": [
                lambda: _panel_up(server, at, data),
                lambda: _direct_up(direct, data),
                lambda: _direct_up(relayed, data),
            ],
            "download": [
                lambda: _panel_down(server, at, minio.folder / "panel.bin"),
                lambda: _direct_down(direct, minio.folder / "direct.bin"),
                lambda: _direct_down(relayed, minio.folder / "relayed.bin"),
            ],
        }
        for name, acts in ways.items():
            for act in acts:
                act()
            times = [[_timed(act) for act in acts] for _ in range(ROUNDS)]
            plain, copied = (statistics.median(one[way] / one[0] for one in times) for way in (1, 2))
            rates = [SIZE / 2**20 / statistics.median(one[way] for one in times) for way in range(3)]
            lines += [
                Line(f"{name}, against the same requests straight to MinIO", plain, "", 0.8, at_least=True),
                Line(f"{name}, against the same requests through a relay", copied, "", 0.8, at_least=True),
                *(Line(f"{name} {way}", rate, "MiB/s") for way, rate in zip(WAYS, rates, strict=True)),
            ]
    assert all((minio.folder / f"{name}.bin").read_bytes() == data for name in ("panel", "direct", "relayed"))
    return lines


def _bucket(environment: dict[str, str], name: str) -> Bucket:
    return Storage("", {**os.environ, **environment}).bucket(f"s3://moved/{name}.bin")


@contextlib.contextmanager
def _relay(target: int) -> Iterator[int]:
    """A process that hands all bytes on to a port of this machine, for the time of a `with`; its own port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        process = multiprocessing.get_context("fork").Process(target=_hand_on, args=(listening, target), daemon=True)
        process.start()
        try:
            yield int(listening.getsockname()[1])
        finally:
            process.kill()
            process.join()


def _hand_on(listening: socket.socket, target: int) -> None:
    def copy(source: socket.socket, sink: socket.socket) -> None:
        buffer = memoryview(bytearray(1 << 20))
        with contextlib.suppress(OSError):
            while count := source.recv_into(buffer):
                sink.sendall(buffer[:count])
            sink.shutdown(socket.SHUT_WR)

    while True:
        here, _ = listening.accept()
        there = socket.create_connection(("127.0.0.1", target))
        for one, other in ((here, there), (there, here)):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=copy, args=(one, other), daemon=True).start()


def _timed(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def _panel_up(server: Server, at: dict[str, str], data: bytes) -> None:
    begun = _ask(server, "POST", "upload", {"size": len(data)}, **at)
    part, upload = begun["part"], begun["upload"]

    def send(number: int) -> str:
        body = data[part * (number - 1) : part * number]
        return str(_ask(server, "PUT", "upload", body, upload=upload, number=number, **at)["etag"])

    tags = list(_senders.map(send, range(1, -(-len(data) // part) + 1)))
    _ask(server, "PATCH", "upload", {"upload": upload, "parts": tags}, **at)


def _direct_up(place: Bucket, data: bytes) -> None:
    begun = uploads.begin(place, len(data))

    def send(number: int) -> str:
        return uploads.send(place, begun.id, number, data[begun.part * (number - 1) : begun.part * number])

    tags = list(_senders.map(send, range(1, -(-len(data) // begun.part) + 1)))
    uploads.complete(place, begun.id, dict(enumerate(tags, 1)))


def _panel_down(server: Server, at: dict[str, str], target: Path) -> None:
    with _request(server, "GET", "content", **at) as answer, target.open("wb") as file:
        assert answer.status == 200
        shutil.copyfileobj(answer, file, 1 << 20)


def _direct_down(place: Bucket, target: Path) -> None:
    with target.open("wb") as file:
        copy_into(place.pieces(), file)


if __name__ == "__main__":
    sys.exit(not main())
