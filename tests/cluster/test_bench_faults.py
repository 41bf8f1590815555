"""What tests of nbkube break and mend: each part dies for real and serves again with what it had."""

from __future__ import annotations

import threading
import urllib.request

import pytest

from tests.cluster import faults, layout
from tests.cluster.api import Api, ApiError
from tests.cluster.bench import Bench
from tests.cluster.namespaces import finished, log, pod
from tests.cluster.s3 import client, make_bucket

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
def test_a_control_plane_that_dies_forgets_nothing(bench: Bench, api: Api, namespace: str, name: str) -> None:
    kept = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": namespace}}
    api.create({**kept, "data": {"answer": "42"}})
    with faults.without(bench, name), pytest.raises(ApiError):
        Api(bench.kubeconfig).create({**kept, "metadata": {"name": "lost", "namespace": namespace}}, timeout="3s")
    assert api.get(f"/api/v1/namespaces/{namespace}/configmaps/kept")["data"] == {"answer": "42"}


@pytest.mark.parametrize("name", ["minio", "versitygw"])
def test_an_s3_server_that_dies_keeps_its_objects(bench: Bench, namespace: str, name: str) -> None:
    import io

    from minio.error import MinioException
    from urllib3.exceptions import HTTPError

    server = getattr(bench, name)
    make_bucket(server, namespace)
    client(server).put_object(bucket_name=namespace, object_name="kept", data=io.BytesIO(b"42"), length=2)
    with faults.without(bench, name), pytest.raises((MinioException, HTTPError, OSError)):
        client(server).stat_object(bucket_name=namespace, object_name="kept")
    assert client(server).get_object(bucket_name=namespace, object_name="kept").read() == b"42"


def test_a_pod_starts_without_the_registry_once_its_image_is_on_the_node(
    bench: Bench, api: Api, namespace: str
) -> None:
    api.create(pod(namespace, "before", bench.images.base, "print(1)"))
    finished(api, namespace, "before")
    with faults.without(bench, "registry"):
        with pytest.raises(OSError, match=r"refused"):
            urllib.request.urlopen(f"http://{layout.REGISTRY}/v2/", timeout=5)
        api.create(pod(namespace, "during", bench.images.base, "print(2)"))
        finished(api, namespace, "during")
    assert log(api, namespace, "during").strip() == "2"


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
def test_pods_go_on_while_the_nodes_servers_are_dead(bench: Bench, api: Api, namespace: str, name: str) -> None:
    api.create(pod(namespace, "steady", bench.images.base, "import time; time.sleep(6); print('done')"))
    path = f"/api/v1/namespaces/{namespace}/pods/steady"
    api.wait(path, lambda found: found["status"]["phase"] == "Running", 60, "the pod to run")
    with faults.without(bench, name):
        pass
    assert finished(api, namespace, "steady")["status"]["phase"] == "Succeeded"
    api.wait(f"{path}/log", lambda text: "done" in str(text), 30, "the pod's log")


def test_a_frozen_server_answers_once_it_is_thawed(bench: Bench) -> None:
    health = f"{bench.minio.endpoint}/minio/health/live"
    with faults.frozen(bench, "minio"), pytest.raises(TimeoutError):
        urllib.request.urlopen(health, timeout=1)
    with urllib.request.urlopen(health, timeout=10) as answer:
        assert answer.status == 200


def test_watches_end_when_their_connections_are_cut(bench: Bench, api: Api, namespace: str) -> None:
    ended = threading.Event()

    def watch() -> None:
        try:
            Api(bench.kubeconfig).get(f"/api/v1/namespaces/{namespace}/pods", watch="1", timeoutSeconds="50")
        except ApiError:
            ended.set()

    thread = threading.Thread(target=watch)
    thread.start()
    threading.Event().wait(1.0)
    assert faults.cut_connections(6443) > 0
    thread.join(10)
    assert ended.is_set()


def test_a_killed_container_says_so(bench: Bench, api: Api, namespace: str) -> None:
    api.create(pod(namespace, "victim", bench.images.base, "import time; time.sleep(100)"))
    path = f"/api/v1/namespaces/{namespace}/pods/victim"
    api.wait(path, lambda found: found["status"]["phase"] == "Running", 60, "the pod to run")
    faults.kill_container(api, namespace, "victim")
    (state,) = finished(api, namespace, "victim")["status"]["containerStatuses"]
    assert state["state"]["terminated"]["exitCode"] == 137


def test_an_evicted_pod_vanishes(bench: Bench, api: Api, namespace: str) -> None:
    api.create(pod(namespace, "evicted", bench.images.base, "import time; time.sleep(100)"))
    path = f"/api/v1/namespaces/{namespace}/pods"
    api.wait(f"{path}/evicted", lambda found: found["status"]["phase"] == "Running", 60, "the pod to run")
    faults.evict(api, namespace, "evicted")
    api.wait(path, lambda found: not found["items"], 30, "the pod to vanish")


def test_argos_controller_comes_back(bench: Bench, api: Api) -> None:
    faults.restart_argo(api)
    pods = f"/api/v1/namespaces/{bench.argo_namespace}/pods"
    (controller,) = api.get(pods, labelSelector="app=workflow-controller")["items"]
    assert controller["status"]["phase"] == "Running"
