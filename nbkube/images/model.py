"""The frozen types of images."""

from __future__ import annotations

import hashlib

import msgspec

SITE = "/opt/nbkube/site-packages"
"""Where distributions lie in an image; PYTHONPATH leads there, so they come before those of the base."""

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


class Requirement(msgspec.Struct, frozen=True):
    """One requirement (PEP 508) with where it comes from, such as `train.ipynb:cell 3: import numpy`."""

    text: str
    origin: str


class Environment(msgspec.Struct, frozen=True):
    """Steps that need the same: `requirements` sorted by text; `notes` are things a person should know of."""

    steps: tuple[str, ...]
    requirements: tuple[Requirement, ...]
    notes: tuple[str, ...] = ()


class Wheel(msgspec.Struct, frozen=True):
    """One wheel of a lock; `size` in bytes as the index tells, 0 where it does not."""

    name: str
    version: str
    filename: str
    sha256: str
    size: int = 0


class Lock(msgspec.Struct, frozen=True):
    """All wheels of an environment, by name. `runtime` are the names of those that nbkube itself needs."""

    wheels: tuple[Wheel, ...]
    runtime: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Return the sha256 of what is locked."""
        return hashlib.sha256(msgspec.json.encode(self.wheels)).hexdigest()


class Blob(msgspec.Struct, frozen=True):
    """A compressed layer: its digest (`sha256:…`), that of the tar in it, its size in bytes, its media type."""

    digest: str
    diff_id: str
    size: int
    media_type: str = LAYER


class Base(msgspec.Struct, frozen=True):
    """The image that others are put upon.

    `reference` is as it was asked for, `digest` that of the manifest for the architecture. `python` is the minor
    version ("3.11"), `libc` "glibc" or "musl", `libc_version` "2.36" or "" if unknown; `distributions` name -> version
    of what its Python finds; `cuda` the version of CUDA that it says it has ("": none). `config` and `layers` are the
    image's own.
    """

    reference: str
    digest: str
    architecture: str
    python: str
    libc: str
    libc_version: str
    distributions: dict[str, str]
    config: bytes
    layers: tuple[Blob, ...]
    cuda: str = ""


class LayerPlan(msgspec.Struct, frozen=True):
    """A layer to make: `key` stands for everything that decides its bytes; `runtime`: nbkube itself needs it."""

    key: str
    wheels: tuple[Wheel, ...]
    runtime: bool = False


class Image(msgspec.Struct, frozen=True):
    """An assembled image: `layers` from the lowest up, those of the base first; `own` are the digests made here."""

    digest: str
    manifest: bytes
    config: bytes
    layers: tuple[Blob, ...]
    base: Base
    own: tuple[str, ...]

    @property
    def config_digest(self) -> str:
        """Return the digest of the configuration blob."""
        return f"sha256:{hashlib.sha256(self.config).hexdigest()}"
