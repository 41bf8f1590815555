"""`nbkube storage` as a person types it, against a real S3 server and folders."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import s3_servers

KIND = "minio"


def nbkube(*words: str, folder: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "NBKUBE_S3_"))}
    command = [sys.executable, "-m", "nbkube", "storage", *words]
    return subprocess.run(command, cwd=folder, env=kept | (env or {}), capture_output=True, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def lab() -> dict[str, str]:
    return s3_servers.running(KIND).environment()


def test_a_bucket_from_making_to_removing(lab: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "data" / "sub").mkdir(parents=True)
    (tmp_path / "data" / "a.csv").write_text("x\n1\n")
    (tmp_path / "data" / "sub" / "b.bin").write_bytes(bytes(range(256)))
    name = f"s3://cli-{os.urandom(4).hex()}"

    def ok(*words: str) -> bytes:
        done = nbkube(*words, folder=tmp_path, env=lab)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert json.loads(ok("mb", name, "--json")) == {"location": name, "made": True}
    assert json.loads(ok("mb", name, "--json"))["made"] is False
    assert json.loads(ok("cp", "data/", f"{name}/in/", "--json"))["bytes"] == 260
    assert [one["location"] for one in json.loads(ok("ls", f"{name}/", "-r", "--json"))] == [
        f"{name}/in/a.csv",
        f"{name}/in/sub/b.bin",
    ]
    listed = ok("ls", f"{name}/in/").decode()
    assert "4 bytes" in listed
    assert f"{name}/in/sub/" in listed
    assert f"{name}/" in ok("ls", "s3://").decode()
    assert ok("cat", f"{name}/in/sub/b.bin") == bytes(range(256))
    ok("cp", f"{name}/in/", "back/")
    assert (tmp_path / "back" / "sub" / "b.bin").read_bytes() == bytes(range(256))
    ok("cp", f"{name}/in/a.csv", ".")
    assert (tmp_path / "a.csv").read_text() == "x\n1\n"
    refused = nbkube("rm", f"{name}/in/", folder=tmp_path, env=lab)
    assert (refused.returncode, b"--yes" in refused.stderr) == (2, True)
    assert json.loads(ok("rm", f"{name}/in/", "--yes", "--json"))["removed"] == 2
    ok("rm", name)
    assert nbkube("ls", f"{name}/", folder=tmp_path, env=lab).returncode == 2


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("ls", "s3://no-such-bucket-here/"), 2, "nbkube storage mb"),
        (("ls", "s3://Bad_Name/"), 2, "no bucket name"),
        (("cat", "s3://bucket/../up"), 2, "cannot be the key"),
        (("cat", "gopher://bucket/x"), 2, "gopher:// is not supported"),
        (("cp", "no-such-file", "s3://bucket/x"), 2, "no such file"),
        (("mb", "s3://bucket/folder"), 2, "need not be made"),
    ],
)
def test_mistakes_are_told(lab: dict[str, str], tmp_path: Path, words: tuple[str, ...], code: int, told: str) -> None:
    done = nbkube(*words, folder=tmp_path, env=lab)
    assert done.returncode == code
    assert told in done.stderr.decode()
    assert b"Traceback" not in done.stderr


def test_a_server_that_cannot_be_reached(tmp_path: Path) -> None:
    env = {**s3_servers.KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "NBKUBE_S3_PATIENCE": "0.3"}
    done = nbkube("ls", "s3://bucket/", folder=tmp_path, env=env)
    assert done.returncode == 3
    assert b"cannot be reached" in done.stderr


def test_without_credentials(tmp_path: Path) -> None:
    done = nbkube("ls", "s3://bucket/", folder=tmp_path, env={"HOME": str(tmp_path)})
    assert done.returncode == 2
    assert b"AWS_ACCESS_KEY_ID" in done.stderr


def test_folders_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one").write_text("1")
    assert nbkube("cp", "a/", "b/", folder=tmp_path).returncode == 0
    assert nbkube("cat", "b/one", folder=tmp_path).stdout == b"1"
    assert [one["size"] for one in json.loads(nbkube("ls", "b", "--json", folder=tmp_path).stdout)] == [1]
    assert nbkube("rm", "b", folder=tmp_path).returncode == 2
    assert nbkube("rm", "b/", "--yes", folder=tmp_path).returncode == 0
    assert not (tmp_path / "b").exists()
    base = {"NBKUBE_STORAGE": str(tmp_path / "a")}
    assert [one["location"] for one in json.loads(nbkube("ls", "--json", folder=tmp_path, env=base).stdout)] == [
        str(tmp_path / "a" / "one")
    ]


def test_what_else_can_be_done_with_files(lab: dict[str, str], tmp_path: Path) -> None:
    name = f"s3://cli-{os.urandom(4).hex()}"
    (tmp_path / "t.csv").write_text("a,b\n1,\x1b[31m2\n")

    def ok(*words: str) -> str:
        done = nbkube(*words, folder=tmp_path, env=lab)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    ok("mb", name)
    assert json.loads(ok("mkdir", f"{name}/new/", "--json")) == {"location": f"{name}/new/", "made": True}
    ok("cp", "t.csv", f"{name}/new/t.csv")
    shown = ok("head", f"{name}/new/t.csv")
    assert shown.splitlines()[0] == "a  b"
    assert "\x1b" not in shown
    assert json.loads(ok("head", f"{name}/new/t.csv", "--json"))["kind"] == "table"
    assert json.loads(ok("mv", f"{name}/new/", f"{name}/named/", "--json"))["moved"] == 2
    found = json.loads(ok("stat", f"{name}/named/t.csv", "--json"))
    assert (found["size"], len(found["etag"])) == (13, 32)
    assert "size      13" in ok("stat", f"{name}/named/t.csv")
    assert [one["latest"] for one in json.loads(ok("versions", f"{name}/named/t.csv", "--json"))] == [True]
    assert "(newest)" in ok("versions", f"{name}/named/t.csv")
    ok("cp", "t.csv", f"{name}/u.csv")
    refused = nbkube("mv", f"{name}/u.csv", f"{name}/named/t.csv", folder=tmp_path, env=lab)
    assert (refused.returncode, b"is there already" in refused.stderr) == (2, True)
    ok("mv", f"{name}/u.csv", f"{name}/named/t.csv", "--replace")
    local = nbkube("mv", "t.csv", f"{name}/x.csv", folder=tmp_path, env=lab)
    assert (local.returncode, b"use `cp`" in local.stderr) == (2, True)
