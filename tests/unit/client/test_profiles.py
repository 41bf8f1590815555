"""Clients of several profiles in one process: each reaches its own server, and the process's environment stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.client import Client
from tests import s3_servers
from tests.building import write_notebook


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a profile for each kind of server; the keys are those of the environment."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "NBKUBE_"))]:
        monkeypatch.delenv(name)
    for name, value in s3_servers.KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("NBKUBE_CACHE", str(tmp_path / "cache"))
    bucket = f"profiles-{os.urandom(4).hex()}"
    text = ""
    for kind in s3_servers.KINDS:
        server = s3_servers.running(kind)
        text += f'[profiles.{kind}.store]\nurl = "s3://{bucket}/store"\nendpoint = "{server.endpoint}"\n'
        text += f'files = "s3://{bucket}/files"\ndata = "s3://{bucket}/data"\n'
    (tmp_path / "nbkube.toml").write_text(text)
    for kind in s3_servers.KINDS:
        files = Client(tmp_path, profile=kind).storage()
        files.mb(f"s3://{bucket}")
        files.write(f"s3://{bucket}/data/who.txt", kind)
        files.write(f"s3://{bucket}/files/where.txt", f"at {kind}")
    return tmp_path


def test_each_reaches_its_own_server(project: Path) -> None:
    before = dict(os.environ)
    clients = {kind: Client(project, profile=kind) for kind in s3_servers.KINDS}
    for kind, client in clients.items():
        place = client.storage_place()
        assert client.storage().read(f"{place}/where.txt") == f"at {kind}".encode()
    stores = {kind: client._store() for kind, client in clients.items()}
    digests = {kind: store.put(kind.encode()) for kind, store in stores.items()}
    for kind, store in stores.items():
        assert [other for other, digest in digests.items() if store.has(digest)] == [kind]
    assert dict(os.environ) == before


def test_steps_read_the_data_and_files_of_their_profile(project: Path) -> None:
    notebook = write_notebook(
        project / "work.ipynb",
        [
            ("step:read", "import nbkube\nwho = open(nbkube.data('who.txt')).read()"),
            ("step:look", "import nbkube\nwhere = nbkube.storage().read('where.txt').decode()"),
            ("pipeline-metrics", "print(who, where)"),
        ],
    )
    before = dict(os.environ)
    for kind in s3_servers.KINDS:
        state = Client(project, profile=kind).run(notebook)
        assert (state.phase, state.metrics) == ("Succeeded", {"who": kind, "where": f"at {kind}"})
    assert dict(os.environ) == before
