"""What tests see of a running bench: addresses, credentials and names, read from `bench.json` in the run folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.cluster import layout
from tests.cluster.layout import BenchError


class S3(msgspec.Struct, frozen=True):
    """An S3 server, at the same address for the host and for pods; keys are random, made at each start."""

    endpoint: str
    access_key: str
    secret_key: str
    region: str = "us-east-1"


class Images(msgspec.Struct, frozen=True):
    """References by digest, as pods name them. `base` has the examples' libraries, `tensorflow` has TensorFlow too."""

    base: str
    tensorflow: str
    argoexec: str


class Bench(msgspec.Struct, frozen=True):
    """A running bench."""

    run: str
    kubeconfig: str
    api_server: str
    registry: str
    """`host:port` of the registry for the host and for pods (plain http)."""
    node_registry: str
    """The same registry as image references name it."""
    minio: S3
    versitygw: S3
    images: Images
    argo_namespace: str = layout.ARGO_NAMESPACE
    node: str = layout.NODE
    cluster_domain: str = layout.CLUSTER_DOMAIN
    storage_class: str = layout.STORAGE_CLASS
    devices: dict[str, int] = msgspec.field(default_factory=layout.DEVICES.copy)

    @property
    def run_folder(self) -> Path:
        """Return the folder with the servers' files, logs and data."""
        return Path(self.run)


def read() -> Bench:
    """Return the running bench; raises BenchError when none has been started."""
    try:
        return msgspec.json.decode((layout.run_folder() / "bench.json").read_bytes(), type=Bench)
    except FileNotFoundError:
        raise BenchError("the bench is not up; start it with `make cluster-up`") from None


def write(bench: Bench) -> None:
    """Record the running bench, readable by root only: it holds keys."""
    path = layout.run_folder() / "bench.json"
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(msgspec.json.format(msgspec.json.encode(bench), indent=1))
    new.rename(path)


def replace_images(bench: Bench, images: Images) -> Bench:
    """Return the same bench with other images."""
    return msgspec.structs.replace(bench, images=images)
