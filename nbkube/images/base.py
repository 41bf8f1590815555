"""The base image: what it is, which Python and C library it has, what its Python can import already."""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

from nbkube.errors import BuildError
from nbkube.images.cache import ImageCache
from nbkube.images.model import DOCKER_INDEX, INDEX, LAYER, Base, Blob
from nbkube.images.push import fetch
from nbkube.images.reference import Reference, parse
from nbkube.images.registry import Registry

_TAG_SECONDS = 600.0
_PYTHON = re.compile(r"(?:.*/)?bin/python(3\.\d+)")
_DISTRIBUTION = re.compile(
    r"(?:.*/)?lib/python3(?:\.\d+)?/(?:site|dist)-packages/([^/]+)-([^-/]+)\.(?:dist|egg)-info(?:/.*)?"
)
_STATUS = "var/lib/dpkg/status"
_MANIFEST_BYTES = 4 << 20
_CONFIG_BYTES = 8 << 20


class Contents(msgspec.Struct):
    """What one layer, or all up to it, holds of interest."""

    pythons: list[str] = []
    distributions: dict[str, str] = {}
    musl: bool = False
    glibc: str = ""


def read_base(
    text: str,
    architecture: str,
    cache: ImageCache,
    open_registry: Callable[[str], Registry],
    tell: Callable[[str], None] = lambda _: None,
    *,
    fresh: bool = False,
) -> Base:
    """Look at a base image; what is found is kept by its digest.

    Args:
        text: its reference.
        architecture: `amd64` or `arm64`.
        cache: for what is found.
        open_registry: opens a registry by its host.
        tell: takes lines for people.
        fresh: ask the registry what the tag means now.

    Raises:
        BuildError: it is no image that steps can run upon.
        RegistryError: it cannot be read.
    """
    reference = parse(text)
    known = cache.note("tags", f"{reference} {architecture}", _Tag)
    if known and not fresh and (reference.version.startswith("sha256:") or time.time() - known.at < _TAG_SECONDS):
        found = cache.note("bases", f"{known.digest} 3", Base)
        if found is not None:
            return msgspec.structs.replace(found, reference=str(reference))
    registry = open_registry(reference.host)
    digest, manifest = _manifest(registry, reference, architecture)
    found = cache.note("bases", f"{digest} 3", Base)
    if found is None:
        found = _examined(registry, reference, digest, manifest, architecture, cache, tell)
        cache.keep_note("bases", f"{digest} 3", found)
    cache.keep_note("tags", f"{reference} {architecture}", _Tag(digest, time.time()))
    return msgspec.structs.replace(found, reference=str(reference))


class _Tag(msgspec.Struct):
    digest: str
    at: float


def _manifest(registry: Registry, reference: Reference, architecture: str) -> tuple[str, dict[str, Any]]:
    version = reference.version
    for _ in range(2):
        found = registry.manifest(reference.repository, version)
        if found is None:
            raise BuildError(
                f"there is no base image {reference}. Fix: correct `base` in the profile, or push it there."
            )
        data, kind = found
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if version.startswith("sha256:") and digest != version:
            raise BuildError(f"{reference}: {registry.host} gives another manifest than its digest says.")
        manifest = _object(data, f"the manifest of {reference}", _MANIFEST_BYTES)
        if kind not in (INDEX, DOCKER_INDEX) and "manifests" not in manifest:
            return digest, manifest
        version = _chosen(manifest, architecture, reference)
    raise BuildError(f"{reference} is an index of indexes. Fix: name the image itself.")


def _chosen(index: dict[str, Any], architecture: str, reference: Reference) -> str:
    there = []
    for one in index.get("manifests") or ():
        place = one.get("platform") or {}
        if place.get("os") == "linux":
            if place.get("architecture") == architecture:
                return str(one["digest"])
            there.append(str(place.get("architecture")))
    raise BuildError(
        f"{reference} is there for {', '.join(sorted(set(there))) or 'nothing'}, not for {architecture}. "
        "Fix: choose another base, or the nodes' architecture in the profile."
    )


def _object(data: bytes, what: str, most: int) -> dict[str, Any]:
    try:
        found = json.loads(data) if len(data) <= most else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BuildError(f"{what} is no JSON object. Fix: push that image anew, or choose another base.")
    return found


