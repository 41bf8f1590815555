"""What cannot be built is one sentence that ends with what to do."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3

from nbkube.errors import BuildError, NbkubeError, RegistryError
from nbkube.images.cache import ImageCache
from nbkube.images.reference import parse
from nbkube.images.uv import Uv
from tests import registries, wheelhouse
from tests.unit.images.conftest import Make, environment


def refused(builder: Make, requirements: list[str], kind: type[NbkubeError], match: str, **settings: object) -> str:
    maker = builder(**settings)
    with pytest.raises(kind, match=match) as told:
        maker.prepare(environment(requirements))
    text = str(told.value)
    assert "Fix: " in text
    assert "\n" not in text
    return text


# -- requirements ------------------------------------------------------------------------------------------------------

_REQUIREMENTS: dict[str, tuple[list[str], str]] = {
    "not on the index": (["nosuch"], r"nosuch is not on the package index\. Fix: correct its name.*UV_FIND_LINKS"),
    "no such version": (["alpha==9"], r"the package index has no alpha==9\. Fix: choose another version"),
    "sources only": (["sourced"], r"sourced has no wheel .*Fix: build one \(pip wheel --no-deps sourced"),
    "another platform": (["windows"], r"windows has wheels for win_amd64 only, none for the pods"),
    "another processor": (["armed"], r"armed has wheels for \S*aarch64 only, none for the pods"),
    "another Python": (["ancient"], r"ancient has wheels for cp27 only, none for the pods"),
    "a newer C library": (["modern"], r"modern has wheels for \S*2_99\S* only, none for the pods"),
    "two that exclude each other": (["alpha<1", "beta"], r"requirements cannot be met|index has no|alpha"),
}


@pytest.mark.parametrize("name", _REQUIREMENTS)
def test_requirements_that_cannot_be_met(name: str, builder: Make, wheels: Path) -> None:
    wheelhouse.make_sources(wheels, "sourced", "1.0")
    wheelhouse.make_wheel(wheels, "windows", "1.0", tag="py3-none-win_amd64")
    wheelhouse.make_wheel(wheels, "armed", "1.0", tag="py3-none-manylinux_2_17_aarch64")
    wheelhouse.make_wheel(wheels, "ancient", "1.0", tag="cp27-cp27m-manylinux_2_17_x86_64")
    wheelhouse.make_wheel(wheels, "modern", "1.0", tag="py3-none-manylinux_2_99_x86_64")
    requirements, match = _REQUIREMENTS[name]
    refused(builder, requirements, BuildError, match)


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, wheels: Path) -> Iterator[Callable[[int], str]]:
    """A package index that answers every request with one status; its address holds a password."""
    status = [500]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answering(number: int) -> str:
        status[0] = number
        (wheels.parent / "uv.toml").write_text("")
        monkeypatch.setenv("UV_HTTP_RETRIES", "0")
        address = f"http://ann:pa55-word@127.0.0.1:{server.server_address[1]}/simple"
        monkeypatch.setenv("UV_DEFAULT_INDEX", address)
        return address

    yield answering
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("status", [401, 403])
def test_an_index_that_does_not_let_us_in(status: int, builder: Make, index: Callable[[int], str]) -> None:
    index(status)
    text = refused(
        builder, ["alpha"], RegistryError, r"index does not let us in \(\S+\)\. Fix: give its user and password"
    )
    assert "pa55-word" not in text


def test_an_index_that_is_broken_hides_the_password(builder: Make, index: Callable[[int], str]) -> None:
    index(500)
    assert "pa55-word" not in refused(builder, ["alpha"], NbkubeError, "Fix: ")


def test_an_index_that_is_not_there(
    builder: Make, index: Callable[[int], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index(200)
    port = registries.free_port()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{port}/simple")
    refused(builder, ["alpha"], RegistryError, rf"127\.0\.0\.1:{port} cannot be reached\. Fix: check the network")


def test_a_wheel_that_is_another_than_was_locked(
    builder: Make, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builder().prepare(environment(["alpha"]))
    wheelhouse.make_wheel(wheels, "alpha", "1.0", {"alpha/__init__.py": b"changed = True\n"})
    # Another machine with the same lock and nothing else.
    (tmp_path / "other").mkdir()
    (tmp_path / "cache" / "notes").rename(tmp_path / "other" / "notes")
    for path in (tmp_path / "other" / "notes" / "layers").iterdir():
        path.unlink()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-2"))
    with pytest.raises(BuildError, match=r"is not the one that was locked\. Fix: lock again: nbkube build --refresh"):
        builder("other").prepare(environment(["alpha"]))


def test_without_uv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match=r"uv, which is not installed\. Fix: pip install 'nbkube\[images\]'"):
        Uv()


# -- bases -------------------------------------------------------------------------------------------------------------


def test_a_base_that_is_not_there(builder: Make, registry_host: str) -> None:
    refused(
        builder,
        [],
        BuildError,
        r"there is no base image \S+/no/such:1\. Fix: correct `base`",
        base=f"{registry_host}/no/such:1",
    )


@pytest.mark.parametrize(
    "text", ["Upper/Case:1", "x:y:z", "host.example/", "a@sha256:abc", "x" * 600, "a b", "h.example/a//b", "@"]
)
def test_no_reference(text: str) -> None:
    with pytest.raises(BuildError, match=r"is no image\. Fix: write e\.g\."):
        parse(text)


def test_references_are_read_as_container_tools_do() -> None:
    assert str(parse("python:3.11-slim")) == "docker.io/library/python:3.11-slim"
    assert str(parse("team/image")) == "docker.io/team/image:latest"
    assert str(parse("localhost:5000/a/b")) == "localhost:5000/a/b:latest"
    assert str(parse(f"r.example/a:1@sha256:{'a' * 64}")) == f"r.example/a@sha256:{'a' * 64}"


_BASES: dict[str, tuple[Callable[[str], str], str]] = {
    "another Python": (
        lambda host: registries.push_base(
            host, "bases/other-python", registries.small_base(), environment=("PYTHON_VERSION=3.2.1",)
        ),
        r"has Python 3\.2, the notebook runs on 3\.\d+; .*Fix: set base to an image with Python",
    ),
    "no Python": (
        lambda host: registries.push_base(host, "bases/none", [registries.tar({"bin/sh": b""})]),
        r"has no Python 3\. Fix: use a base with one",
    ),
    "another processor": (
        lambda host: registries.push_base(host, "bases/arm", registries.small_base(), architecture="arm64"),
        r"is for linux/arm64, the nodes are linux/amd64\. Fix: choose another base",
    ),
    "a damaged layer": (
        lambda host: registries.push_base(host, "bases/damaged", [b"no tar at all" * 100]),
        r"a layer of the base image is damaged .*Fix: push that image anew",
    ),
    "too many layers": (
        lambda host: registries.push_base(
            host, "bases/many", [*registries.small_base(), *(registries.tar({f"f{n}": b""}) for n in range(119))]
        ),
        r"has 120 layers, nodes take 127\. Fix: use a flatter base",
    ),
}


@pytest.mark.parametrize("name", _BASES)
def test_bases_that_steps_cannot_run_upon(name: str, builder: Make, registry_host: str) -> None:
    make, match = _BASES[name]
    refused(builder, ["alpha"], BuildError, match, base=make(registry_host))


def _put(host: str, repository: str, manifest: dict[str, object], kind: str) -> str:
    data = json.dumps(manifest).encode()
    answer = urllib3.request(
        "PUT", f"http://{host}/v2/{repository}/manifests/1", body=data, headers={"Content-Type": kind}
    )
    assert answer.status == 201, answer.data
    return f"{host}/{repository}:1"


def test_an_index_without_the_processor(builder: Make, registry_host: str) -> None:
    arm = registries.push_base(registry_host, "bases/index", registries.small_base(), architecture="arm64", tag="arm")
    kind = "application/vnd.oci.image.manifest.v1+json"
    there = urllib3.request("GET", f"http://{registry_host}/v2/bases/index/manifests/arm", headers={"Accept": kind})
    entry = {
        "mediaType": kind, "digest": there.headers["Docker-Content-Digest"], "size": len(there.data),
        "platform": {"os": "linux", "architecture": "arm64"},
    }  # fmt: skip
    index = "application/vnd.oci.image.index.v1+json"
    base = _put(registry_host, "bases/index", {"schemaVersion": 2, "mediaType": index, "manifests": [entry]}, index)
    refused(builder, [], BuildError, r"is there for arm64, not for amd64\. Fix: choose another base", base=base)
    assert builder(base=base, architecture="arm64").prepare(environment(["alpha"])).base.architecture == "arm64"
    assert arm


def test_a_base_packed_by_zstd(builder: Make, registry_host: str) -> None:
    base = registries.push_base(registry_host, "bases/zstd", registries.small_base())
    kind = "application/vnd.oci.image.manifest.v1+json"
    there = urllib3.request("GET", f"http://{registry_host}/v2/bases/zstd/manifests/1", headers={"Accept": kind})
    manifest = json.loads(there.data)
    manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+zstd"
    refused(
        builder,
        [],
        BuildError,
        r"packed by zstd, .*Fix: use a base with gzip",
        base=_put(registry_host, "bases/zstd", manifest, kind),
    )
    assert base


def test_what_a_base_is_told_by_its_files(builder: Make, registry_host: str) -> None:
    musl = {f"usr/local/bin/python{registries.PYTHON}": b"", "lib/ld-musl-x86_64.so.1": b""}
    packed = gzip.compress(registries.tar(musl))
    assert packed
    found = builder(base=registries.push_base(registry_host, "bases/musl", [registries.tar(musl)]))._base()
    assert (found.libc, found.python) == ("musl", registries.PYTHON)
    glibc = builder()._base()
    assert (glibc.libc, glibc.libc_version) == ("glibc", "2.36")


# -- this machine ------------------------------------------------------------------------------------------------------


def test_a_limit_that_is_no_size(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NBKUBE_IMAGE_CACHE", "much")
    with pytest.raises(BuildError, match=r"NBKUBE_IMAGE_CACHE='much' is no size\. Fix: write e\.g\."):
        ImageCache(tmp_path)


def test_a_full_disk(builder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    maker = builder()
    maker._base()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    assert before
    monkeypatch.setattr("nbkube.images.build.write_layer", _full)
    with pytest.raises(
        BuildError, match=r"the disk with \S+ is full\. Fix: make room, or set XDG_CACHE_HOME elsewhere"
    ):
        maker.prepare(environment(["alpha"]))


def _full(*_: object) -> None:
    import errno

    raise OSError(errno.ENOSPC, "No space left on device")
