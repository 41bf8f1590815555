"""Images made and pushed without a container engine: layers are tar files, a registry is a few HTTP requests.

Layers are not compressed: they travel over loopback only, where packing costs more than it saves.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from tests.cluster import layout
from tests.cluster.layout import BenchError

_LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
_CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
USER = 1000
"""The user that containers run as unless a pod says otherwise."""


class Layer(msgspec.Struct, frozen=True):
    """A tar file with its digest (`sha256:…`) and size in bytes."""

    path: str
    digest: str
    size: int


class Image(msgspec.Struct, frozen=True):
    """What an image is made of: `name` without registry, layers from the lowest up, the OCI configuration."""

    name: str
    tag: str
    layers: tuple[Layer, ...]
    config: dict[str, Any]


def write_layer(path: Path, entries: Iterable[tuple[tarfile.TarInfo, BinaryIO | None]]) -> Layer:
    """Write a tar file; equal entries in equal order give equal bytes."""
    unfinished = path.with_suffix(".unfinished")
    with tarfile.open(unfinished, "w", format=tarfile.PAX_FORMAT) as tar:
        for info, content in entries:
            tar.addfile(info, content)
    unfinished.rename(path)
    return seal(path)


def seal(path: Path) -> Layer:
    """Return the layer that a tar file is."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Layer(path=str(path), digest=f"sha256:{digest}", size=path.stat().st_size)


def tree_entries(folder: Path, prefix: str = "") -> Iterable[tuple[tarfile.TarInfo, BinaryIO | None]]:
    """Yield all files below `folder` as entries below `prefix`: sorted, without times, owned by root."""
    for path in sorted(folder.rglob("*")):
        info = tarfile.TarInfo(f"{prefix}{path.relative_to(folder)}")
        if path.is_symlink():
            info.type, info.linkname = tarfile.SYMTYPE, str(path.readlink())
            yield info, None
        elif path.is_dir():
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            yield info, None
        else:
            info.size, info.mode = path.stat().st_size, 0o755 if path.stat().st_mode & 0o100 else 0o644
            with path.open("rb") as file:
                yield info, file


def program_layer(path: Path, program: Path) -> Layer:
    """Write the only layer of an image that holds one static program, /bin/NAME, and what Go servers expect."""
    passwd = f"root:x:0:0::/:/none\nbench:x:{USER}:{USER}::/tmp:/none\n".encode()

    def entries() -> Iterable[tuple[tarfile.TarInfo, BinaryIO | None]]:
        for folder, mode in (("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)):
            info = tarfile.TarInfo(folder)
            info.type, info.mode = tarfile.DIRTYPE, mode
            yield info, None
        info = tarfile.TarInfo("etc/passwd")
        info.size = len(passwd)
        yield info, io.BytesIO(passwd)
        info = tarfile.TarInfo(f"bin/{program.name}")
        info.size, info.mode = program.stat().st_size, 0o755
        with program.open("rb") as file:
            yield info, file

    return write_layer(path, entries())


def push(image: Image) -> str:
    """Push what the bench's registry lacks and return the reference by digest, as the node names it."""
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": image.config,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in image.layers]},
        },
        sort_keys=True,
    ).encode()
    with _Registry(image.name) as registry:
        for layer in image.layers:
            with Path(layer.path).open("rb") as file:
                registry.put_blob(layer.digest, layer.size, file)
        config_digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
        registry.put_blob(config_digest, len(config), io.BytesIO(config))
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": _MANIFEST_TYPE,
                "config": {"mediaType": _CONFIG_TYPE, "digest": config_digest, "size": len(config)},
                "layers": [
                    {"mediaType": _LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in image.layers
                ],
            },
            sort_keys=True,
        ).encode()
        registry.put_manifest(image.tag, manifest)
    return f"{layout.NODE_REGISTRY}/{image.name}@sha256:{hashlib.sha256(manifest).hexdigest()}"


def digests(references: Mapping[str, str]) -> str:
    """Return a table of names and references for people."""
    return "\n".join(f"  {name:20} {reference}" for name, reference in references.items())


class _Registry:
    """Push requests (OCI distribution, monolithic uploads) for one repository of the bench's registry."""

    def __init__(self, repository: str) -> None:
        self._repository = repository
        self._connection = http.client.HTTPConnection(layout.REGISTRY, timeout=120)

    def __enter__(self) -> _Registry:
        return self

    def __exit__(self, *error: object) -> None:
        self._connection.close()

    def put_blob(self, digest: str, size: int, content: BinaryIO) -> None:
        if self._request("HEAD", f"blobs/{digest}", accepted=(200, 404))[0] == 200:
            return
        _, location = self._request("POST", "blobs/uploads/", accepted=(202,))
        target = location.partition(layout.REGISTRY)[2] or location
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        self._send("PUT", f"{target}{'&' if '?' in target else '?'}digest={digest}", content, headers, (201,))

    def put_manifest(self, tag: str, manifest: bytes) -> None:
        path = f"/v2/{self._repository}/manifests/{tag}"
        self._send("PUT", path, io.BytesIO(manifest), {"Content-Type": _MANIFEST_TYPE}, (201,), len(manifest))

    def _request(self, method: str, path: str, accepted: tuple[int, ...]) -> tuple[int, str]:
        return self._send(method, f"/v2/{self._repository}/{path}", None, {"Content-Length": "0"}, accepted)

    def _send(
        self,
        method: str,
        path: str,
        content: BinaryIO | None,
        headers: dict[str, str],
        accepted: tuple[int, ...],
        size: int | None = None,
    ) -> tuple[int, str]:
        length = {"Content-Length": str(size)} if size is not None else {}
        self._connection.request(method, path, body=content, headers={**headers, **length})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status not in accepted:
            raise BenchError(
                f"registry: {method} {path} answered {answer.status}: {text[:300].decode(errors='replace')}"
            )
        return answer.status, answer.headers.get("Location", "")