def _examined(
    registry: Registry,
    reference: Reference,
    digest: str,
    manifest: dict[str, Any],
    architecture: str,
    cache: ImageCache,
    tell: Callable[[str], None],
) -> Base:
    raw = b""
    for chunk in registry.read(reference.repository, manifest["config"]["digest"]):
        raw += chunk
        if len(raw) > _CONFIG_BYTES:
            break
    config = _object(raw, f"the configuration of {reference}", _CONFIG_BYTES)
    if config.get("architecture", architecture) != architecture or config.get("os", "linux") != "linux":
        raise BuildError(
            f"{reference} is for {config.get('os')}/{config.get('architecture')}, the nodes are linux/{architecture}. "
            "Fix: choose another base, or the nodes' architecture in the profile."
        )
    diffs = (config.get("rootfs") or {}).get("diff_ids") or []
    entries = manifest.get("layers") or []
    if len(diffs) != len(entries):
        raise BuildError(f"{reference}: configuration and manifest speak of different layers. Fix: push it anew.")
    layers = tuple(
        Blob(str(one["digest"]), str(diff), int(one["size"]), str(one.get("mediaType", LAYER)))
        for one, diff in zip(entries, diffs, strict=True)
    )
    total = sum(one.size for one in layers)
    tell(f"looking at the base image {reference}, {total / 1e6:.0f} MB, once")
    seen = Contents([], {})
    for layer in layers:
        file = fetch(registry, reference.repository, layer, cache)
        with file.open("rb") as source:
            look(source, layer.media_type, seen)
    versions = _variable(config, "PYTHON_VERSION") or (seen.pythons[-1] if seen.pythons else "")
    python = ".".join(versions.split(".")[:2])
    if not python:
        raise BuildError(f"{reference} has no Python 3. Fix: use a base with one, e.g. python:3.11-slim.")
    libc = "musl" if seen.musl and not seen.glibc else "glibc"
    found = Base(str(reference), digest, architecture, python, libc, seen.glibc, seen.distributions, raw, layers)
    return msgspec.structs.replace(found, cuda=_cuda(config))


def _cuda(config: dict[str, Any]) -> str:
    """Return the version of CUDA that an image says it has, as NVIDIA's and the frameworks' own images do."""
    version = _variable(config, "CUDA_VERSION")
    named = any(_variable(config, name) for name in ("NVIDIA_REQUIRE_CUDA", "NVIDIA_VISIBLE_DEVICES"))
    return version or ("of an unknown version" if named else "")


def _variable(config: dict[str, Any], name: str) -> str:
    for one in (config.get("config") or {}).get("Env") or ():
        if one.startswith(f"{name}="):
            return str(one.partition("=")[2])
    return ""


class _Inflated:
    """A gzip stream as a file that is read once, forwards."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._pack = zlib.decompressobj(31)
        self._rest = b""

    def read(self, size: int) -> bytes:
        parts = [self._rest]
        have = len(self._rest)
        while have < size:
            if self._pack.eof:
                raw = self._pack.unused_data or self._file.read(1 << 16)
                if not raw:
                    break
                self._pack = zlib.decompressobj(31)
            else:
                raw = self._file.read(1 << 16)
                if not raw:
                    break
            out = self._pack.decompress(raw)
            parts.append(out)
            have += len(out)
        data = b"".join(parts)
        self._rest = data[size:]
        return data[:size]


def look(file: BinaryIO, media_type: str, seen: Contents) -> None:
    """Add what a layer holds of interest to what was seen; a later layer overrides and removes.

    Raises:
        BuildError: it is packed in a way that is not read here, or damaged.
    """
    if "zstd" in media_type:
        raise BuildError("a layer of the base is packed by zstd, which is not read here. Fix: use a base with gzip.")
    source: Any = _Inflated(file) if "gzip" in media_type else file
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for entry in tar:
                _note(tar, entry, seen)
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise BuildError(f"a layer of the base image is damaged ({error}). Fix: push that image anew.") from None


def _note(tar: tarfile.TarFile, entry: tarfile.TarInfo, seen: Contents) -> None:
    path = entry.name.removeprefix("./").removeprefix("/")
    folder, _, leaf = path.rpartition("/")
    removed = leaf.startswith(".wh.")
    if match := _DISTRIBUTION.fullmatch(f"{folder}/{leaf.removeprefix('.wh.')}"):
        name = re.sub(r"[-_.]+", "-", match[1]).lower()
        if removed:
            seen.distributions.pop(name, None)
        elif leaf.endswith((".dist-info", "-info", "METADATA", "PKG-INFO")):
            seen.distributions[name] = match[2]
    elif match := _PYTHON.fullmatch(path):
        seen.pythons.append(match[1])
    elif leaf.startswith("ld-musl-"):
        seen.musl = True
    elif path == _STATUS and entry.isfile() and (file := tar.extractfile(entry)):
        seen.glibc = _glibc(file) or seen.glibc
    elif match := re.fullmatch(r"libc-(2\.\d+)\.so", leaf):
        seen.glibc = seen.glibc or match[1]


def _glibc(file: Any) -> str:
    """Return the version of Debian's C library from its list of packages."""
    inside = False
    for line in _lines(file):
        if line.startswith("Package: "):
            inside = line.strip() == "Package: libc6"
        elif inside and (match := re.match(r"Version: (?:\d+:)?(2\.\d+)", line)):
            return match[1]
    return ""


def _lines(file: Any) -> Iterator[str]:
    for line in file:
        yield line.decode("utf-8", "replace")
