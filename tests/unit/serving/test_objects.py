"""The objects of an endpoint on a cluster, without one: what they hold, and what they must never hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from nbkube.profiles.model import DefaultResources, Profile, Serve, StoreAccess
from nbkube.serving.model import Limits, Pods, ServerTask
from nbkube.serving.objects import RECORD, router_objects, token_secret, version_objects

STORE = StoreAccess("s3://bucket/lab", endpoint="http://minio:9000", region="us-east-1", secret="keys")
PROFILE = Profile("lab", engine="argo", store=STORE, pull_secrets=("login",), resources=DefaultResources(cpu="2"))
PODS = Pods(image="registry/serve@sha256:1", most=4, memory="1Gi", gpu={"nvidia.com/gpu": 1}, limits=Limits(seconds=5))


def _of(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    [found] = [one for one in objects if one["kind"] == kind]
    return found


def _task(deployment: dict[str, Any]) -> ServerTask:
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["args"][0] == "serve"
    return msgspec.json.decode(container["args"][1], type=ServerTask)


def test_a_version() -> None:
    objects = version_objects("digits", 3, PODS, PROFILE)
    deployment = _of(objects, "Deployment")
    assert {one["metadata"]["name"] for one in objects} == {"nbkube-serve-digits-v3"}
    pod = deployment["spec"]["template"]["spec"]
    [fetch], [server] = pod["initContainers"], pod["containers"]
    assert fetch["args"] == ["fetch", "s3://bucket/lab", "digits", "3", "/model"]
    keys = {one["name"] for one in fetch["env"] if "valueFrom" in one}
    assert keys == {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}
    assert all(one["valueFrom"]["secretKeyRef"]["name"] == "keys" for one in fetch["env"] if "valueFrom" in one)
    assert not any(one["name"].startswith(("AWS_", "NBKUBE_")) for one in server["env"])
    assert server["resources"]["requests"] == {"cpu": "2", "memory": "1Gi", "nvidia.com/gpu": "1"}
    assert server["resources"]["limits"] == {"memory": "1Gi", "nvidia.com/gpu": "1"}
    task = _task(deployment)
    assert (task.store, task.routing.version, task.upstream, task.limits.seconds) == ("file:///model", 3, "", 5)
    assert "replicas" not in deployment["spec"]  # the autoscaler's
    scaler = _of(objects, "HorizontalPodAutoscaler")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (1, 4)


def test_a_version_run_by_kserve_has_the_same_pods() -> None:
    plain = _of(version_objects("digits", 3, PODS, PROFILE), "Deployment")["spec"]["template"]["spec"]
    objects = version_objects("digits", 3, PODS, PROFILE, kserve=True)
    assert sorted(one["kind"] for one in objects) == ["InferenceService", "PodDisruptionBudget", "Service"]
    service = _of(objects, "InferenceService")
    predictor = service["spec"]["predictor"]
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (1, 4)
    [container], [same] = predictor["containers"], plain["containers"]
    assert container == {**same, "name": "kserve-container"}
    assert all(predictor[key] == value for key, value in plain.items() if key != "containers")
    assert service["metadata"]["labels"].items() >= _of(objects, "Service")["spec"]["selector"].items()


def test_routers() -> None:
    objects = router_objects("digits", PODS, PROFILE, "endpoints/digits/clusters/1.json")
    deployment, service = _of(objects, "Deployment"), _of(objects, "Service")
    assert service["metadata"]["annotations"] == {RECORD: "endpoints/digits/clusters/1.json"}
    assert service["spec"]["type"] == "ClusterIP"
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    task = _task(deployment)
    assert task.upstream.format(version=3) == "http://nbkube-serve-digits-v3:8080"
    assert (task.store, task.record) == ("s3://bucket/lab", "endpoints/digits/clusters/1.json")


@pytest.mark.parametrize("objects", [version_objects, None])
def test_pods_pass_pod_security_restricted(objects: Any) -> None:
    listed = version_objects("digits", 1, PODS, PROFILE) if objects else router_objects("digits", PODS, PROFILE, "r")
    pod = _of(listed, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["imagePullSecrets"] == [{"name": "login"}]
    for one in (*pod.get("initContainers", ()), *pod["containers"]):
        assert one["securityContext"]["allowPrivilegeEscalation"] is False
        assert one["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert one["securityContext"]["readOnlyRootFilesystem"] is True


def test_a_token_is_in_the_secret_alone() -> None:
    pods = msgspec.structs.replace(PODS, token=True)
    token = "a-token-of-more-than-sixteen-letters"
    assert token_secret("digits", token)["data"]["token"]
    everything = [*version_objects("digits", 1, pods, PROFILE), *router_objects("digits", pods, PROFILE, "r")]
    assert token not in str(everything)
    for one in everything:
        if one["kind"] == "Deployment":
            env = one["spec"]["template"]["spec"]["containers"][0]["env"]
            [asked] = [given for given in env if given["name"] == "NBKUBE_ENDPOINT_TOKEN"]
            assert asked["valueFrom"]["secretKeyRef"] == {"name": "nbkube-serve-digits", "key": "token"}


@pytest.mark.parametrize(
    ("expose", "kind"), [("node-port", "NodePort"), ("load-balancer", "LoadBalancer"), ("ingress", "ClusterIP")]
)
def test_exposed_as_the_profile_says(expose: Any, kind: str) -> None:
    serve = Serve(expose=expose, host="models.example.com", tls_secret="models-tls", ingress_class="nginx")
    objects = router_objects("digits", PODS, msgspec.structs.replace(PROFILE, serve=serve), "r")
    assert _of(objects, "Service")["spec"]["type"] == kind
    ingresses = [one["spec"] for one in objects if one["kind"] == "Ingress"]
    if expose == "ingress":
        [spec] = ingresses
        assert spec["tls"] == [{"hosts": ["models.example.com"], "secretName": "models-tls"}]
        assert spec["ingressClassName"] == "nginx"
        assert spec["rules"][0]["host"] == "models.example.com"
    else:
        assert not ingresses


@pytest.mark.parametrize(("runtime", "port"), [("tensorflow-serving", 8501), ("triton", 8000), ("mlserver", 8080)])
def test_servers_of_others(runtime: str, port: int) -> None:
    pods = msgspec.structs.replace(PODS, runtime=runtime, runtime_image="registry/other:1")
    objects = version_objects("digits", 3, pods, PROFILE)
    pod = _of(objects, "Deployment")["spec"]["template"]["spec"]
    [fetch], [server] = pod["initContainers"], pod["containers"]
    assert (fetch["image"], fetch["args"][-1]) == (PODS.image, runtime)
    assert (server["image"], server["ports"][0]["containerPort"]) == ("registry/other:1", port)
    assert _of(objects, "Service")["spec"]["ports"] == [{"name": "http", "port": 8080, "targetPort": port}]
    router = _task(_of(router_objects("digits", pods, PROFILE, "r"), "Deployment"))
    assert router.dialect == ("v1" if runtime == "tensorflow-serving" else "v2")
