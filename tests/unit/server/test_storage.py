"""Files of buckets by the interface, on a real S3 server: every verb, and nothing that lies elsewhere."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests import s3_servers
from tests.jupyter import API, TOKEN, Answer, Server, running_server
from tests.s3_servers import S3Server

Ask = Callable[..., Answer]
PART = 8 << 20


@pytest.fixture(scope="module")
def minio() -> Iterator[S3Server]:
    server = S3Server("minio")
    yield server
    server.close()


@pytest.fixture(scope="module")
def canary() -> Iterator[tuple[str, list[str]]]:
    """A server that nothing may ever ask, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.fixture(scope="module")
def redirecting(canary: tuple[str, list[str]]) -> Iterator[str]:
    """An S3 server that sends everybody on to the canary."""
    place = canary[0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(307)
            self.send_header("Location", f"{place}/latest/meta-data/")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PUT = do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


PROFILES = """
default = "lab"

[profiles.lab.store]
endpoint = "{endpoint}"
region = "us-east-1"

[profiles.redirected.store]
endpoint = "{redirecting}"
region = "us-east-1"

[profiles.metadata.store]
endpoint = "http://169.254.169.254"

[profiles.gone.store]
endpoint = "http://127.0.0.1:9"
"""


@pytest.fixture(scope="module")
def served(minio: S3Server, redirecting: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "nbkube.toml").write_text(PROFILES.format(endpoint=minio.endpoint, redirecting=redirecting))
    (folder / ".nbkube" / "runs").mkdir(parents=True)
    (folder / ".nbkube" / "runs" / "note.txt").write_text("a run")
    (folder / "secret.txt").write_text("outside of the store")
    (folder / ".nbkube" / "way-out").symlink_to(folder)
    keys = {name: value for name, value in s3_servers.KEYS.items() if name != "AWS_REGION"}
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in keys.items():
            patch.setenv(name, value)
        with running_server(folder, tmp_path_factory.mktemp("settings")) as found:
            yield found


@pytest.fixture(scope="module")
def ask(served: Server) -> Ask:
    def send(verb: str, path: str, body: Any = None, raw: bytes | None = None, **query: Any) -> Answer:
        address = f"{API}/storage/{path}?{urlencode(query)}"
        if raw is None:
            return served.ask(verb, address, body)
        connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
        try:
            connection.request(verb, address, raw, {"Authorization": f"token {TOKEN}"})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    return send


@pytest.fixture
def bucket(ask: Ask) -> str:
    name = f"b-{os.urandom(4).hex()}"
    assert ask("POST", "folder", bucket=name).json == {"made": True}
    return name


def names(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["name"] for one in answer.json["entries"]]


def test_places_are_the_profiles(ask: Ask) -> None:
    found = ask("GET", "places").json["places"]
    assert [one["name"] for one in found] == ["lab", "gone", "local", "metadata", "redirected"]
    assert found[0]["buckets"]
    assert b"AWS" not in ask("GET", "places").body


def test_an_object_from_writing_to_removing(ask: Ask, bucket: str) -> None:
    key = "in/a table.csv"
    assert ask("PUT", "content", raw=b"a,b\n1,2\n", bucket=bucket, key=key).status == 200
    assert ask("GET", "stat", bucket=bucket, key=key).json["size"] == 8
    listed = ask("GET", "list", bucket=bucket).json
    assert [(one["kind"], one["name"], one["key"]) for one in listed["entries"]] == [("folder", "in", "in/")]
    assert names(ask("GET", "list", bucket=bucket, key="in/")) == ["a table.csv"]
    assert ask("GET", "preview", bucket=bucket, key=key).json["rows"] == [["a", "b"], ["1", "2"]]
    answer = ask("GET", "content", bucket=bucket, key=key)
    assert (answer.status, answer.body) == (200, b"a,b\n1,2\n")
    assert answer.headers["content-disposition"].startswith("attachment;")
    assert answer.headers["x-content-type-options"] == "nosniff"
    to = {"bucket": bucket, "key": "out.csv"}
    assert ask("POST", "copy", to, bucket=bucket, key=key).json == {"count": 1}
    refused = ask("POST", "copy", to, bucket=bucket, key=key)
    assert refused.status == 400
    assert "is there already" in refused.json["message"]
    assert ask("POST", "copy", {**to, "replace": True, "move": True}, bucket=bucket, key=key).status == 200
    assert names(ask("GET", "list", bucket=bucket)) == ["out.csv"]
    assert ask("DELETE", "content", bucket=bucket, key="out.csv").json == {"count": 1}
    assert ask("DELETE", "content", bucket=bucket).json == {"count": 1}
    assert bucket not in names(ask("GET", "list"))


def test_folders(ask: Ask, bucket: str) -> None:
    assert ask("POST", "folder", bucket=bucket, key="new/").json == {"made": True}
    assert ask("POST", "folder", bucket=bucket, key="new/").json == {"made": False}
    assert (
        ask("POST", "copy", {"bucket": bucket, "key": "named/", "move": True}, bucket=bucket, key="new/").status == 200
    )
    ask("PUT", "content", raw=b"1", bucket=bucket, key="named/deep/x")
    assert names(ask("GET", "list", bucket=bucket)) == ["named"]
    inside = ask("POST", "copy", {"bucket": bucket, "key": "named/in/"}, bucket=bucket, key="named/")
    assert "into itself" in inside.json["message"]
    assert ask("DELETE", "content", bucket=bucket, key="named/").json == {"count": 2}


def test_pages_and_prefixes(ask: Ask, bucket: str) -> None:
    for number in range(7):
        ask("PUT", "content", raw=b"", bucket=bucket, key=f"{'ab'[number % 2]}{number}")
    first = ask("GET", "list", bucket=bucket, limit=4)
    second = ask("GET", "list", bucket=bucket, limit=4, after=first.json["next"])
    assert names(first) + names(second) == ["a0", "a2", "a4", "a6", "b1", "b3", "b5"]
    assert second.json["next"] == ""
    assert names(ask("GET", "list", bucket=bucket, prefix="b")) == ["b1", "b3", "b5"]
    assert ask("GET", "list", bucket=bucket, limit=1001).status == 400


def test_an_upload_that_is_broken_off_and_resumed(ask: Ask, bucket: str) -> None:
    data = os.urandom(2 * PART + 1000)
    at = {"bucket": bucket, "key": "large.bin"}
    begun = ask("POST", "upload", {"size": len(data)}, **at).json
    assert (begun["part"], begun["there"]) == (PART, {})
    first = ask("PUT", "upload", raw=data[:PART], upload=begun["upload"], number=1, **at).json["etag"]
    assert first == hashlib.md5(data[:PART]).hexdigest()
    again = ask("POST", "upload", {"size": len(data)}, **at).json
    assert again == {**begun, "there": {"1": first}}
    tags = [first] + [
        ask("PUT", "upload", raw=data[PART * n : PART * (n + 1)], upload=begun["upload"], number=n + 1, **at).json[
            "etag"
        ]
        for n in (1, 2)
    ]
    gaps = ask("PATCH", "upload", {"upload": begun["upload"], "parts": []}, **at)
    assert gaps.status == 400
    assert ask("PATCH", "upload", {"upload": begun["upload"], "parts": tags}, **at).json["size"] == len(data)
    assert hashlib.sha256(ask("GET", "content", **at).body).digest() == hashlib.sha256(data).digest()
    given_up = ask("POST", "upload", {"size": len(data)}, **at).json["upload"]
    assert ask("DELETE", "upload", upload=given_up, **at).status == 200
    late = ask("PUT", "upload", raw=b"x", upload=given_up, number=1, **at)
    assert (late.status, "Begin it anew" in late.json["message"]) == (404, True)


def sent(served: Server, path: str, body: Any, headers: dict[str, str] | None = None, **more: Any) -> tuple[int, bytes]:
    """PUT a body as it is, with the token unless other headers are given; return status and answer."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)
    with contextlib.closing(connection):
        given = {"Authorization": f"token {TOKEN}"} if headers is None else headers
        connection.request("PUT", f"{API}/storage/content?{path}", body, given, **more)
        answer = connection.getresponse()
        return answer.status, answer.read()


def test_bodies_of_all_sizes_at_the_same_time(served: Server, ask: Ask, bucket: str) -> None:
    """Their memory is used again, and none ever gets into another's."""
    sizes = [PART, PART - 1, PART // 2 + 1, PART + 1, 1, 0, 70_000] * 2
    bodies = {f"{number}.bin": os.urandom(size) for number, size in enumerate(sizes)}
    with ThreadPoolExecutor(6) as pool:
        answers = list(
            pool.map(lambda one: sent(served, urlencode({"bucket": bucket, "key": one[0]}), one[1]), bodies.items())
        )
    assert {status for status, _ in answers} == {200}
    for key, data in bodies.items():
        assert ask("GET", "content", bucket=bucket, key=key).body == data


def test_a_body_without_a_length(served: Server, ask: Ask, bucket: str) -> None:
    pieces = [os.urandom(300_000) for _ in range(3)]
    chunked = {"Authorization": f"token {TOKEN}", "Transfer-Encoding": "chunked"}
    place = urlencode({"bucket": bucket, "key": "x"})
    assert sent(served, place, iter(pieces), chunked, encode_chunked=True)[0] == 200
    assert ask("GET", "content", bucket=bucket, key="x").body == b"".join(pieces)


def test_a_sender_that_asks_first(served: Server, bucket: str) -> None:
    head = (
        f"PUT {API}/storage/content?bucket={bucket}&key=x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: token {TOKEN}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as one, one.makefile("rb") as answer:
        one.sendall(head.encode())
        assert answer.readline() == b"HTTP/1.1 100 (Continue)\r\n"
        assert answer.readline() == b"\r\n"
        one.sendall(b"hello")
        assert b" 200 " in answer.readline()


def test_who_may_not_is_told_so(served: Server, bucket: str) -> None:
    """Also one who has sent a whole part before reading the answer."""
    place = urlencode({"bucket": bucket, "key": "x"})
    for size in (0, 10, PART):
        assert sent(served, place, bytes(size), {})[0] == 403


def test_a_body_that_is_too_large_is_not_read(served: Server, bucket: str) -> None:
    head = (
        f"PUT {API}/storage/content?bucket={bucket}&key=x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: token {TOKEN}\r\nContent-Length: {1 << 40}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as one, one.makefile("rb") as answer:
        one.sendall(head.encode())
        assert b" 413 " in answer.readline()


def test_a_sender_that_goes_leaves_no_trace(served: Server, ask: Ask, bucket: str) -> None:
    head = (
        f"PUT {API}/storage/content?bucket={bucket}&key=half HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: token {TOKEN}\r\nContent-Length: {PART}\r\n\r\n"
    )
    before = served.log.stat().st_size
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", served.port), timeout=60) as one:
            one.sendall(head.encode() + b"half of it")
    data = os.urandom(PART)
    assert sent(served, urlencode({"bucket": bucket, "key": "whole"}), data)[0] == 200
    assert ask("GET", "content", bucket=bucket, key="whole").body == data
    assert ask("GET", "stat", bucket=bucket, key="half").status == 404
    assert b"Traceback" not in served.log.read_bytes()[before:]


def keep_versions(server: S3Server, bucket: str) -> None:
    """Have a bucket keep all versions of its objects."""
    from minio import Minio
    from minio.commonconfig import ENABLED
    from minio.versioningconfig import VersioningConfig

    keys = s3_servers.KEYS
    client = Minio(
        server.endpoint.removeprefix("http://"),
        keys["AWS_ACCESS_KEY_ID"],
        keys["AWS_SECRET_ACCESS_KEY"],
        secure=False,
        region=keys["AWS_REGION"],
    )
    client.set_bucket_versioning(bucket, VersioningConfig(ENABLED))


def test_versions(ask: Ask, bucket: str, minio: S3Server) -> None:
    keep_versions(minio, bucket)
    for text in (b"old", b"newer"):
        ask("PUT", "content", raw=text, bucket=bucket, key="x")
    kept = ask("GET", "versions", bucket=bucket, key="x").json["versions"]
    assert [(one["size"], one["latest"]) for one in kept] == [(5, True), (3, False)]
    restored = ask("POST", "versions", {"version": kept[1]["id"]}, bucket=bucket, key="x").json["versions"]
    assert len(restored) == 3
    assert ask("GET", "content", bucket=bucket, key="x").body == b"old"
    ask("DELETE", "content", bucket=bucket, key="x")
    assert ask("GET", "versions", bucket=bucket, key="x").json["versions"][0]["deleted"]


def example(**values: bytes | int) -> bytes:
    """A serialised tf.train.Example, written by hand."""

    def field(number: int, body: bytes) -> bytes:
        return bytes([number << 3 | 2, len(body)]) + body

    def feature(value: bytes | int) -> bytes:
        return field(1, field(1, value)) if isinstance(value, bytes) else field(3, field(1, bytes([value])))

    entries = [field(1, field(1, name.encode()) + field(2, feature(value))) for name, value in values.items()]
    return field(1, b"".join(entries))


def test_previews(ask: Ask, bucket: str) -> None:
    payload = example(label=1, text=b"good film")
    record = struct.pack("<Q", len(payload)) + b"\0" * 4 + payload + b"\0" * 4
    book = {"cells": [{"cell_type": "code", "source": ["a = 1\n", "b"], "outputs": [{"data": {"text/html": "<b>"}}]}]}
    files = {
        "t.txt": ("text", b"hello"),
        "p.png": ("image", b"\x89PNG"),
        "n.ipynb": ("notebook", json.dumps(book).encode()),
        "r.tfrecord": ("records", record * 3),
        "m.pkl": ("other", b"\x80\x04cposix\nsystem\n(S'touch pwned'\ntR.\0"),
        "broken.ipynb": ("text", b"{"),
        "broken.tfrecord": ("other", os.urandom(100)),
    }
    found = {}
    for key, (kind, data) in files.items():
        ask("PUT", "content", raw=data, bucket=bucket, key=key)
        found[key] = ask("GET", "preview", bucket=bucket, key=key).json
        assert found[key]["kind"] == kind, (key, found[key])
    assert found["n.ipynb"]["cells"] == [{"kind": "code", "source": "a = 1\nb"}]
    [text] = [one for one in found["r.tfrecord"]["records"][2]["features"] if one["name"] == "text"]
    assert (text["type"], text["text"]) == ("bytes", "'good film'")
    assert not Path("pwned").exists()


def test_a_packed_file_that_would_fill_the_memory(ask: Ask, bucket: str) -> None:
    import gzip

    bomb = gzip.compress(b"0" * (200 << 20), 9)
    ask("PUT", "content", raw=bomb, bucket=bucket, key="bomb.csv.gz")
    found = ask("GET", "preview", bucket=bucket, key="bomb.csv.gz").json
    assert found["cut"]
    assert len(json.dumps(found)) < 1 << 20


def test_the_store_is_for_looking_at(ask: Ask) -> None:
    assert ".nbkube" in names(ask("GET", "list"))
    listed = ask("GET", "list", bucket=".nbkube", key="runs/").json
    assert not listed["writable"]
    assert [(one["name"], one["holds"]) for one in listed["entries"]] == [("note.txt", "run")]
    assert ask("GET", "content", bucket=".nbkube", key="runs/note.txt").body == b"a run"
    for verb, path, more in (
        ("DELETE", "content", {}),
        ("PUT", "content", {"raw": b"x"}),
        ("POST", "upload", {"body": {"size": 1}}),
    ):
        refused = ask(verb, path, bucket=".nbkube", key="runs/note.txt", **more)
        assert (refused.status, "nbkube alone" in refused.json["message"]) == (400, True)


WAYS_OUT = [
    "../secret.txt", "..", "../", "/etc/passwd", "//etc/passwd", "runs/../../secret.txt", "runs/./../../secret.txt",
    "way-out/secret.txt", "way-out/", "runs//../../secret.txt", "%2e%2e/secret.txt", "..\\secret.txt",
    "..%2fsecret.txt",    "runs/note.txt/../../../secret.txt", "\0", "runs\0/../secret.txt", "~root/.profile", "file:///etc/passwd",
    "s3://x/y", "runs/" + "a/" * 900, "\ud800", "../" * 40 + "etc/passwd",
]  # fmt: skip


def test_no_key_leads_out_of_the_store(ask: Ask) -> None:
    for key in WAYS_OUT:
        for bucket in (".nbkube", "..", ".", "/", "etc", "../..", "local", "file:", "%2e%2e"):
            query = {"bucket": bucket.encode(), "key": key.encode("utf-8", "surrogatepass")}
            for path in ("content", "list", "stat", "preview"):
                answer = ask("GET", path, **query)
                assert answer.status in (400, 404, 503), (bucket, key, path, answer.status, answer.body)
                assert b"outside of the store" not in answer.body
                assert b"root:" not in answer.body


def test_nothing_is_asked_of_other_hosts(ask: Ask, canary: tuple[str, list[str]]) -> None:
    """Redirects lead nowhere, addresses of metadata services are refused, and a request cannot name a server."""
    for path in ("list", "stat", "content", "preview"):
        key = "" if path == "list" else "x"
        assert ask("GET", path, place="redirected", bucket="abc", key=key).status in (400, 503), path
        refused = ask("GET", path, place="metadata", bucket="abc", key=key)
        assert (refused.status, "nothing is sent there" in refused.json["message"]) == (400, True)
    for name in ("endpoint", "url", "host", "region", "AWS_ENDPOINT_URL"):
        assert ask("GET", "list", **{name: canary[0]}).status == 400
    for name in (canary[0], f"{canary[0]}/x", "x@127.0.0.1", "127.0.0.1", "a/../b"):
        assert ask("GET", "list", bucket=name).status == 400
        assert ask("GET", "list", place=name).status in (400, 404)
    assert canary[1] == []


def test_a_server_that_is_away_and_back(ask: Ask, minio: S3Server, bucket: str) -> None:
    assert ask("GET", "list", bucket=bucket).status == 200
    minio.kill()
    answer = ask("GET", "list", bucket=bucket)
    assert (answer.status, "cannot be reached" in answer.json["message"]) == (503, True)
    minio.start()
    assert ask("GET", "list", bucket=bucket).status == 200
    assert ask("GET", "list", place="gone").status == 503


def test_logs_hold_no_signatures_and_no_keys(served: Server, ask: Ask, bucket: str) -> None:
    ask("PUT", "content", raw=b"x", bucket=bucket, key="x")
    ask("GET", "content", bucket=bucket, key="x")
    log = served.log.read_text(errors="replace")
    assert "X-Amz-Signature" not in log
    for value in (s3_servers.KEYS["AWS_SECRET_ACCESS_KEY"], s3_servers.KEYS["AWS_ACCESS_KEY_ID"]):
        assert value not in log
