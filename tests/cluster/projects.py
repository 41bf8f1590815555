"""A project of a person who works with the bench: notebooks, a profile, a bucket and a namespace of their own."""

from __future__ import annotations

import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nbkube.client import Client
from nbkube.cluster import Cluster, connect
from nbkube.engines.argo.cluster import ClusterWorkflows
from nbkube.engines.argo.engine import ArgoEngine
from nbkube.engines.argo.target import Target
from nbkube.plan import Plan
from nbkube.profiles import load_profile
from nbkube.storage import ObjectStore, open_store
from tests import registries
from tests.building import CellText, write_notebook
from tests.cluster import layout, s3
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import RUNNER

STORE_SECRET = "nbkube-store"


class Project:
    """A folder with a profile `bench` for the running bench; its store is a bucket that no other test uses."""

    def __init__(self, folder: Path, bench: Bench, namespace: str, image: str) -> None:
        self.folder = folder
        self.bench = bench
        self.namespace = namespace
        self.bucket = f"nb-{secrets.token_hex(6)}"
        self.url = f"s3://{self.bucket}/lab"
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(image=image)

    def configure(self, image: str, more: str = "", allow: str = "") -> None:
        """Write nbkube.toml: `more` goes into the profile, `allow` into its list of what notebooks may name."""
        text = f"""
default = "bench"
[profiles.bench]
engine = "argo"
context = "nbkube-bench"
namespace = "{self.namespace}"
image = "{image}"
service-account = "{RUNNER}"
{more}
[profiles.bench.store]
url = "{self.url}"
endpoint = "{self.bench.minio.endpoint}"
region = "{self.bench.minio.region}"
secret = "{STORE_SECRET}"
[profiles.bench.allow]
{allow}
"""
        (self.folder / "nbkube.toml").write_text(text)

    def debian(self) -> str:
        """Bring a bare Debian to the bench's registry and return its reference."""
        return registries.push_base(self.bench.registry, "nbkube/debian", [registries.debian_layer().read_bytes()])

    def configure_building(self) -> None:
        """Have the profile name a registry and a bare Debian as base, and no image: nbkube builds what steps need."""
        registry, base = self.bench.registry, self.debian()
        more = f"""
base = "{base}"
registry = "{registry}"
pull-registry = "{layout.NODE_REGISTRY}"
plain-http = ["{registry}"]
"""
        self.configure(image="", more=more)

    def copy(self, source: Path) -> Path:
        """Copy a folder of the repository into the project."""
        shutil.copytree(
            source, self.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".nbkube", "__pycache__")
        )
        return self.folder

    def notebook(self, cells: Sequence[CellText], name: str = "work") -> Path:
        """Write a notebook and return its path."""
        return write_notebook(self.folder / f"{name}.ipynb", cells)

    def client(self) -> Client:
        """Return a client as the command line makes it."""
        return Client(self.folder)

    def cluster(self) -> Cluster:
        """Return the cluster as the profile reaches it."""
        return connect("nbkube-bench", self.namespace)

    def store(self) -> ObjectStore:
        """Return this machine's way to the project's store."""
        return open_store(self.url)

    def target(self) -> Target:
        """Return what the profile says of pods."""
        return Target.of(load_profile("bench", self.folder), self.namespace)

    def engine(self, plan: Plan, folder: Path) -> ArgoEngine:
        """Return the engine for a plan, its files frozen to a folder."""
        return ArgoEngine(self.store(), plan.files(folder), self.target(), ClusterWorkflows(self.cluster()))


@contextmanager
def project(folder: Path, bench: Bench, api: Api, namespace: str, image: str = "") -> Iterator[Project]:
    """Make a project with its bucket and the Secret that lets pods into it; sets the variables of a shell."""
    found = Project(folder, bench, namespace, image or bench.images.base)
    s3.make_bucket(bench.minio, found.bucket)
    keys = {"AWS_ACCESS_KEY_ID": bench.minio.access_key, "AWS_SECRET_ACCESS_KEY": bench.minio.secret_key}
    data = {name: b64encode(value.encode()).decode() for name, value in keys.items()}
    metadata = {"name": STORE_SECRET, "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})
    own = {
        **keys,
        "KUBECONFIG": str(bench.kubeconfig),
        "AWS_ENDPOINT_URL": bench.minio.endpoint,
        "AWS_REGION": bench.minio.region,
        "NBKUBE_CACHE": str(folder.parent / f"{folder.name}-cache"),
    }
    with variables(own):
        yield found


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a while."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, old in before.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


@contextmanager
def same_libraries(folder: Path) -> Iterator[None]:
    """Give notebooks what the steps' image has, which is without pyarrow: pandas keeps texts otherwise then."""
    folder.mkdir()
    (folder / "pyarrow.py").write_text("raise ImportError('not in the image of the steps')\n")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    with variables({"PYTHONPATH": os.pathsep.join(paths)}):
        yield


def volume_claim(api: Api, namespace: str, name: str, size: str = "16Mi") -> None:
    """Make a claim of the default storage class."""
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}
    metadata = {"name": name, "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec})


def pods(api: Api, namespace: str) -> list[dict[str, Any]]:
    """Return the pods of a namespace."""
    return list(api.get(f"/api/v1/namespaces/{namespace}/pods")["items"])
