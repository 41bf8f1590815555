"""Large files up and down: in parts, at the same time, and going on where they were broken off."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage import ObjectStore, open_store
from nbkube.storage.files import Storage
from nbkube.storage.s3.connection import Connection
from nbkube.storage.s3.transfer import PART, Download, part_size
from tests import s3_servers
from tests.s3_proxy import CLAIM, FORWARD, LOSE_REQUEST, Proxy, Request
from tests.s3_servers import S3Server

MIB = 1 << 20


@pytest.fixture
def proxy(server: S3Server) -> Iterator[Proxy]:
    with Proxy(server.port) as one:
        os.environ["AWS_ENDPOINT_URL"] = one.endpoint
        yield one


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "large"
    path.write_bytes(os.urandom(50 * MIB + 12345))
    return path


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def unfinished(url: str, store: ObjectStore, digest: str) -> int:
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    key = f"{prefix}/objects/sha256/{digest[:2]}/{digest}"
    answer = Connection(bucket).request("GET", "", frozenset({200}), query={"uploads": "", "prefix": key})
    return len(list(ElementTree.fromstring(answer.data).iterfind("{*}Upload")))


def test_an_upload_that_was_broken_off_goes_on(
    proxy: Proxy, bucket: str, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
    url = f"{bucket}/store"
    monkeypatch.setenv("NBKUBE_S3_PATIENCE", "0.3")
    proxy.rule = lambda one: 500 if "partNumber=5&" in f"{one.query}&" else FORWARD
    with pytest.raises(StorageError):
        open_store(url).put_file(large)
    monkeypatch.delenv("NBKUBE_S3_PATIENCE")
    digest = digest_of(large)
    assert not open_store(url).has(digest)
    assert unfinished(url, open_store(url), digest) == 1
    arrived = {one.query for one in proxy.seen if "partNumber" in one.query and "partNumber=5&" not in one.query}
    proxy.rule = lambda _: FORWARD
    proxy.seen.clear()
    assert open_store(url).put_file(large) == digest
    sent_again = {one.query for one in proxy.seen if "partNumber" in one.query}
    assert len(arrived) >= 3
    assert len(sent_again & arrived) <= 1  # one may have been cut off by the end of the first attempt
    assert len(sent_again) <= 7 - len(arrived) + 1
    assert unfinished(url, open_store(url), digest) == 0
    assert open_store(url).get(digest) == large.read_bytes()


def test_known_content_costs_one_request(proxy: Proxy, bucket: str, large: Path) -> None:
    os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
    store = open_store(bucket)
    store.put_file(large)
    proxy.seen.clear()
    store.put_file(large)
    assert [one.method for one in proxy.seen] == ["HEAD"]
    store.put(b"x" * 200_000)
    proxy.seen.clear()
    store.put(b"x" * 200_000)
    assert [one.method for one in proxy.seen] == ["HEAD"]


def test_a_server_that_dies_during_an_upload(server: S3Server, large: Path) -> None:
    own = S3Server(server.kind)
    try:
        s3_servers.set_environment(own.environment())
        Storage("").mb("s3://crash")
        store = open_store("s3://crash/store")
        found: list[str] = []
        for pause in (0.05, 0.2):
            large.write_bytes(os.urandom(30 * MIB))
            thread = threading.Thread(target=lambda: found.append(store.put_file(large)))
            thread.start()
            time.sleep(pause)
            own.kill()
            time.sleep(0.3)
            own.start()
            thread.join(90)
            assert found[-1] == digest_of(large)
            assert store.get(found[-1]) == large.read_bytes()
            assert unfinished("s3://crash/store", store, found[-1]) == 0
    finally:
        own.close()


def test_a_server_that_takes_an_upload_for_completed_after_a_crash(proxy: Proxy, bucket: str, large: Path) -> None:
    """The first request to complete it is lost; the answer to its repetition is a lie."""
    os.environ["AWS_ENDPOINT_URL"] = proxy.endpoint
    fates = iter([LOSE_REQUEST, CLAIM])

    def rule(one: Request) -> str | int:
        completes = one.method == "POST" and one.query.startswith("uploadId=")
        return next(fates, FORWARD) if completes else FORWARD

    proxy.rule = rule
    url = f"{bucket}/store"
    digest = open_store(url).put_file(large)
    assert next(fates, None) is None
    assert open_store(url).get(digest) == large.read_bytes()
    assert unfinished(url, open_store(url), digest) == 0


def test_a_file_that_changes_while_it_is_sent_is_refused(bucket: str, large: Path) -> None:
    from nbkube.storage.s3.transfer import digests_of, upload

    connection = Connection(bucket.removeprefix("s3://"))
    with large.open("r+b") as file:
        digests = digests_of(file.fileno())
        file.seek(20 * MIB)
        file.write(b"changed")
        file.flush()
        with pytest.raises(StorageError, match="refuses PUT|SHA256"):
            upload(connection, "file", file.fileno(), digests, {}, {})
    assert connection.request("HEAD", "file", frozenset({200, 404})).status == 404


def test_a_file_made_shorter_while_it_is_sent_is_told(bucket: str, large: Path) -> None:
    from nbkube.storage.s3.transfer import Digests, upload

    connection = Connection(bucket.removeprefix("s3://"))
    with large.open("r+b") as file:
        size = large.stat().st_size
        file.truncate(size - 1)
        with pytest.raises(StorageError, match="was made shorter while it was sent"):
            upload(connection, "file", file.fileno(), Digests("", (), size), {}, {})
    assert connection.request("HEAD", "file", frozenset({200, 404})).status == 404


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 3 * PART + 5])
def test_ranges_are_put_together(bucket: str, size: int) -> None:
    data = os.urandom(size)
    connection = Connection(bucket.removeprefix("s3://"))
    Storage("").write(f"{bucket}/file", data)
    assert b"".join(Download(connection, "file")) == data
    if size > 10:
        assert b"".join(Download(connection, "file", 5, size - 2)) == data[5 : size - 2]
        assert b"".join(Download(connection, "file", size)) == b""


def test_an_object_replaced_while_it_is_read(bucket: str) -> None:
    connection = Connection(bucket.removeprefix("s3://"))
    Storage("").write(f"{bucket}/file", os.urandom(3 * PART))
    download = Download(connection, "file")
    Storage("").write(f"{bucket}/file", os.urandom(3 * PART))
    with pytest.raises(StorageError, match="was replaced while it was read"):
        list(download)


def test_parts_of_huge_files_keep_within_the_limit() -> None:
    assert part_size(10 << 30) == PART
    for size in (80 << 30, 1 << 40, 5 << 40):
        assert size / part_size(size) <= 10_000


def test_files_in_folders_and_buckets(bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("first\nsecond\n")
    (source / "sub" / "é b.bin").write_bytes(os.urandom(100_000))
    files = Storage(bucket)
    assert files.put(f"{source}/", "copy/") == 100_013
    assert [one.location for one in files.ls("copy/", recursive=True)] == [
        f"{bucket}/copy/a.txt",
        f"{bucket}/copy/sub/é b.bin",
    ]
    assert [one.location for one in files.ls("copy/")] == [f"{bucket}/copy/a.txt", f"{bucket}/copy/sub/"]
    with files.open("copy/a.txt", "r") as text:
        assert list(text) == ["first\n", "second\n"]
    files.get("copy/", tmp_path / "back")
    assert subprocess.run(["diff", "-r", source, tmp_path / "back"], check=False).returncode == 0
    files.get("copy/a.txt", tmp_path / "b.txt")
    assert (tmp_path / "b.txt").read_text() == "first\nsecond\n"
    files.copy("copy/a.txt", "other/")
    assert files.read("other/a.txt") == b"first\nsecond\n"
    assert files.rm("copy/") == 2
    with pytest.raises(NotFoundError, match="nothing here"):
        files.ls("copy/")
    for act in (lambda: files.read("none"), lambda: files.get("none", tmp_path), lambda: files.rm("none")):
        with pytest.raises(NotFoundError):
            act()
    assert not list(tmp_path.glob("*.part"))


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, server: S3Server) -> None:
    """S3 allows the key; versitygw and MinIO refuse to store it, so the listing is what a hostile server could send."""
    from nbkube.storage.files import _below

    for name in ("../up", "a/../../up", "..", "a//b", "", "a/\x00"):
        with pytest.raises(LocationError):
            _below(tmp_path, name)
    for url in ("s3://bucket/../x", "s3://bucket/a/../x", "s3://../x", "s3://b", "s3://BUCKET/x", "s3://10.0.0.1/x"):
        with pytest.raises(LocationError):
            Storage("").read(url)


def test_reading_here_and_there_in_a_file(bucket: str) -> None:
    data = os.urandom(2 * PART + 777)
    Storage("").write(f"{bucket}/file", data)
    with Storage("").open(f"{bucket}/file") as file:
        assert file.read(10) == data[:10]
        file.seek(PART + 3)
        assert file.read(20) == data[PART + 3 : PART + 23]
        file.seek(-7, os.SEEK_END)
        assert file.read() == data[-7:]
        file.seek(0)
        assert file.read() == data
