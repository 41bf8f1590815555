"""Independent tools read the images and run them: skopeo, buildah and crane, which know nothing of nbkube."""

from __future__ import annotations

import json
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from nbkube.client import Client
from tests import registries
from tests.building import write_notebook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_IMPORTS = """
import time
began = time.perf_counter()
import nbkube.engines.argo.errand
import nbkube.storage.s3.store
print(time.perf_counter() - began)
import os, numpy
print(os.getuid(), numpy.__file__)
try:
    open("/opt/nbkube/site-packages/mark", "w")
    print("written")
except OSError as error:
    print(type(error).__name__)
"""
_CELLS = [
    ("imports", "import numpy as np\n\nfrom mine import twice"),
    ("step:make", "values = np.arange(4)"),
    ("step:use", "total = int(twice(values).sum())\nprint('total is', total)"),
]


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a registry."""
    with registries.running(tmp_path_factory.mktemp("registry")) as found:
        yield found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, host: str) -> Path:
    """A project with a profile for a registry that holds Debian with its Python."""
    registries.program("buildah", "buildah")
    registries.program("skopeo", "skopeo")
    base = registries.push_base(host, "debian", [registries.debian_layer().read_bytes()])
    return _project(tmp_path_factory.mktemp("readers") / "project", host, base)


def _project(place: Path, host: str, base: str) -> Path:
    write_notebook(place / "work.ipynb", _CELLS)
    (place / "mine.py").write_text("def twice(values):\n    return 2 * values\n")
    lines = ['default = "here"', "[profiles.here]", f'base = "{base}"', f'registry = "{host}/team"']
    (place / "nbkube.toml").write_text("\n".join([*lines, f'plain-http = ["{host}"]']))
    return place


def _run(*argv: str) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


class Buildah:
    """Containers in a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self._own = [
            "buildah",
            "--root",
            str(folder / "root"),
            "--runroot",
            str(folder / "run"),
            "--storage-driver",
            "vfs",
        ]

    def start(self, image: str) -> str:
        return _run(*self._own, "from", "--tls-verify=false", image).strip()

    def run(self, container: str, *command: str, more: tuple[str, ...] = ()) -> str:
        return _run(*self._own, "run", "--isolation", "chroot", *more, container, "--", *command)

    def remove(self, container: str) -> None:
        _run(*self._own, "rm", container)


def test_skopeo_reads_and_buildah_runs_what_was_pushed(project: Path, tmp_path: Path) -> None:
    (built,) = Client(project).build(project / "work.ipynb", push=True)
    seen = json.loads(_run("skopeo", "inspect", "--tls-verify=false", f"docker://{built.reference}"))
    assert seen["Digest"] == built.digest
    assert seen["Architecture"] == "amd64"
    # Every blob is fetched and compared with its digest.
    _run(
        "skopeo",
        "copy",
        "--insecure-policy",
        "--src-tls-verify=false",
        f"docker://{built.reference}",
        f"dir:{tmp_path / 'copy'}",
    )
    buildah = Buildah(tmp_path)
    container = buildah.start(built.reference)
    try:
        seconds, who, place, wrote = buildah.run(container, "python3", "-c", _IMPORTS).replace("\n", " ").split()
    finally:
        buildah.remove(container)
    assert float(seconds) > 0
    assert (who, wrote) == ("1000", "PermissionError")
    assert place.startswith("/opt/nbkube/site-packages/numpy/")


def test_crane_finds_every_layer_of_what_was_pushed_to_be_what_it_says(host: str, tmp_path: Path) -> None:
    crane = registries.crane()
    # Crane validates compressed layers only; it runs nothing, so that a base by name will do.
    project = _project(
        tmp_path / "project", host, registries.push_base(host, "small", registries.small_base(), packed=True)
    )
    (built,) = Client(project).build(project / "work.ipynb", push=True)
    assert _run(crane, "digest", built.reference).strip() == built.digest
    # It reads all layers and compares digests, uncompressed digests and sizes with manifest and configuration.
    assert "PASS" in _run(crane, "validate", "--remote", built.reference)
    config = json.loads(_run(crane, "config", built.reference))
    assert (config["os"], config["architecture"], config["config"]["User"]) == ("linux", "amd64", "1000:1000")
    _run(crane, "export", built.reference, str(tmp_path / "files.tar"))
    with tarfile.open(tmp_path / "files.tar") as flat:
        names = set(flat.getnames())
    assert {"opt/nbkube/site-packages/numpy/__init__.py", "opt/nbkube/site-packages/nbkube/__init__.py"} <= names
    Client(project).build(project / "work.ipynb", output=tmp_path / "image.tar")
    assert "PASS" in _run(crane, "validate", "--tarball", str(tmp_path / "image.tar"))


def test_an_archive_is_read_by_skopeo_in_both_forms(project: Path, tmp_path: Path) -> None:
    (built,) = Client(project).build(project / "work.ipynb", output=tmp_path / "image.tar")
    for form in ("oci-archive", "docker-archive"):
        seen = json.loads(_run("skopeo", "inspect", "--config", f"{form}:{tmp_path / 'image.tar'}"))
        assert seen["config"]["User"] == "1000:1000"
    (tmp_path / "layout").mkdir()
    Client(project).build(project / "work.ipynb", output=tmp_path / "layout")
    assert json.loads(_run("skopeo", "inspect", f"oci:{tmp_path / 'layout'}"))["Digest"] == built.digest


def test_a_baked_image_runs_every_step_by_itself(project: Path, tmp_path: Path) -> None:
    Client(project).build(project / "work.ipynb", bake=True, output=tmp_path / "image.tar")
    buildah = Buildah(tmp_path)
    container = buildah.start(f"oci-archive:{tmp_path / 'image.tar'}")
    try:
        said = buildah.run(container, "sh", "-c", "python3 -m nbkube.baked 2>&1")
    finally:
        buildah.remove(container)
    assert "total is 12" in said
    assert "use: Succeeded" in said
