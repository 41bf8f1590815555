"""An image to a registry: what is there is left, what another repository has is mounted, the manifest comes last.

A layer that was seen in a repository minutes ago is not asked for again. Registries refuse a manifest that names what
they lack: then everything is asked for, and the manifest is sent once more.
"""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from nbkube.errors import RegistryError
from nbkube.images.cache import ImageCache
from nbkube.images.model import Blob, Image
from nbkube.images.reference import parse
from nbkube.images.registry import Registry

_THREADS = 8
_TRUSTED_SECONDS = 600.0
_KEPT_PLACES = 8
Tell = Callable[[str], None]


class Pushed(msgspec.Struct, frozen=True):
    """Where an image is now: `reference` by digest; bytes that were sent, and layers sent and mounted."""

    reference: str
    bytes_pushed: int = 0
    sent: int = 0
    mounted: int = 0


class Pusher:
    """Pushes images to one registry.

    Args:
        cache: holds the layers, and which repository has which.
        open_registry: opens a registry by its host.
        tell: takes lines for people.
        file_of: returns the file of a layer.
    """

    def __init__(
        self, cache: ImageCache, open_registry: Callable[[str], Registry], tell: Tell, file_of: Callable[[Blob], Path]
    ) -> None:
        self._cache = cache
        self._open = open_registry
        self._tell = tell
        self._file_of = file_of
        self._lock = threading.Lock()

    def push(self, image: Image, host: str, repository: str, tag: str, new: Collection[str] = ()) -> Pushed:
        """Push an image; return where it is. `new` are digests of layers that no registry can have yet.

        Raises:
            RegistryError: the registry does not take it; it then has no manifest of it.
        """
        registry = self._open(host)
        reference = f"{host}/{repository}@{image.digest}"
        if registry.has_manifest(repository, image.digest):
            return Pushed(reference)
        return self._all(registry, repository, tag, image, time.time() - _TRUSTED_SECONDS, new)

    def _all(
        self, registry: Registry, repository: str, tag: str, image: Image, seen_since: float, new: Collection[str]
    ) -> Pushed:
        """Bring all of an image there but for the layers that were seen there since a moment."""
        with ThreadPoolExecutor(_THREADS) as pool:
            unsure = [
                one
                for one in image.layers
                if self._seen(registry.host, one.digest).get(repository, -math.inf) <= seen_since
            ]
            small = pool.submit(self._small, registry, repository, image.config_digest, image.config)
            steps = [pool.submit(self._layer, registry, repository, one, image, one.digest in new) for one in unsure]
            try:
                done = [one.result() for one in steps]
                sent = [small.result(), len(image.manifest), *(size for size in done if size > 0)]
            except BaseException:
                for one in steps:
                    one.cancel()
                raise
        try:
            registry.put_manifest(repository, tag, image.manifest)
        except RegistryError:
            if len(unsure) == len(image.layers):
                raise
            return self._all(registry, repository, tag, image, math.inf, ())
        reference = f"{registry.host}/{repository}@{image.digest}"
        return Pushed(reference, sum(sent), len(sent) - 2, sum(1 for size in done if size < 0))

    def _small(self, registry: Registry, repository: str, digest: str, data: bytes) -> int:
        if registry.has(repository, digest):
            return 0
        registry.upload(repository, digest, len(data), lambda: data)
        return len(data)

    def _layer(self, registry: Registry, repository: str, blob: Blob, image: Image, new: bool) -> int:
        """Bring a layer there; return the bytes sent, -1 if it was mounted."""
        if not new and registry.has(repository, blob.digest):
            self._note(registry.host, repository, blob.digest)
            return 0
        for source in self._sources(registry.host, repository, blob, image):
            if registry.mount(repository, blob.digest, source):
                self._note(registry.host, repository, blob.digest)
                return -1
        file = self._file_of(blob)
        self._tell(f"pushing {blob.digest[7:19]}, {size_shown(blob.size)}")
        registry.upload(repository, blob.digest, blob.size, lambda: file.open("rb"))
        self._note(registry.host, repository, blob.digest)
        return blob.size

    def _sources(self, host: str, repository: str, blob: Blob, image: Image) -> list[str]:
        base = parse(image.base.reference)
        own = [base.repository] if base.host == host and blob in image.base.layers else []
        known = self._seen(host, blob.digest)
        return [one for one in dict.fromkeys([*own, *sorted(known, key=lambda one: -known[one])]) if one != repository]

    def _seen(self, host: str, digest: str) -> dict[str, float]:
        """Return the repositories in which a blob was seen, each with the time."""
        return self._cache.note("places", f"{host} {digest}", dict[str, float]) or {}

    def _note(self, host: str, repository: str, digest: str) -> None:
        with self._lock:
            known = self._seen(host, digest) | {repository: time.time()}
            newest = sorted(known, key=lambda one: -known[one])[:_KEPT_PLACES]
            self._cache.keep_note("places", f"{host} {digest}", {one: known[one] for one in newest})


def fetch(registry: Registry, repository: str, blob: Blob, cache: ImageCache) -> Path:
    """Fetch a blob into the cache and return its file.

    Raises:
        RegistryError: it is not there, was cut, or is not what its digest says.
    """
    found = cache.blob(blob.digest)
    if found is not None:
        return found
    handle, name = tempfile.mkstemp(suffix=".unfinished", dir=cache.work)
    digest = hashlib.sha256()
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in registry.read(repository, blob.digest):
                digest.update(chunk)
                file.write(chunk)
        if f"sha256:{digest.hexdigest()}" != blob.digest:
            raise RegistryError(f"{registry.host} gives other bytes for {blob.digest[:19]}. Fix: push that image anew.")
        return cache.keep_blob(blob.digest, Path(name))
    finally:
        Path(name).unlink(missing_ok=True)


def size_shown(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 100_000 else f"{size / 1e3:.1f} kB"
