"""Objects, logs and rights through nbkube's client, on the bench."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nbkube.cluster import Cluster, Question, connect
from nbkube.cluster.connection import DEADLINE
from nbkube.cluster.model import CONFIG_MAP, NAMESPACE, NODE, POD, WORKFLOW, Kind, Manifest
from nbkube.errors import ClusterError, ConflictError, NotFoundError, RefusedError
from tests.cluster.bench import Bench
from tests.cluster.namespaces import pod
from tests.cluster.private_api import PrivateApi
from tests.cluster.wire import Wire

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def cluster(bench: Bench, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The bench through nbkube's own client, with an administrator's rights, in the test's namespace."""
    monkeypatch.setenv("KUBECONFIG", bench.kubeconfig)
    return connect(namespace=namespace)


def settings(name: str, **data: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def workflow(**spec: object) -> Manifest:
    templates = [{"name": "main", "container": {"image": "x", "command": ["true"]}}]
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"name": "digits-1"},
        "spec": {"entrypoint": "main", "templates": templates} | spec,
    }


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.1)


def test_an_object_from_birth_to_end(cluster: Cluster) -> None:
    made = cluster.create(settings("one", a="1"))
    assert made["metadata"]["namespace"] == cluster.namespace
    with pytest.raises(ConflictError, match="already exists"):
        cluster.create(settings("one"))
    changed = cluster.patch(CONFIG_MAP, "one", {"data": {"b": "2"}})
    assert changed["data"] == {"a": "1", "b": "2"}
    old = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"]}, "data": {"b": "3"}}
    with pytest.raises(ConflictError, match="modified"):
        cluster.patch(CONFIG_MAP, "one", old)
    assert cluster.delete(CONFIG_MAP, "one", uid=made["metadata"]["uid"])
    assert not cluster.delete(CONFIG_MAP, "one")
    assert cluster.find(CONFIG_MAP, "one") is None
    with pytest.raises(NotFoundError, match='configmaps "one" not found'):
        cluster.get(CONFIG_MAP, "one")


def test_another_object_of_the_same_name_is_not_deleted(cluster: Cluster) -> None:
    first = cluster.create(settings("one"))
    cluster.delete(CONFIG_MAP, "one")
    cluster.create(settings("one"))
    with pytest.raises(ConflictError):
        cluster.delete(CONFIG_MAP, "one", uid=first["metadata"]["uid"])
    assert cluster.find(CONFIG_MAP, "one") is not None


def test_apply_owns_its_fields(cluster: Cluster) -> None:
    cluster.apply(settings("one", a="1", b="1"))
    found = cluster.apply(settings("one", a="2"))
    assert found["data"] == {"a": "2"}
    assert [one["manager"] for one in found["metadata"]["managedFields"]] == ["nbkube"]
    assert cluster.apply(settings("one", a="3"), dry_run=True)["data"] == {"a": "3"}
    assert cluster.get(CONFIG_MAP, "one")["data"] == {"a": "2"}


@pytest.mark.parametrize("dry_run", [True, False])
def test_misspelt_fields_are_named(cluster: Cluster, dry_run: bool) -> None:
    with pytest.raises(RefusedError) as caught:
        cluster.create(workflow(servicAccountName="x", activeDeadlineSecond=3), dry_run=dry_run)
    assert str(caught.value) == (
        "create Workflow digits-1: there are no fields spec.activeDeadlineSecond, spec.servicAccountName"
    )
    started = time.monotonic()
    with pytest.raises(RefusedError, match="apply ConfigMap one: there is no field dta"):
        cluster.apply(settings("one") | {"dta": {}}, dry_run=dry_run)
    # A server that says "internal error" for this is not asked again until the deadline.
    assert time.monotonic() - started < DEADLINE


def test_a_right_workflow_passes_the_dry_run_and_is_not_there(cluster: Cluster) -> None:
    assert cluster.create(workflow(), dry_run=True)["metadata"]["uid"]
    assert cluster.find(WORKFLOW, "digits-1") is None


def test_kinds_are_looked_up(cluster: Cluster) -> None:
    assert cluster.serves(WORKFLOW)
    assert not cluster.serves(Kind("argoproj.io/v1alpha1", "Workflo"))
    assert not cluster.serves(Kind("nothing.example/v1", "Thing"))
    assert cluster.get(NAMESPACE, cluster.namespace)["kind"] == "Namespace"
    (node,) = cluster.list(NODE)
    assert (node["apiVersion"], node["kind"]) == ("v1", "Node")
    assert cluster.version().startswith("v1.")
    assert cluster.identity().user
    assert cluster.may(Question("create", "workflows", "argoproj.io"))


