"""An autoscaler sees what pods use and follows it, up and down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.api import Api, Object
from tests.cluster.bench import Bench
from tests.cluster.namespaces import pod

_BURN = """
import os, time
while True:
    if os.path.exists('/switch/on'):
        end = time.monotonic() + 0.1
        while time.monotonic() < end:
            pass
    else:
        time.sleep(0.05)
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_replicas_follow_the_load(bench: Bench, api: Api, namespace: str) -> None:
    switch = _switch(api, namespace)
    api.create(_deployment(bench, namespace))
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/burner"
    api.wait(path, lambda found: found["status"].get("availableReplicas") == 1, 60, "the first replica")
    api.create(_autoscaler(namespace))
    (switch / "on").touch()
    api.wait(path, lambda found: found["status"].get("replicas") == 3, 120, "three replicas under load")
    (switch / "on").unlink()
    api.wait(path, lambda found: found["status"].get("replicas") == 1, 120, "one replica without load")


def _switch(api: Api, namespace: str) -> Path:
    """Make a volume and return the folder on the node where it lies."""
    api.create(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "switch", "namespace": namespace},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
    )
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/switch"
    bound = api.wait(path, lambda found: found["status"].get("phase") == "Bound", 60, "the volume")
    volume = api.get(f"/api/v1/persistentvolumes/{bound['spec']['volumeName']}")
    return Path(volume["spec"]["hostPath"]["path"])


def _deployment(bench: Bench, namespace: str) -> Object:
    burner = pod(
        namespace,
        "burner",
        bench.images.base,
        _BURN,
        resources={"requests": {"cpu": "50m"}, "limits": {"cpu": "200m"}},
        volumes=[{"name": "switch", "persistentVolumeClaim": {"claimName": "switch"}}],
        volumeMounts=[{"name": "switch", "mountPath": "/switch"}],
    )
    del burner["spec"]["restartPolicy"]
    template = {"metadata": {"labels": {"app": "burner"}}, "spec": burner["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "burner", "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "burner"}}, "template": template},
    }


def _autoscaler(namespace: str) -> Object:
    cpu = {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "burner", "namespace": namespace},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "burner"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": [{"type": "Resource", "resource": cpu}],
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0},
                "scaleDown": {"stabilizationWindowSeconds": 5},
            },
        },
    }
