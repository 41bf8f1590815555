"""Pods run, are limited, reach each other by name, and are refused where they ask for too much."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import pytest

from tests.cluster import layout, namespaces, python_layers
from tests.cluster.api import Api, ApiError, Object
from tests.cluster.bench import Bench
from tests.cluster.namespaces import finished, log, pod


def test_a_step_image_runs_as_a_user_on_a_read_only_root(bench: Bench, api: Api, namespace: str) -> None:
    program = "import os, sys, nbkube; print(os.getuid(), sys.version_info.minor, nbkube.__name__); open('/tmp/x', 'w')"
    made = pod(namespace, "hello", bench.images.base, program, **_temporary())
    made["spec"]["containers"][0]["securityContext"] = {**namespaces.STEP_SECURITY, "readOnlyRootFilesystem": True}
    api.create(made)
    assert finished(api, namespace, "hello")["status"]["phase"] == "Succeeded"
    assert log(api, namespace, "hello").split() == ["1000", python_layers.PYTHON.split(".")[1], "nbkube"]


def test_a_step_image_has_the_versions_of_this_environment(bench: Bench, api: Api, namespace: str) -> None:
    program = (
        "import importlib.metadata as m, json, nbkube, numpy, pandas, sklearn, matplotlib.pyplot\n"
        "print(json.dumps({d.name: d.version for d in m.distributions()}))"
    )
    api.create(pod(namespace, "versions", bench.images.base, program))
    assert finished(api, namespace, "versions")["status"]["phase"] == "Succeeded"
    found = json.loads(log(api, namespace, "versions"))
    versions = {name.lower().replace("_", "-").replace(".", "-"): version for name, version in found.items()}
    expected = {**python_layers.closure("examples"), **python_layers.runtime()}
    assert versions == {**expected, "nbkube": importlib.metadata.version("nbkube")}


def test_tensorflow_computes_in_its_image(bench: Bench, api: Api, namespace: str) -> None:
    program = "import tensorflow as tf; print(int(tf.reduce_sum(tf.ones((3, 4)))))"
    env = [{"name": "TF_CPP_MIN_LOG_LEVEL", "value": "3"}]
    api.create(pod(namespace, "tensorflow", bench.images.tensorflow, program, env=env))
    assert finished(api, namespace, "tensorflow", 110)["status"]["phase"] == "Succeeded"
    assert log(api, namespace, "tensorflow").split()[-1] == "12"


def test_memory_limit_kills(bench: Bench, api: Api, namespace: str) -> None:
    resources = {"limits": {"memory": "64Mi"}}
    api.create(pod(namespace, "greedy", bench.images.base, "b'x' * 300_000_000", resources=resources))
    (state,) = finished(api, namespace, "greedy")["status"]["containerStatuses"]
    assert state["state"]["terminated"]["reason"] == "OOMKilled"
    assert state["state"]["terminated"]["exitCode"] == 137


def test_a_third_pod_waits_for_one_of_two_devices(bench: Bench, api: Api, namespace: str) -> None:
    resources = {"limits": {"nvidia.com/gpu": "1"}}
    program = "import os, time; print(os.environ['NVIDIA_VISIBLE_DEVICES'], flush=True); time.sleep({})"
    pods = f"/api/v1/namespaces/{namespace}/pods"
    for name, seconds in (("first", 8), ("second", 60)):
        api.create(pod(namespace, name, bench.images.base, program.format(seconds), resources=resources))
        api.wait(f"{pods}/{name}", lambda found: found["status"]["phase"] == "Running", 60, name)
    api.create(pod(namespace, "third", bench.images.base, program.format(0), resources=resources))
    waiting = api.wait(f"{pods}/third", lambda found: "conditions" in found["status"], 10, "the scheduler's answer")
    (scheduled,) = [one for one in waiting["status"]["conditions"] if one["type"] == "PodScheduled"]
    assert (scheduled["status"], scheduled["reason"]) == ("False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in scheduled["message"]
    finished(api, namespace, "third")
    first, second, third = (log(api, namespace, name).strip() for name in ("first", "second", "third"))
    assert {first, second} == {"NVIDIA-0", "NVIDIA-1"}
    assert third == first


def test_a_service_is_found_by_name(bench: Bench, api: Api, namespace: str) -> None:
    serve = "import http.server; http.server.test(http.server.SimpleHTTPRequestHandler, port=8080)"
    api.create(pod(namespace, "server", bench.images.base, serve))
    api.create(_service(namespace, "server", 80, 8080))
    path = f"/api/v1/namespaces/{namespace}/endpoints/server"
    api.wait(path, lambda found: bool(found.get("subsets")), 30, "the service's endpoint")
    url = f"http://server.{namespace}.svc.{layout.CLUSTER_DOMAIN}/etc/hostname"
    ask = (
        "import time, urllib.request\n"
        "for _ in range(50):\n"
        "    try:\n"
        f"        print(urllib.request.urlopen({url!r}, timeout=2).status); break\n"
        "    except OSError as error:\n"
        "        time.sleep(0.2)\n"
    )
    api.create(pod(namespace, "client", bench.images.base, ask))
    finished(api, namespace, "client")
    assert log(api, namespace, "client").strip() == "200"


def test_a_claim_of_any_size_is_bound_and_kept(bench: Bench, api: Api, namespace: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "new", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "17Mi"}}},
    }
    api.create(claim)
    mount = {
        "volumes": [{"name": "kept", "persistentVolumeClaim": {"claimName": "new"}}],
        "volumeMounts": [{"name": "kept", "mountPath": "/kept"}],
    }
    api.create(pod(namespace, "writer", bench.images.base, "open('/kept/x', 'w').write('42')", **mount))
    assert finished(api, namespace, "writer")["status"]["phase"] == "Succeeded"
    api.create(pod(namespace, "reader", bench.images.base, "print(open('/kept/x').read())", **mount))
    finished(api, namespace, "reader")
    assert log(api, namespace, "reader").strip() == "42"
    bound = api.get(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/new")
    assert bound["spec"]["storageClassName"] == layout.STORAGE_CLASS


def test_pod_security_refuses_a_privileged_pod(bench: Bench, api: Api, namespace: str) -> None:
    made = pod(namespace, "privileged", bench.images.base, "")
    made["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    with pytest.raises(ApiError, match=r'violates PodSecurity "restricted') as refused:
        api.create(made)
    assert refused.value.status == 403


def test_pods_have_no_way_out(bench: Bench, api: Api, namespace: str) -> None:
    program = "import socket; print(socket.socket().connect_ex(('192.0.2.1', 80)))"
    made = pod(namespace, "outside", bench.images.base, f"import socket; socket.setdefaulttimeout(3); {program}")
    api.create(made)
    finished(api, namespace, "outside")
    assert log(api, namespace, "outside").strip() != "0"


def _service(namespace: str, name: str, port: int, target: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": name}, "ports": [{"port": port, "targetPort": target}]},
    }


def _temporary() -> dict[str, Any]:
    return {
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }
