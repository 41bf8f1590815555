"""What nbkube's way to an API server costs: `python -m tests.benchmarks.cluster_calls`.

The API server is the benchmark's own, on loopback; it needs the built parts of the test cluster. Peers: the official
client's dynamic client, which looks up all kinds before the first call, and the bare HTTP request.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nbkube.cluster import connect
from nbkube.cluster.model import CONFIG_MAP
from tests.benchmarks.measure import Line, median_wall, run_in_turn, show
from tests.cluster.private_api import PrivateApi

REPEAT = 7
CALLS = 300
_OURS = (
    "from nbkube.cluster import connect; from nbkube.cluster.model import CONFIG_MAP; print(connect().list(CONFIG_MAP))"
)
_PEER = """
from kubernetes import config, dynamic
client = dynamic.DynamicClient(config.new_client_from_config())
print(client.resources.get(api_version="v1", kind="ConfigMap").get(namespace="default"))
"""


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    if lacks := PrivateApi.lacks():
        print(f"Calls of the cluster: not measured, {lacks}")  # noqa: T201
        return False
    with tempfile.TemporaryDirectory() as folder, PrivateApi(Path(folder)) as server:
        os.environ["KUBECONFIG"] = str(server.kubeconfig)
        commands = {"ours": [sys.executable, "-c", _OURS], "peer": [sys.executable, "-c", _PEER]}
        cold = run_in_turn(commands, Path.cwd(), REPEAT)
        ours, peer = median_wall(cold["ours"]), median_wall(cold["peer"])
        get, bare = _warm()
        lines = [
            Line("first answer of a new process", ours, "s"),
            Line("the same by the dynamic client", peer, "s"),
            Line("first answer: ours / dynamic client", ours / peer, "x", 1.2),
            Line("one more get", get * 1000, "ms"),
            Line("the same as a bare HTTP request", bare * 1000, "ms"),
            Line("get: ours / bare", get / bare, "x", 1.5),
        ]
    return show(f"Calls of the cluster (medians of {REPEAT}, {CALLS} calls)", lines)


def _warm() -> tuple[float, float]:
    cluster = connect(namespace="default")
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "1"}})
    connection = cluster._connection
    url = f"{cluster.access.server}/api/v1/namespaces/default/configmaps/x"
    headers = {one["key"]: one["value"] for one in connection._settings.auth_settings().values()}

    def bare() -> None:
        assert connection._pool.request("GET", url, headers=headers).status == 200

    return _median(lambda: cluster.get(CONFIG_MAP, "x")), _median(bare)


def _median(call: Callable[[], object]) -> float:
    call()
    taken = []
    for _ in range(CALLS):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


if __name__ == "__main__":
    sys.exit(not main())
