"""Notebook servers before anything is sent: requests that are refused, and the objects they become."""

from __future__ import annotations

import json

import pytest

from nbkube.errors import NbkubeError
from nbkube.labs.model import lab_request
from nbkube.labs.objects import objects
from nbkube.pipeline.placement import product_asked
from nbkube.profiles import Profile, StoreAccess

PROFILE = Profile(
    "lab", image="lab:1", store=StoreAccess("s3://lab/x", "http://here:9", "http://there:9", secret="keys")
)


def test_a_request_becomes_objects_that_name_no_secret() -> None:
    options = {"cpu": "2", "memory": "4Gi", "gpu": "1", "gpu-type": "A100", "volume": ["data:/data"]}
    secret, claim, service, found = objects(lab_request("me", options, "new:5Gi:fast"), PROFILE, "a-token", "")
    assert claim["spec"]["storageClassName"] == "fast"
    assert service["spec"]["clusterIP"] == "None"
    assert "a-token" not in json.dumps([secret, claim, service, found])
    pod = found["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["image"] == "lab:1"
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"}
    assert container["resources"]["limits"] == {"memory": "4Gi", "nvidia.com/gpu": "1"}
    assert {"name": "AWS_ENDPOINT_URL", "value": "http://there:9"} in container["env"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys", "optional": True}}]
    assert product_asked(pod) == "A100"
    assert pod["volumes"][-1] == {"name": "data-0", "persistentVolumeClaim": {"claimName": "data"}}
    assert pod["automountServiceAccountToken"] is False


def test_an_existing_workspace_is_taken_as_it_is() -> None:
    made = objects(lab_request("me", {}, "mine"), PROFILE, "t", "nbkube-notebook")
    assert [one["kind"] for one in made] == ["Secret", "Service", "StatefulSet"]
    pod = made[-1]["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"] == {"claimName": "mine"}
    assert pod["serviceAccountName"] == "nbkube-notebook"


@pytest.mark.parametrize(
    ("name", "options", "workspace", "says"),
    [
        ("Me", {}, "new:1Gi", "no name of a server"),
        ("a/../b", {}, "new:1Gi", "no name of a server"),
        ("me", {"retries": "2"}, "new:1Gi", "takes no retries"),
        ("me", {"cpu": "much"}, "new:1Gi", "no quantity"),
        ("me", {}, "new:lots", "workspace"),
        ("me", {}, "../etc", "workspace"),
    ],
)
def test_what_is_wrong_is_said(name: str, options: dict[str, str], workspace: str, says: str) -> None:
    with pytest.raises(NbkubeError, match=says):
        lab_request(name, options, workspace)
