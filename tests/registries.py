"""Real registries for tests: Debian's docker-registry as a process of its own on loopback, and bases pushed there.

`Registry.start` may be given users (basic authentication). Everything lies in the folder given and ends with the test.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import urllib3

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_STATUS = b"Package: libc6\nStatus: install ok installed\nVersion: 2.36-9+deb12u10\n\n"


def program(name: str, package: str) -> str:
    """Return a program's path, or skip the test with what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}: apt-get install {package}")
    return found


def crane() -> str:
    """Return the path of crane: that on the PATH, else one that is built here from the Go module proxy, once.

    Skips the test where neither can be had; `NBKUBE_REQUIRE_CRANE=1` makes that a failure.
    """
    from tests.cluster import golang, parts
    from tests.cluster.layout import BenchError

    if found := shutil.which("crane"):
        return found
    part = golang.crane()
    reason = "NOT RUN: crane is neither on the PATH nor built, and there is no Go to build it with"
    if not part.is_built and shutil.which("go"):
        try:
            parts.build(part, lambda _: None)
        except BenchError as error:
            reason = f"NOT RUN: crane cannot be built (python -m tests.cluster build --only crane): {error}"
    if part.is_built:
        return str(part.use() / "crane")
    if os.environ.get("NBKUBE_REQUIRE_CRANE"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(folder: Path, *, users: str = "") -> Iterator[str]:
    """Run a registry and yield its HOST:PORT; `users` is the text of an htpasswd file."""
    executable = program("docker-registry", "docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = [
        "version: 0.1",
        "storage:",
        f"  filesystem: {{rootdirectory: {folder / 'data'}}}",
        "  delete: {enabled: true}",
        f"http: {{addr: '127.0.0.1:{port}'}}",
        "log: {level: error}",
    ]
    if users:
        (folder / "users").write_text(users)
        config += ["auth:", f"  htpasswd: {{realm: test, path: {folder / 'users'}}}"]
    (folder / "config.yml").write_text("\n".join(config))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([executable, "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        _until_it_answers(f"http://127.0.0.1:{port}/v2/", process)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)


def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if urllib3.request("GET", url, timeout=2, retries=False).status in (200, 401):
                return
        except urllib3.exceptions.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the registry has not started")


def small_base(files: Mapping[str, bytes] | None = None) -> list[bytes]:
    """Return the layers of a base that has a Python and a C library by name only: enough to build upon, not to run."""
    content = {f"usr/bin/python{PYTHON}": b"#!/bin/false\n", "var/lib/dpkg/status": _STATUS, **(files or {})}
    return [tar(content)]


def tar(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), 0o755
            made.addfile(info, io.BytesIO(data))
    return out.getvalue()


def push_base(
    host: str,
    repository: str,
    layers: list[bytes],
    *,
    architecture: str = "amd64",
    environment: tuple[str, ...] = ("PATH=/usr/local/bin:/usr/bin:/bin",),
    labels: Mapping[str, str] | None = None,
    tag: str = "1",
    packed: bool = False,
) -> str:
    """Push an image by plain requests, nothing of nbkube's; return its reference. Layers are compressed if `packed`."""
    http = urllib3.PoolManager()
    root = f"http://{host}/v2/{repository}"

    def put(data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = http.request("POST", f"{root}/blobs/uploads/").headers["Location"]
        mark = "&" if "?" in place else "?"
        assert http.request("PUT", f"{place}{mark}digest={digest}", body=data).status == 201
        return digest

    diffs = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    blobs = [gzip.compress(layer, 1, mtime=0) for layer in layers] if packed else layers
    digests = [put(blob) for blob in blobs]
    config = json.dumps(
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": list(environment), "Labels": dict(labels or {})},
            "rootfs": {"type": "layers", "diff_ids": diffs},
            "history": [{"created_by": "tests"} for _ in digests],  # without it buildah builds nothing upon the image
        }
    ).encode()
    kind = "application/vnd.oci.image.manifest.v1+json"
    layer_kind = "application/vnd.oci.image.layer.v1.tar"
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": kind,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": put(config),
                "size": len(config),
            },
            "layers": [
                {"mediaType": f"{layer_kind}{'+gzip' if packed else ''}", "digest": digest, "size": len(blob)}
                for digest, blob in zip(digests, blobs, strict=True)
            ],
        }
    ).encode()
    answer = http.request("PUT", f"{root}/manifests/{tag}", body=manifest, headers={"Content-Type": kind})
    assert answer.status == 201, answer.data
    return f"{host}/{repository}:{tag}"


def debian_layer() -> Path:
    """Return the layer of Debian with its Python that the Kubernetes bench has built, or skip."""
    from tests.cluster import layout

    found = sorted((layout.cache_folder() / "parts").glob("debian-*/layer.tar"))
    if not found:
        pytest.skip("needs the bench's Debian layer: python -m tests.cluster build")
    return found[-1]
