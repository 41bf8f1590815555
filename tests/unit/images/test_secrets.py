"""A planted key in code, outputs, environment and index address: the build stops, or it is nowhere in any blob."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.errors import BuildError
from nbkube.images.own import secrets_in
from tests.building import notebook
from tests.unit.images.conftest import Make

KEY = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6"


@pytest.fixture
def project(tmp_path: Path, builder: Make, base: str, registry_host: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a profile for the test's registry and index."""
    del builder
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MY_TOKEN", KEY)
    # An index that has nothing, before a folder that has all.
    (tmp_path / "uv.toml").write_text(f'find-links = ["{tmp_path / "wheels"}"]\n')
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://ann:{KEY}@{registry_host}/simple")
    folder = tmp_path / "project"
    folder.mkdir()
    lines = ['default = "here"', "[profiles.here]", f'base = "{base}"', f'registry = "{registry_host}/secrets"']
    (folder / "nbkube.toml").write_text("\n".join([*lines, f'plain-http = ["{registry_host}"]']))
    return folder


def _write(folder: Path, code: str, shown: str = "") -> Path:
    document = notebook([("step:a", code)])
    document["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": [shown]}] if shown else []
    path = folder / "work.ipynb"
    path.write_text(json.dumps(document))
    return path


def _everything(archive: Path) -> bytes:
    """Return all bytes of an image, layers unpacked."""
    found = b""
    with tarfile.open(archive) as tar:
        for entry in tar:
            data = (tar.extractfile(entry) or io.BytesIO()).read()
            found += gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return found


def test_code_outputs_environment_and_index_are_not_in_an_image(project: Path, tmp_path: Path) -> None:
    path = _write(project, f"token = {KEY!r}", shown=KEY)
    Client(project).build(path, output=tmp_path / "image.tar")
    content = _everything(tmp_path / "image.tar")
    assert KEY.encode() not in content
    assert b"ann:" not in content
    assert len(content) > 100_000


def test_a_key_in_code_stops_a_baked_image(project: Path, tmp_path: Path) -> None:
    path = _write(project, f"token = {KEY!r}")
    with pytest.raises(
        BuildError, match=r"work\.ipynb:\d+: this looks like a key.*Fix: take it out .*nbkube: not-secret"
    ):
        Client(project).build(path, output=tmp_path / "image.tar", bake=True)
    assert not (tmp_path / "image.tar").exists()


def test_a_baked_image_has_no_outputs_and_no_private_files(project: Path, tmp_path: Path) -> None:
    path = _write(project, "x = 1", shown=KEY)
    for name in (
        ".env",
        ".env.local",
        "id_rsa",
        "server.pem",
        ".netrc",
        ".aws/credentials",
        ".ssh/config",
        "old.ipynb",
    ):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text(KEY)
    (project / "module.py").write_text("VALUE = 1\n")
    Client(project).build(path, output=tmp_path / "image.tar", bake=True)
    content = _everything(tmp_path / "image.tar")
    assert KEY.encode() not in content
    assert b"VALUE = 1" in content
    assert b"project/nbkube.toml" not in content


@pytest.mark.parametrize(
    "line",
    [
        f"token = '{KEY}'", "AKIAIOSFODNN7EXAMPLE1", "-----BEGIN RSA PRIVATE KEY-----", "https://ann:secret@host.example/x",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0", "key = 'hf_abcdefghijklmnopqrstu'",
    ],
)  # fmt: skip
def test_what_looks_like_a_key(line: str) -> None:
    (found,) = secrets_in("a.py", f"x = 1\n{line}\n".encode())
    assert found.place.line == 2
    assert KEY not in str(found)
    assert not list(secrets_in("a.py", f"{line}  # nbkube: not-secret\n".encode()))


def test_ordinary_code_is_no_key() -> None:
    source = Path(__file__).parents[3] / "nbkube"
    for path in [*source.rglob("plan.py"), *source.glob("runtime/*.py")]:
        assert list(secrets_in(path.name, path.read_bytes())) == []
