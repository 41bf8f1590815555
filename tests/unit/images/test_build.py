from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from nbkube.errors import BuildError
from nbkube.images.build import Prepared
from nbkube.images.cache import ImageCache
from nbkube.images.model import Blob
from tests import registries, wheelhouse
from tests.unit.images.conftest import Make, environment


def _files(path: Path) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(path.read_bytes()))) as tar:
        return {one.name: one for one in tar}


def _layers(prepared: Prepared, cache: ImageCache) -> list[dict[str, tarfile.TarInfo]]:
    assert prepared.image is not None
    found = [cache.blob(digest) for digest in prepared.image.own]
    return [_files(path) for path in found if path is not None]


def test_each_wheel_is_a_layer_and_pushing_again_sends_nothing(builder: Make, tmp_path: Path) -> None:
    prepared = builder().prepare(environment(["beta"]))
    first = builder().push(prepared)
    assert first.reference.endswith(f"/team/nbkube-steps@{prepared.image.digest}" if prepared.image else "")
    assert first.bytes_pushed > 0
    assert first.layers_mounted == 1  # the base's, from its own repository
    assert builder().push(builder().prepare(environment(["beta"]))).bytes_pushed == 0
    layers = _layers(prepared, ImageCache(tmp_path / "cache"))
    names = [{path.split("/")[3] for path in layer if path.count("/") >= 3} for layer in layers]
    assert sum("alpha" in one for one in names) == 1
    assert sum("beta" in one for one in names) == 1
    assert not any({"alpha", "beta"} <= one for one in names)


def test_one_requirement_more_sends_one_layer_more(builder: Make, wheels: Path) -> None:
    wheel = wheelhouse.make_wheel(wheels, "gamma", "1.0", {"gamma.py": b"# " + os.urandom(40_000).hex().encode()})
    builder().push(builder().prepare(environment(["alpha"])))
    more = builder().push(builder().prepare(environment(["alpha", "gamma"])))
    assert more.layers_sent == 1
    assert more.bytes_pushed < wheel.stat().st_size * 1.3 + 25_000


def test_a_second_project_sends_no_layer(builder: Make) -> None:
    builder("mine").push(builder("mine").prepare(environment(["beta"])))
    other = builder("yours")
    assert other.push(other.prepare(environment(["beta"]))).layers_sent == 0


def test_layers_are_mounted_from_another_repository(builder: Make) -> None:
    maker = builder()
    maker.push(maker.prepare(environment(["beta"])), "one")
    moved = maker.push(maker.prepare(environment(["beta"])), "two")
    assert (moved.layers_sent, moved.layers_mounted > 3) == (0, True)