def test_a_log_is_followed_to_its_end(bench: Bench, cluster: Cluster) -> None:
    program = (
        "import sys, time\n"
        "for n in range(30):\n"
        "    print('line', n, flush=True)\n"
        "    time.sleep(0.1)\n"
        "print('x' * 40_000, flush=True)\n"
        "time.sleep(1)\n"  # containerd joins a long line with what follows at once
        "sys.stdout.buffer.write(b'\\xff\\x1b[31m no end')\n"
    )
    cluster.create(pod(cluster.namespace, "talker", bench.images.base, program))
    wait_until(lambda: cluster.get(POD, "talker")["status"]["phase"] != "Pending")
    lines = list(cluster.logs("talker", follow=True))
    texts = [one.text for one in lines]
    assert texts == [*(f"line {n}".encode() for n in range(30)), b"x" * 40_000, b"\xff\x1b[31m no end"]
    # From any line on, exactly the later ones.
    for cut in (0, 10, 29):
        assert [one.text for one in cluster.logs("talker", since=lines[cut].time)] == texts[cut + 1 :]
    assert [one.text for one in cluster.logs("talker", "main", tail=1)] == texts[-1:]


def test_a_followed_log_comes_once_over_cut_connections(
    bench: Bench, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = "import time\nfor n in range(400):\n    print(n, flush=True)\n    time.sleep(0.015)"
    with Wire(bench.kubeconfig, tmp_path) as wire:
        monkeypatch.setenv("KUBECONFIG", str(wire.kubeconfig))
        over_wire = connect(namespace=cluster.namespace)
        cluster.create(pod(cluster.namespace, "talker", bench.images.base, program))
        wait_until(lambda: cluster.get(POD, "talker")["status"]["phase"] != "Pending")
        found: list[int] = []
        cuts = 0
        for line in over_wire.logs("talker", follow=True):
            found.append(int(line.text))
            if len(found) % 80 == 0:
                cuts += wire.cut()
    assert found == list(range(400))
    assert cuts >= 4


def test_a_watch_goes_on_over_cut_connections(
    bench: Bench, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Wire(bench.kubeconfig, tmp_path) as wire:
        monkeypatch.setenv("KUBECONFIG", str(wire.kubeconfig))
        over_wire = connect(namespace=cluster.namespace)
        seen: list[str] = []
        told: list[str] = []
        cuts = 0
        with over_wire.watch(CONFIG_MAP, fields="metadata.name=one", idle=5.0) as watch:
            for change in watch:
                told.append(change.what)
                if change.what in ("added", "modified"):
                    seen.append(change.object["data"]["a"])
                    cuts += wire.cut()
                if change.what == "synced" or seen:
                    if len(seen) == 10:
                        break
                    if change.what in ("synced", "added", "modified"):
                        cluster.apply(settings("one", a=str(len(seen))))
    assert seen == [str(number) for number in range(10)]
    assert cuts >= 9
    # A cut that is mended at once is no loss of contact.
    assert "lost" not in told


def test_a_log_that_is_not_there(bench: Bench, cluster: Cluster) -> None:
    with pytest.raises(NotFoundError):
        list(cluster.logs("nobody"))
    made = pod(cluster.namespace, "waiting", "localhost:9/no/image:1", "")
    cluster.create(made)
    wait_until(lambda: bool(cluster.get(POD, "waiting")["status"].get("containerStatuses")))
    with pytest.raises(RefusedError, match="waiting to start"):
        list(cluster.logs("waiting"))


def test_a_server_that_is_away_is_told_and_waited_for(tmp_path_factory: pytest.TempPathFactory) -> None:
    import signal

    if lacks := PrivateApi.lacks():
        pytest.skip(lacks)
    with PrivateApi(tmp_path_factory.mktemp("api")) as private, pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(private.kubeconfig))
        cluster = connect(namespace="default")
        assert cluster.version()
        private.signal(signal.SIGKILL)
        patch.setattr("nbkube.cluster.connection.DEADLINE", 1.0)
        with pytest.raises(ClusterError, match=r"context 'private' does not answer at https://.*: .*Fix: .*readyz"):
            cluster.version()
        patch.undo()
        patch.setenv("KUBECONFIG", str(private.kubeconfig))
        answers: list[str] = []
        thread = threading.Thread(target=lambda: answers.append(cluster.version()))
        thread.start()
        private.start()
        thread.join(30)
        assert answers
