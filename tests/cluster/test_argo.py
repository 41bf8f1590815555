"""Argo Workflows on the bench: a graph with a file and a value between its steps, and strict checks of its objects."""

from __future__ import annotations

import pytest

from tests.cluster.api import Api, ApiError, Object
from tests.cluster.bench import Bench
from tests.cluster.namespaces import RUNNER, STEP_SECURITY, USER_SECURITY
from tests.cluster.s3 import make_bucket


@pytest.mark.slow
def test_three_steps_pass_a_file_and_a_value(bench: Bench, api: Api, namespace: str) -> None:
    make_bucket(bench.minio, "argo-artifacts")
    workflow = _three_steps(namespace, bench)
    made = api.create(workflow)
    path = f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/workflows/{made['metadata']['name']}"
    done = api.wait(path, lambda found: "finishedAt" in found.get("status", {}), 110, "the workflow")
    assert done["status"]["phase"] == "Succeeded", done["status"].get("message")
    (last,) = [node for node in done["status"]["nodes"].values() if node["displayName"] == "last"]
    (total,) = [one for one in last["outputs"]["parameters"] if one["name"] == "total"]
    assert total["value"] == "6"
    assert api.get(f"/api/v1/namespaces/{namespace}/pods/{_pod_name(last)}")["spec"]["containers"]


def test_a_misspelt_field_is_refused_by_a_dry_run(bench: Bench, api: Api, namespace: str) -> None:
    workflow = _three_steps(namespace, bench)
    api.create(workflow, dryRun="All")
    workflow["spec"]["servicAccountName"] = workflow["spec"].pop("serviceAccountName")
    workflow["spec"]["templates"][1]["retryStrategy"] = {"limt": 2}
    with pytest.raises(ApiError, match=r'unknown field "spec.servicAccountName".*retryStrategy.limt') as refused:
        api.create(workflow, dryRun="All")
    assert refused.value.status == 400


def _pod_name(node: Object) -> str:
    """Return the name of a node's pod (Argo's second naming scheme: workflow, template, hash)."""
    workflow, _, number = node["id"].rpartition("-")
    return f"{workflow}-{node['templateName']}-{number}"


def _three_steps(namespace: str, bench: Bench) -> Object:
    write = "open('/tmp/number', 'w').write('2'); open('/tmp/list', 'w').write('1 3')"
    copy = "open('/tmp/copy', 'w').write(open('/tmp/list').read())"
    add = (
        "import sys; numbers = open('/tmp/copy').read().split()\n"
        "open('/tmp/total', 'w').write(str(sum(map(int, numbers)) + int(sys.argv[1])))"
    )
    file = {"name": "list", "path": "/tmp/list"}
    outputs = {"artifacts": [file], "parameters": [{"name": "number", "valueFrom": {"path": "/tmp/number"}}]}
    tasks = [
        {"name": "first", "template": "write"},
        {
            "name": "middle",
            "template": "copy",
            "depends": "first",
            "arguments": {"artifacts": [{"name": "list", "from": "{{tasks.first.outputs.artifacts.list}}"}]},
        },
        {
            "name": "last",
            "template": "add",
            "depends": "middle",
            "arguments": {
                "artifacts": [{"name": "copy", "from": "{{tasks.middle.outputs.artifacts.copy}}"}],
                "parameters": [{"name": "number", "value": "{{tasks.first.outputs.parameters.number}}"}],
            },
        },
    ]
    copied = {"name": "copy", "path": "/tmp/copy"}
    number = [{"name": "number"}]
    total = {"parameters": [{"name": "total", "valueFrom": {"path": "/tmp/total"}}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Workflow",
        "metadata": {"generateName": "three-steps-", "namespace": namespace},
        "spec": {
            "entrypoint": "main",
            "serviceAccountName": RUNNER,
            "automountServiceAccountToken": False,
            "executor": {"serviceAccountName": RUNNER},
            "securityContext": USER_SECURITY,
            "archiveLogs": True,
            "templates": [
                {"name": "main", "dag": {"tasks": tasks}},
                _step("write", bench, write, outputs=outputs),
                _step("copy", bench, copy, inputs={"artifacts": [file]}, outputs={"artifacts": [copied]}),
                _step("add", bench, add, inputs={"artifacts": [copied], "parameters": number}, outputs=total),
            ],
        },
    }


def _step(name: str, bench: Bench, program: str, **rest: Object) -> Object:
    argument = ["{{inputs.parameters.number}}"] if "parameters" in rest.get("inputs", {}) else []
    container = {
        "image": bench.images.base,
        "command": ["/usr/bin/python3", "-c", program, *argument],
        "securityContext": STEP_SECURITY,
    }
    return {"name": name, "container": container, **rest}
