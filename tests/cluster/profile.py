"""The bench as a user of nbkube meets it: a profile in a file, and the environment that points to it."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import RUNNER, encoded, make_namespace
from tests.cluster.s3 import make_bucket

STORE_SECRET = "nbkube-store"


def use(bench: Bench, api: Api, namespace: str, bucket: str, folder: Path) -> dict[str, str]:
    """Make what the profile `bench` names, write it below `folder`, and return the variables a user would have set.

    The namespace gets the store's keys as a secret, the bucket is made; nothing of it is nbkube's own doing.
    """
    make_namespace(api, namespace, bench)
    make_bucket(bench.minio, bucket)
    keys = {"AWS_ACCESS_KEY_ID": bench.minio.access_key, "AWS_SECRET_ACCESS_KEY": bench.minio.secret_key}
    secret = {"name": STORE_SECRET, "namespace": namespace}
    api.apply({"apiVersion": "v1", "kind": "Secret", "metadata": secret, "data": encoded(keys)})
    settings = {
        "engine": "argo",
        "context": "nbkube-bench",
        "namespace": namespace,
        "image": bench.images.base,
        "registry": bench.node_registry,
        "service-account": RUNNER,
        "store.url": f"s3://{bucket}/store",
        "store.endpoint": bench.minio.endpoint,
        "store.region": bench.minio.region,
        "store.secret": STORE_SECRET,
    }
    file = folder / "nbkube" / "nbkube.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    file.write_text("\n".join(["[profiles.bench]", *lines, ""]))
    return {"KUBECONFIG": bench.kubeconfig, "XDG_CONFIG_HOME": str(folder), **keys}
