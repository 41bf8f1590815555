"""What pods run in: the base as it is, an image, or the base and distributions from the store."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from minio import Minio

from nbkube.building import build_images
from nbkube.engines.argo import pods
from nbkube.engines.argo.launch import Launch
from nbkube.errors import BuildError, RegistryError
from nbkube.images import Built
from nbkube.images.model import SITE
from nbkube.pipeline.model import StepOptions
from nbkube.profiles.model import Profile, StoreAccess
from nbkube.runs import Run
from nbkube.runs.garbage import collect
from nbkube.storage import ObjectStore, open_store
from tests import faulty_registry, s3_servers
from tests.unit.engines.argo.submissions import planned, submission
from tests.unit.images.conftest import Make, environment

Choose = Callable[..., Built]


def _client() -> Minio:
    server, keys = s3_servers.running("minio"), s3_servers.KEYS
    access, secret = keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"]
    return Minio(server.endpoint.removeprefix("http://"), access_key=access, secret_key=secret, secure=False)


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """A store in a bucket of a real server."""
    for name, value in s3_servers.running("minio").environment(NBKUBE_CACHE=str(tmp_path / "blobs")).items():
        monkeypatch.setenv(name, value)
    name = f"wheels-{os.urandom(6).hex()}"
    _client().make_bucket(name)
    return open_store(f"s3://{name}/a lab")


def _unpack(store: ObjectStore, digest: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program of the init container with the variables that a pod has."""
    folder.mkdir()
    given = {name: os.environ[name] for name in ("AWS_ENDPOINT_URL", "AWS_REGION", *s3_servers.KEYS)}
    argv = [sys.executable, "-I", "-c", *pods.programs().values(), digest, str(folder)]
    env = {**given, "NBKUBE_STORE": store.url, "PATH": os.environ["PATH"]}
    return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)


def _tree(folder: Path) -> dict[str, tuple[bytes, int]]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode & 0o777) for path in found}


