"""An image as a file or folder: an OCI layout that also says what `docker load` reads.

kind load image-archive FILE    k3d image import FILE    minikube image load FILE    ctr images import FILE
"""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nbkube.images.model import MANIFEST, Blob, Image

FileOf = Callable[[Blob], Path]


def save(images: Sequence[tuple[Image, str]], place: Path, file_of: FileOf) -> None:
    """Write images, each with its name, to a tar file, or into a folder if `place` is one; whole or not at all.

    Equal images give equal files.
    """
    if place.is_dir():
        for name, content in _files(images, file_of):
            path = place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.read_bytes())
        return
    handle, unfinished = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}-")
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for name, content in _files(images, file_of):
                _add(tar, name, content)
        os.chmod(unfinished, 0o644)
        os.replace(unfinished, place)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def _add(tar: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    import io

    info = tarfile.TarInfo(name)
    if isinstance(content, bytes):
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))
        return
    with content.open("rb") as source:
        info.size = os.fstat(source.fileno()).st_size
        tar.addfile(info, source)


def _files(images: Sequence[tuple[Image, str]], file_of: FileOf) -> Iterator[tuple[str, bytes | Path]]:
    yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
    yield "index.json", _json({"schemaVersion": 2, "manifests": [_entry(image, name) for image, name in images]})
    yield "manifest.json", _json([_docker(image, name) for image, name in images])
    seen: set[str] = set()
    for image, _ in images:
        small = {image.digest: image.manifest, image.config_digest: image.config}
        blobs: list[tuple[str, bytes | Blob]] = [*small.items(), *((one.digest, one) for one in image.layers)]
        for digest, content in blobs:
            if digest not in seen:
                seen.add(digest)
                yield _path(digest), file_of(content) if isinstance(content, Blob) else content


def _entry(image: Image, name: str) -> dict[str, object]:
    notes = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
    platform = {"architecture": image.base.architecture, "os": "linux"}
    head = {"mediaType": MANIFEST, "digest": image.digest, "size": len(image.manifest)}
    return {**head, "platform": platform, "annotations": notes}


def _docker(image: Image, name: str) -> dict[str, object]:
    layers = [_path(one.digest) for one in image.layers]
    return {"Config": _path(image.config_digest), "RepoTags": [name], "Layers": layers}


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
