"""What browsing a bucket needs, on each S3 server: pages, names, copies, uploads in pieces; and addresses refused."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from nbkube.errors import LocationError, NotFoundError, StorageError
from nbkube.storage import uploads
from nbkube.storage.files import Storage
from nbkube.storage.s3 import copying, transfer
from nbkube.storage.s3.access import find_credentials
from nbkube.storage.s3.addresses import check_address
from tests import s3_servers

PART = 8 << 20


@pytest.fixture(params=s3_servers.KINDS, scope="module")
def files(request: pytest.FixtureRequest) -> Storage:
    server = s3_servers.running(request.param)
    return Storage("", {"PATH": os.environ["PATH"], **server.environment()}, patience=10)


@pytest.fixture
def bucket(files: Storage) -> str:
    name = f"s3://browse-{os.urandom(4).hex()}"
    files.mb(name)
    return name


def test_pages_in_order_without_gaps(files: Storage, bucket: str) -> None:
    wanted = sorted(f"n{number:02}" for number in range(23))
    for name in wanted:
        files.write(f"{bucket}/f/{name}", b"")
    files.write(f"{bucket}/f/zub/x", b"")
    found: list[str] = []
    token = ""
    while True:
        page = files.page(f"{bucket}/f/", token=token, limit=5)
        found += [one.location.removeprefix(f"{bucket}/f/") for one in page.files]
        token = page.next
        if not token:
            break
    assert found == [*wanted, "zub/"]
    assert [one.size for one in files.page(f"{bucket}/f/", prefix="zu").files] == [None]


def test_names_and_places(files: Storage, bucket: str) -> None:
    assert files.mkdir(f"{bucket}/new/")
    assert not files.mkdir(f"{bucket}/new/")
    files.write(f"{bucket}/new/a b&<c>'\"%20.txt", b"x")
    assert files.move(f"{bucket}/new/", f"{bucket}/named/") == 2
    [kept] = files.page(f"{bucket}/named/").files
    assert files.stat(kept.location).size == 1
    with pytest.raises(LocationError, match="into itself"):
        files.move(f"{bucket}/named/", f"{bucket}/named/deeper/")
    with pytest.raises(NotFoundError):
        files.stat(f"{bucket}/nothing")
    with pytest.raises(NotFoundError):
        files.preview(f"{bucket}/nothing")


def test_an_upload_that_somebody_else_sends(files: Storage, bucket: str) -> None:
    data = os.urandom(PART + 5)
    place = files.bucket(f"{bucket}/in/large")
    begun = uploads.begin(place, len(data))
    first = uploads.send(place, begun.id, 1, data[:PART])
    assert first == hashlib.md5(data[:PART]).hexdigest()
    again = uploads.begin(place, len(data))
    assert (again.id, again.there) == (begun.id, {1: first})
    with pytest.raises(LocationError, match="gaps"):
        uploads.complete(place, begun.id, {2: first})
    uploads.complete(place, begun.id, {1: first, 2: uploads.send(place, begun.id, 2, data[PART:])})
    assert files.read(f"{bucket}/in/large") == data
    with pytest.raises(LocationError, match="5 TiB"):
        uploads.begin(place, 6 << 40)


def test_a_server_of_another_environment(files: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two profiles side by side: what the process's own variables say plays no part."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "other")
    assert files.page(f"{bucket}/").files == ()


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "fe80::1", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254",
     "0.0.0.0", "::", "224.0.0.1", "100.100.100.200", "192.0.0.192"],
)  # fmt: skip
def test_addresses_that_are_never_asked(address: str) -> None:
    with pytest.raises(LocationError, match="nothing is sent there"):
        check_address(address, "s3.example")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.7", "192.168.1.2", "203.0.113.5", "2001:db8::1"])
def test_addresses_of_servers(address: str) -> None:
    check_address(address, "s3.example")


def test_what_is_too_large_for_one_request_is_copied_in_parts(
    files: Storage, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a smaller size than that of a real server: 12 MiB in parts of 5, where one request may copy 6."""
    monkeypatch.setattr(copying, "AT_ONCE", 6 << 20)
    monkeypatch.setattr(copying, "_PART", 5 << 20)
    data = os.urandom(12 << 20)
    files.write(f"{bucket}/in/a b&c.bin", data)
    files.write(f"{bucket}/in/small", b"x")
    assert files.move(f"{bucket}/in/a b&c.bin", f"{bucket}/in/renamed.bin") == 1
    assert files.read(f"{bucket}/in/renamed.bin") == data
    assert files.move(f"{bucket}/in/", f"{bucket}/out/", keep=True) == 2
    assert files.read(f"{bucket}/out/renamed.bin") == data
    assert sorted(one.location for one in files.ls(f"{bucket}/", recursive=True)) == [
        f"{bucket}/{name}" for name in ("in/renamed.bin", "in/small", "out/renamed.bin", "out/small")
    ]
    place = files.bucket(f"{bucket}/late")
    with pytest.raises(StorageError):
        copying.copy(place.connection, "late", place.bucket, "in/renamed.bin", "0" * 32, len(data))
    assert transfer.unfinished(place.connection, "late") == ("", {})


def test_a_profile_may_name_whose_keys_it_uses(tmp_path: Path) -> None:
    endpoint = s3_servers.running("minio").environment()
    written = tmp_path / "credentials"
    keys = "".join(f"{name.lower()} = {endpoint[name]}\n" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    written.write_text(f"[right]\n{keys}[wrong]\naws_access_key_id = nobody\naws_secret_access_key = guess\n[empty]\n")
    others = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "else"}  # the environment's are not meant
    base = {**endpoint, **others, "AWS_SHARED_CREDENTIALS_FILE": str(written)}
    assert find_credentials({**base, "NBKUBE_S3_PROFILE": "right"}).access_key == endpoint["AWS_ACCESS_KEY_ID"]
    Storage("", {**base, "NBKUBE_S3_PROFILE": "right"}, patience=10).page("s3://")
    with pytest.raises(StorageError, match="credentials are wrong"):
        Storage("", {**base, "NBKUBE_S3_PROFILE": "wrong"}, patience=10).page("s3://")
    for name in ("empty", "nowhere"):
        with pytest.raises(LocationError, match=name):
            find_credentials({**base, "NBKUBE_S3_PROFILE": name})