def _layer(files: Mapping[str, bytes], more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for path, content in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
        for info in more:
            made.addfile(info)
    return gzip.compress(out.getvalue())


def test_a_pod_unpacks_the_very_files_that_an_image_has(builder: Make, bucket: ObjectStore, tmp_path: Path) -> None:
    maker = builder()
    prepared = maker.prepare(environment(["beta"]))
    built = maker.store(prepared, bucket, "a test")
    assert built.wheelhouse is not None
    assert (built.digest, built.wheelhouse.folder) == (prepared.base.digest, SITE)
    done = _unpack(bucket, built.wheelhouse.digest, tmp_path / "pod")
    assert (done.returncode, done.stderr) == (0, "")
    expected: dict[str, tuple[bytes, int]] = {}
    assert prepared.image is not None
    for digest in prepared.image.own:
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(bucket.get(digest.removeprefix("sha256:"))))) as tar:
            for entry in tar:
                if content := tar.extractfile(entry):
                    expected[entry.name.removeprefix(f"{SITE[1:]}/")] = (content.read(), entry.mode)
    assert _tree(tmp_path / "pod") == expected
    assert {"alpha/__init__.py", "beta/__init__.py", "nbkube/__init__.py", "bin/nbkube"} <= set(expected)
    variables = built.wheelhouse.environment | {"PYTHONPATH": str(tmp_path / "pod")}
    code = "import alpha, beta, nbkube; print(beta.VERSION, nbkube.__file__)"
    argv = [sys.executable, "-S", "-c", code]
    said = subprocess.run(argv, env=variables, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["2.0", str(tmp_path / "pod" / "nbkube" / "__init__.py")]


def test_the_variables_are_those_of_an_image(builder: Make, bucket: ObjectStore) -> None:
    built = builder().store(builder().prepare(environment(["alpha"])), bucket, "a test")
    assert built.wheelhouse is not None
    assert built.wheelhouse.environment["PYTHONPATH"] == SITE
    assert built.wheelhouse.environment["PATH"] == f"/usr/local/bin:/usr/bin:/bin:{SITE}/bin"


def test_a_layer_that_is_gone_or_damaged_ends_the_pod_with_a_sentence(bucket: ObjectStore, tmp_path: Path) -> None:
    layer = bucket.put(_layer({f"{SITE[1:]}/one.py": b"x = 1\n"}))
    digest = bucket.put(msgspec.json.encode({"layers": [layer]}))
    assert _unpack(bucket, digest, tmp_path / "whole").returncode == 0
    assert bucket.discard(layer) is not None
    gone = _unpack(bucket, digest, tmp_path / "gone")
    assert gone.returncode == 1
    assert gone.stderr.startswith("nbkube: 127.0.0.1:")
    assert f"answers 404 to /{bucket.url.removeprefix('s3://').split('/')[0]}/a%20lab/objects/sha256/" in gone.stderr
    _overwrite(bucket, layer, b"something else")
    damaged = _unpack(bucket, digest, tmp_path / "damaged")
    assert (damaged.returncode, "other bytes" in damaged.stderr) == (1, True)
    assert list((tmp_path / "damaged").iterdir()) == []


def _overwrite(store: ObjectStore, digest: str, content: bytes) -> None:
    name, _, prefix = store.url.removeprefix("s3://").partition("/")
    key = f"{prefix}/objects/sha256/{digest[:2]}/{digest}"
    _client().put_object(name, key, io.BytesIO(content), len(content))


def _link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
    return info


@pytest.mark.parametrize(
    "layer",
    [
        _layer({"etc/passwd": b"root"}),
        _layer({f"{SITE[1:]}/../../../outside": b"x"}),
        _layer({f"{SITE}/absolute": b"x"}),
        _layer({}, (_link(f"{SITE[1:]}/link", "/etc"),)),
        _layer({}, (_link("opt", "/etc"),)),
    ],
    ids=["elsewhere", "above", "absolute", "link", "link for a folder"],
)
def test_nothing_is_written_beside_the_place_of_distributions(
    layer: bytes, bucket: ObjectStore, tmp_path: Path
) -> None:
    digest = bucket.put(msgspec.json.encode({"layers": [bucket.put(layer)]}))
    done = _unpack(bucket, digest, tmp_path / "pod")
    assert (done.returncode, "has no place in a pod" in done.stderr) == (1, True), done.stderr
    assert list((tmp_path / "pod").iterdir()) == []


# -- the choice --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests share: layers are made once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def choose(
    tmp_path: Path, cache: Path, wheels: Path, base: str, registry_host: str, monkeypatch: pytest.MonkeyPatch
) -> Choose:
    """Return what a step that needs alpha runs in under a profile with these settings."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))

    def choose(store: ObjectStore | None = None, secret: str = "keys", **given: Any) -> Built:
        hosts = (registry_host, given.get("registry", "").partition("/")[0])
        access = StoreAccess("s3://bucket/lab", secret=secret)
        profile = Profile("lab", "argo", store=access, base=base, plain_http=hosts, **given)
        plan = planned(tmp_path / "project", [("step:a", "x = 1")])
        (built,) = build_images(
            profile, plan, lambda _: None, extra=["alpha"], store=store or open_store(tmp_path / "store")
        )
        return built

    return choose


def _refuses(method: str, path: str) -> tuple[int, dict[str, str], bytes] | None:
    return (403, {}, b'{"errors": [{"code": "DENIED", "message": "read only"}]}') if method == "POST" else None


def test_a_registry_that_takes_images_gets_one(choose: Choose, registry_host: str) -> None:
    built = choose(registry=f"{registry_host}/takes")
    assert built.wheelhouse is None
    assert built.reference.startswith(f"{registry_host}/takes/nbkube-steps@sha256:")
    assert built.reason.startswith("an image of its own: the base lacks")


def test_without_a_registry_and_with_one_that_refuses_the_store_is_taken(choose: Choose, registry_host: str) -> None:
    none = choose()
    assert none.wheelhouse is not None
    assert none.reference.startswith(f"{registry_host}/bases/small@sha256:")
    assert none.reason.startswith("the base and distributions from the store: the profile names no registry; the base")
    with faulty_registry.before(registry_host, _refuses) as closed:
        refused = choose(registry=f"{closed.host}/closed")
    assert refused.wheelhouse == none.wheelhouse
    assert "does not let us push to closed/nbkube-steps (403" in refused.reason
    assert "Fix:" not in refused.reason


def test_a_registry_that_only_refuses_new_images_is_enough_where_the_image_is_there(
    choose: Choose, registry_host: str
) -> None:
    there = choose(registry=f"{registry_host}/kept")
    with faulty_registry.before(registry_host, _refuses) as closed:
        again = choose(registry=f"{closed.host}/kept")
    assert (again.wheelhouse, again.digest, again.bytes_pushed) == (None, there.digest, 0)


def test_the_profile_may_say_which(choose: Choose, registry_host: str) -> None:
    assert choose(registry=f"{registry_host}/takes", packaging="wheelhouse").wheelhouse is not None
    with (
        faulty_registry.before(registry_host, _refuses) as closed,
        pytest.raises(RegistryError, match="does not let us push"),
    ):
        choose(registry=f"{closed.host}/closed", packaging="image")


def test_the_name_of_the_base_is_that_of_nodes(choose: Choose, registry_host: str) -> None:
    built = choose(registry=f"{registry_host}/takes", pull_registry="nodes:5000/takes", packaging="wheelhouse")
    assert built.reference.startswith("nodes:5000/bases/small@sha256:")


def test_without_keys_for_pods_the_refusal_names_both_ways(choose: Choose, registry_host: str) -> None:
    with pytest.raises(BuildError, match=r"names no registry, and no store\.secret.*write secret = "):
        choose(secret="")
    with (
        faulty_registry.before(registry_host, _refuses) as closed,
        pytest.raises(RegistryError, match=r"does not let us push.*Fix: log in.*write secret = "),
    ):
        choose(registry=f"{closed.host}/closed", secret="")


def test_layers_are_kept_as_long_as_a_run_names_them(builder: Make, tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    built = builder().store(builder().prepare(environment(["alpha"])), store, "a test")
    before = set(store.blobs())
    options = StepOptions(image=built.reference, wheelhouse=built.wheelhouse)
    launch = Launch(submission((), options={0: options}), "", Run("", 0.0, "work.ipynb"), chain=True)
    store.write("runs/one/run.json", msgspec.json.encode({"submission": launch.store(store)}))
    collect(store, grace=0.0)
    assert before <= set(store.blobs())
    store.remove("runs/one/run.json")
    collect(store, grace=0.0)
    assert not before & set(store.blobs())
