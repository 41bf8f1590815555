"""Records that grow in a bucket: how many requests they take, who sees what, and that nothing is lost or doubled."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from nbkube.errors import StorageError
from nbkube.storage import ObjectStore, open_store
from nbkube.storage.files import Storage
from nbkube.storage.s3 import growing
from tests.s3_proxy import Proxy
from tests.s3_servers import S3Server

APPEND = """
import sys
from nbkube.storage import open_store
store = open_store(sys.argv[1])
for number in range(int(sys.argv[2])):
    store.append("runs/r/log", b"%d\\n" % number, durable=len(sys.argv) > 4)
if len(sys.argv) > 3:
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def proxy(server: S3Server) -> Iterator[Proxy]:
    with Proxy(server.port) as one:
        os.environ["AWS_ENDPOINT_URL"] = one.endpoint
        yield one


@pytest.fixture
def url(proxy: Proxy) -> str:
    found = f"s3://test-{os.urandom(6).hex()}"
    Storage("").mb(found)
    return f"{found}/store"


def elsewhere(store: ObjectStore) -> ObjectStore:
    """Return the store as another process sees it: it knows nothing of what this process holds back."""
    growing._places.clear()
    return open_store(store.url)


def lines(count: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(count))


def test_a_durable_piece_is_one_request_and_a_look_without_news_is_one(url: str, proxy: Proxy) -> None:
    store = open_store(url)
    for number in range(10):
        store.append("runs/r/log", b"%d\n" % number, durable=True)
    assert len([one for one in proxy.seen if "runs" in one.path]) == 10
    reader = elsewhere(store)
    assert reader.read("runs/r/log") == lines(10)
    before = len(proxy.seen)
    for _ in range(5):
        assert reader.read("runs/r/log", 20) == b""
    assert len(proxy.seen) - before == 5


def test_pieces_that_are_not_durable_gather(url: str, proxy: Proxy) -> None:
    store = open_store(url)
    for number in range(1000):
        store.append("runs/r/log", b"%d\n" % number)
    assert len([one for one in proxy.seen if "runs" in one.path]) <= 2
    reader = elsewhere(store)
    end = time.monotonic() + 20
    while reader.read("runs/r/log") != lines(1000):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_many_pieces_are_merged(url: str, proxy: Proxy) -> None:
    store = open_store(url)
    for number in range(300):
        store.append("runs/r/log", b"%d\n" % number, durable=True)
    reader = elsewhere(store)
    before = len(proxy.seen)
    assert reader.read("runs/r/log") == lines(300)
    assert len(proxy.seen) - before < 140
    assert list(reader.list("runs/")) == ["runs/r/log"]
    assert list(reader.folders("runs/r/")) == []


def test_a_reader_sees_a_beginning_that_only_grows(url: str) -> None:
    code = [sys.executable, "-c", APPEND, url, "400", "", "durable"]
    writer = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    seen = 0
    store = open_store(url)
    try:
        while seen < len(lines(400)):
            whole = store.read("runs/r/log") or b""
            assert lines(400).startswith(whole)
            assert len(whole) >= seen
            seen = len(whole)
            assert (store.read("runs/r/log", seen // 2) or b"").startswith(whole[seen // 2 :])
    finally:
        writer.communicate(b"", timeout=60)
    assert store.read("runs/r/log") == lines(400)


def test_the_end_of_a_process_sends_everything_and_leaves_one_object(url: str, server: S3Server) -> None:
    subprocess.run([sys.executable, "-c", APPEND, url, "100"], check=True)
    assert open_store(url).read("runs/r/log") == lines(100)
    subprocess.run([sys.executable, "-c", APPEND, url, "70", "", "durable"], check=True, stdin=subprocess.DEVNULL)
    assert open_store(url).read("runs/r/log") == lines(100) + lines(70)
    assert [one.location for one in Storage("").ls(f"{url}/runs/", recursive=True)] == [f"{url}/runs/r/log"]


def test_what_was_durable_survives_a_kill_and_the_next_process_goes_on(url: str) -> None:
    code = [sys.executable, "-c", APPEND, url, "30", "", "durable"]
    writer = subprocess.Popen(code, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"ready\n"
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=60)
    store = open_store(url)
    assert store.read("runs/r/log") == lines(30)
    store.append("runs/r/log", b"30\n", durable=True)
    assert elsewhere(store).read("runs/r/log") == lines(31)


def test_two_writers_in_turn_lose_nothing(url: str) -> None:
    first = open_store(url)
    places = [growing._places.copy()]
    for number in range(12):
        first.append("runs/r/log", b"%d\n" % number, durable=True)
        growing._places.clear()
        growing._places.update(places.pop(0) if len(places) > 1 else {})
        places.append(growing._places.copy())
    assert elsewhere(first).read("runs/r/log") == lines(12)


def test_a_record_begun_again_with_the_same_bytes_is_another_one(url: str) -> None:
    store = open_store(url)
    store.append("runs/r/log", b"same\n", durable=True)
    store.append("runs/r/log", b"old\n", durable=True)
    reader = elsewhere(store)
    assert reader.read("runs/r/log") == b"same\nold\n"
    kept = growing._places.copy()
    writer = elsewhere(store)
    writer.remove("runs/r/log")
    writer.append("runs/r/log", b"same\n", durable=True)
    writer.append("runs/r/log", b"new\n", durable=True)
    growing._places.clear()
    growing._places.update(kept)
    assert reader.read("runs/r/log") == b"same\nnew\n"
    assert reader.read("runs/r/log", 5) == b"new\n"


def test_left_over_parts_count_for_nothing(url: str) -> None:
    store = open_store(url)
    store.append("runs/r/log", b"one\n", durable=True)
    store.append("runs/r/log", b"two\n", durable=True)
    Storage("").rm(f"{url}/runs/r/log")  # as a removal that was cut short
    reader = elsewhere(store)
    assert reader.read("runs/r/log") is None
    assert reader.read("runs/r/log", 2) is None
    assert list(reader.list("runs/")) == []
    assert reader.create("runs/r/log", b"plain")
    assert reader.read("runs/r/log") == b"plain"


def test_what_cannot_be_sent_is_kept_and_told(url: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(url)
    store.append("runs/r/log", b"0\n", durable=True)
    monkeypatch.setenv("NBKUBE_S3_PATIENCE", "0.2")
    proxy.rule = lambda request: 503
    with pytest.raises(StorageError):
        store.append("runs/r/log", b"1\n", durable=True)
    proxy.rule = lambda request: "forward"
    store.append("runs/r/log", b"2\n", durable=True)
    assert elsewhere(store).read("runs/r/log") == lines(3)


def test_a_child_of_a_fork_does_not_send_what_its_parent_holds_back(url: str) -> None:
    store = open_store(url)
    store.append("runs/r/log", b"once\n")
    child = os.fork()
    if not child:
        try:
            growing.finish()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert store.read("runs/r/log") == b"once\n"