def test_a_layer_holds_nothing_of_who_made_it_when(builder: Make, tmp_path: Path) -> None:
    prepared = builder().prepare(environment(["alpha"]))
    for layer in _layers(prepared, ImageCache(tmp_path / "cache")):
        files = [name for name, entry in layer.items() if entry.isfile()]
        assert files == sorted(files)
        for entry in layer.values():
            assert (entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname) == (0, 0, 0, "", "")
            assert entry.mode in (0o644, 0o755)
        leaves = {name.rpartition("/")[2] for name in layer}
        assert not leaves & {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", ".lock"}
    assert prepared.image is not None
    assert str(tmp_path).encode() not in prepared.image.config + prepared.image.manifest


_ELSEWHERE = """
import sys
from pathlib import Path
from nbkube.images.build import Builder, Settings
from nbkube.images.cache import ImageCache
from tests.unit.images.conftest import environment
base, host, cache = sys.argv[1:]
made = Builder(Settings(base=base, plain_http=(host,)), cache=ImageCache(Path(cache), 1 << 30))
print(made.prepare(environment(["beta"])).image.digest)
"""


@pytest.mark.slow
def test_two_folders_two_users_and_two_days_give_one_digest(
    tmp_path: Path, wheels: Path, base: str, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if subprocess.run(["unshare", "--user", "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine allows no user namespaces, so nobody else can be played here")
    found = set()
    for number, (user, day, umask, locale) in enumerate(
        [("0", "2020-02-29 12:00:00", 0o022, "C"), ("1234", "2031-12-31 23:59:59", 0o077, "C.UTF-8")]
    ):
        folder = tmp_path.parent / f"{tmp_path.name}-{number}" / ("deep" * number or "flat")
        folder.mkdir(parents=True)
        environ = {
            **os.environ,
            "UV_CACHE_DIR": str(folder / "uv"),
            "LC_ALL": locale,
            "HOME": str(folder),
            "TZ": "Asia/Tokyo",
        }
        code = f"import os, time\nos.umask({umask})\n{_FAKE.format(day=day)}\n{_ELSEWHERE}"
        # A user namespace makes this process another user's, without losing the way to this environment.
        alien = ["unshare", "--user", f"--map-user={user}", f"--map-group={user}"]
        argv = [
            *alien,
            sys.executable,
            "-c",
            f"assert __import__('os').getuid() == {user}\n{code}",
            base,
            registry_host,
            str(folder / "cache"),
        ]
        done = subprocess.run(
            argv, env=environ, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found.add(done.stdout.strip())
    assert len(found) == 1


_FAKE = """
_day = time.mktime(time.strptime("{day}", "%Y-%m-%d %H:%M:%S"))
time.time = lambda: _day
time.time_ns = lambda: int(_day * 1e9)
"""


def test_a_blob_that_was_removed_is_made_again(builder: Make, tmp_path: Path) -> None:
    maker = builder()
    prepared = maker.prepare(environment(["beta"]))
    for path in (tmp_path / "cache" / "blobs").iterdir():
        path.unlink()
    assert maker.push(prepared, "again").layers_sent >= 3


def test_the_cache_keeps_to_its_limit(tmp_path: Path) -> None:
    cache = ImageCache(tmp_path / "cache", 250)
    for number in range(4):
        file = tmp_path / str(number)
        file.write_bytes(bytes(100))
        os.utime(cache.keep_blob(f"sha256:{number}", file), ns=(number, number))
    cache.blob("sha256:0")  # used just now
    assert cache.shrink() == 200
    assert [one for one in range(4) if cache.blob(f"sha256:{one}")] == [0, 3]


def test_a_base_that_has_everything_is_used_as_it_is(builder: Make, registry_host: str, wheels: Path) -> None:
    import nbkube

    names = {"alpha": "1.0", "nbkube": nbkube.__version__}
    names |= {path.name.split("-")[0]: path.name.split("-")[1] for path in wheels.glob("*.whl")}
    names |= {"alpha": "1.0"}
    place = f"usr/lib/python{registries.PYTHON}/site-packages"
    files = {f"{place}/{name}-{version}.dist-info/METADATA": b"" for name, version in names.items()}
    full = registries.push_base(registry_host, "bases/full", registries.small_base(files))
    maker = builder(base=full)
    prepared = maker.prepare(environment(["alpha"]))
    assert prepared.image is None
    built = maker.push(prepared)
    assert built.reason.startswith("the base as it is")
    assert built.reference.startswith(f"{registry_host}/bases/full@sha256:")


def test_what_the_base_satisfies_is_not_layered_again(builder: Make, registry_host: str) -> None:
    place = f"usr/local/lib/python{registries.PYTHON}/site-packages/alpha-1.0.dist-info/METADATA"
    some = registries.push_base(registry_host, "bases/some", registries.small_base({place: b""}))
    plain, spared = builder().prepare(environment(["beta"])), builder(base=some).prepare(environment(["beta"]))
    assert plain.image is not None
    assert spared.image is not None
    assert len(plain.image.own) == len(spared.image.own) + 1


def test_an_archive_holds_what_docker_and_containerd_read(builder: Make, tmp_path: Path) -> None:
    maker = builder()
    built = maker.save([maker.prepare(environment(["alpha"]))], tmp_path / "images.tar")
    with tarfile.open(tmp_path / "images.tar") as tar:
        index = json.load(tar.extractfile("index.json") or io.BytesIO())
        docker = json.load(tar.extractfile("manifest.json") or io.BytesIO())
        for path in tar.getnames():
            if path.startswith("blobs/sha256/"):
                data = (tar.extractfile(path) or io.BytesIO()).read()
                assert hashlib.sha256(data).hexdigest() == path.rpartition("/")[2]
        names = set(tar.getnames())
    assert index["manifests"][0]["digest"] == built[0].digest
    assert docker[0]["RepoTags"] == [built[0].reference]
    assert {docker[0]["Config"], *docker[0]["Layers"]} <= names
    maker.save([maker.prepare(environment(["alpha"]))], tmp_path / "twice.tar")
    assert (tmp_path / "twice.tar").read_bytes() == (tmp_path / "images.tar").read_bytes()


def test_pushing_needs_a_registry(builder: Make) -> None:
    maker = builder(registry="")
    with pytest.raises(BuildError, match=r"no registry to push to\. Fix: write registry = .* --output FILE"):
        maker.push(maker.prepare(environment(["alpha"])))


def test_wheels_beyond_the_limit_share_a_layer(builder: Make, wheels: Path) -> None:
    many = [f"part{number:02}" for number in range(70)]
    for name in many:
        wheelhouse.make_wheel(wheels, name, "1.0", {f"{name}.py": b""})
    prepared = builder().prepare(environment(many))
    assert prepared.image is not None
    assert len(prepared.image.layers) <= 64
    assert isinstance(prepared.image.layers[0], Blob)


def _cuda_base(host: str, wheels: Path) -> str:
    """Push a base like those of GPU frameworks: CUDA in variables and folders, its framework built for it."""
    wheelhouse.make_wheel(wheels, "torch", "2.5.1", requires=["nvidia-cublas-cu12==12.4", "alpha"])
    wheelhouse.make_wheel(wheels, "nvidia-cublas-cu12", "12.4")
    place = f"usr/local/lib/python{registries.PYTHON}/site-packages"
    files = {f"{place}/torch-2.5.1+cu124.dist-info/METADATA": b"", "usr/local/cuda/lib64/libcublas.so.12": b""}
    variables = (
        "PATH=/usr/local/nvidia/bin:/usr/local/bin:/usr/bin:/bin",
        "LD_LIBRARY_PATH=/usr/local/nvidia/lib64",
        "CUDA_VERSION=12.4.1",
        "NVIDIA_REQUIRE_CUDA=cuda>=12.4",
        "NVIDIA_VISIBLE_DEVICES=all",
    )
    labels = {"maintainer": "NVIDIA CORPORATION", "com.nvidia.cudnn.version": "9.1.0"}
    return registries.push_base(host, "bases/cuda", registries.small_base(files), environment=variables, labels=labels)


def test_a_base_with_cuda_keeps_its_framework_and_its_libraries(
    builder: Make, registry_host: str, wheels: Path, tmp_path: Path
) -> None:
    cuda, plain = _cuda_base(registry_host, wheels), builder().prepare(environment(["torch==2.5.1", "beta"]))
    prepared = builder(base=cuda).prepare(environment(["torch==2.5.1", "beta"]))
    assert prepared.base.cuda == "12.4.1"
    assert {"torch", "nvidia-cublas-cu12"} <= {one.name for one in plain.lock.wheels}
    names = {one.name for one in prepared.lock.wheels}
    assert {"alpha", "beta"} <= names  # beta needs alpha, whatever torch needs
    assert not {one for one in names if one == "torch" or one.startswith("nvidia")}
    layers = _layers(prepared, ImageCache(tmp_path / "cache"))
    assert not any("nvidia" in path or "/torch" in path for layer in layers for path in layer)
    assert prepared.image is not None
    config = json.loads(prepared.image.config)["config"]
    assert {"CUDA_VERSION=12.4.1", "NVIDIA_VISIBLE_DEVICES=all", "LD_LIBRARY_PATH=/usr/local/nvidia/lib64"} <= {
        *config["Env"]
    }
    assert config["Labels"]["com.nvidia.cudnn.version"] == "9.1.0"
    assert prepared.image.layers[0].digest == prepared.base.layers[0].digest


def test_another_version_than_the_one_built_for_the_base_is_told_of(
    builder: Make, registry_host: str, wheels: Path
) -> None:
    cuda = _cuda_base(registry_host, wheels)
    wheelhouse.make_wheel(wheels, "torch", "2.6.0")
    said: list[str] = []
    maker = builder(base=cuda)
    maker._tell = said.append
    prepared = maker.prepare(environment(["torch==2.6.0"]))
    assert "torch" in {one.name for one in prepared.lock.wheels}
    assert any("torch 2.6.0 goes over the base's 2.5.1+cu124" in one and "torch==2.5.1" in one for one in said), said
