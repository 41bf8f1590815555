from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nbkube.engines.argo.needs import suffices, together
from nbkube.engines.argo.workflow import size
from nbkube.errors import DataflowError, NotebookError
from nbkube.pipeline.model import Secret, StepOptions, Toleration, Volume, Wheelhouse
from tests.unit.engines.argo.submissions import TARGET, manifest, planned, submission, template


def pod(options: StepOptions, **target: Any) -> dict[str, Any]:
    given = msgspec.structs.replace(TARGET, **target)
    return template(manifest(submission((), options={0: options}), given), "step")


def test_a_chain_needs_neither_judge_nor_second_pass() -> None:
    found = manifest(submission((), (0,), (1,)))
    assert [one["name"] for one in found["spec"]["templates"]] == ["main", "step", "end", "report"]
    tasks = template(found, "main")["dag"]["tasks"]
    assert [(one["name"], one.get("depends")) for one in tasks] == [("u0", None), ("u1", "u0"), ("u2", "u1")]


def test_steps_beside_each_other_are_judged_and_repeated_in_order() -> None:
    found = manifest(submission((), (0,), (0,)))
    tasks = {one["name"]: one for one in template(found, "main")["dag"]["tasks"]}
    assert tasks["settle"]["depends"] == (
        "(u1.Succeeded || u1.Failed || u1.Errored || u1.Skipped || u1.Omitted) && "
        "(u2.Succeeded || u2.Failed || u2.Errored || u2.Skipped || u2.Omitted)"
    )
    assert tasks["ordered"]["when"] == "'{{tasks.settle.outputs.parameters.again}}' != 'none'"
    ordered = template(found, "ordered")["dag"]["tasks"]
    assert [(one["when"], one.get("depends")) for one in ordered] == [
        ("{{inputs.parameters.from}} <= 0", None),
        ("{{inputs.parameters.from}} <= 1", "u0"),
        ("{{inputs.parameters.from}} <= 2", "u1"),
    ]
    assert template(found, "settle")["outputs"]["parameters"][0]["valueFrom"]["default"] == "none"


def test_steps_that_run_after_failures_are_in_the_exit_hook_one_after_the_other() -> None:
    always = StepOptions(after_failure=True)
    found = manifest(submission((), (0,), (1,), options={1: always, 2: always}))
    tasks = template(found, "end")["dag"]["tasks"]
    assert [one["name"] for one in tasks] == ["after-failure-1", "after-failure-2", "report"]
    assert {one["when"] for one in tasks} == {"{{workflow.status}} != Succeeded"}
    assert [one.get("depends", "").partition(".")[0] for one in tasks] == ["", "(after-failure-1", "(after-failure-2"]
    given = {one["name"]: one["value"] for one in tasks[1]["arguments"]["parameters"]}
    assert given == {"unit": "2", "label": "u2", "turn": "2"}
    # It changes nothing of a pod, so it makes no template of its own.
    assert [one["name"] for one in found["spec"]["templates"]] == ["main", "step", "end", "report"]


def test_every_container_has_a_command_and_is_locked_down() -> None:
    found = manifest(submission((), ()))
    for one in found["spec"]["templates"]:
        if "container" in one:
            assert one["container"]["command"] == ["python3", "-m", "nbkube.engines.argo.pod"]
            context = one["container"]["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            }
    spec = found["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["automountServiceAccountToken"] is False
    assert spec["executor"] == {"serviceAccountName": "nbkube-runner"}
    assert {one["name"] for one in json.loads(spec["podSpecPatch"])["containers"]} == {"wait"}


def test_amounts_are_request_and_limit() -> None:
    options = StepOptions(cpu="1500m", memory="2Gi", gpu={"nvidia.com/gpu": 1, "amd.com/gpu": 2})
    amounts = {"cpu": "1500m", "memory": "2Gi", "nvidia.com/gpu": "1", "amd.com/gpu": "2"}
    assert pod(options)["container"]["resources"] == {"requests": amounts, "limits": amounts}
    assert pod(StepOptions(), memory="1Gi")["container"]["resources"]["limits"] == {"memory": "1Gi"}
    assert "resources" not in pod(StepOptions())["container"]


def test_where_a_pod_may_run() -> None:
    options = StepOptions(
        gpu_type="NVIDIA-A100-SXM4-40GB",
        node_selector={"zone": "a"},
        toleration=(Toleration("gpu"), Toleration("team", "ml", "NoSchedule"), Toleration("blank", "")),
    )
    found = pod(options)
    assert found["nodeSelector"] == {"zone": "a"}
    required = found["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    asked = [one for term in required["nodeSelectorTerms"] for one in term["matchExpressions"]]
    assert {"key": "amd.com/gpu.product-name", "operator": "In", "values": ["NVIDIA-A100-SXM4-40GB"]} in asked
    # One label is enough: terms are alternatives, expressions of a term are not.
    assert len(asked) == len(required["nodeSelectorTerms"])
    assert found["tolerations"] == [
        {"key": "gpu", "operator": "Exists"},
        {"key": "team", "operator": "Equal", "value": "ml", "effect": "NoSchedule"},
        {"key": "blank", "operator": "Equal", "value": ""},
    ]


def test_a_wheelhouse_is_unpacked_before_each_pod_starts_and_cannot_be_written_by_the_step() -> None:
    wheels = Wheelhouse("e" * 64, "/opt/wheels", {"PYTHONPATH": "/opt/wheels", "HOME": "/tmp"})
    options = StepOptions(image="base@sha256:1", wheelhouse=wheels)
    found = manifest(submission((), (), options={0: options, 1: options}), msgspec.structs.replace(TARGET, image=""))
    for name in ("step", "settle", "report"):
        one = template(found, name)
        (unpacking,) = one["initContainers"]
        assert unpacking["image"] == one["container"]["image"] == "base@sha256:1"
        assert unpacking["args"][2:] == ["e" * 64, "/opt/wheels"]
        assert unpacking["securityContext"] == one["container"]["securityContext"]
        assert {"name": "PYTHONPATH", "value": "/opt/wheels"} in one["container"]["env"]
        assert "NBKUBE_STORE" in {variable["name"] for variable in unpacking["env"]}
        names = [variable["name"] for variable in one["container"]["env"]]
        assert len(names) == len(set(names))
        mount = {"name": "wheels", "mountPath": "/opt/wheels"}
        assert mount in unpacking["volumeMounts"]
        assert {**mount, "readOnly": True} in one["container"]["volumeMounts"]
        assert {"name": "wheels", "emptyDir": {}} in one["volumes"]
        assert unpacking["args"][:2] == ["{{workflow.parameters.unpacking}}", "{{workflow.parameters.signing}}"]
    texts = {one["name"]: one["value"] for one in found["spec"]["arguments"]["parameters"]}
    assert set(texts) == {"unpacking", "signing"}
    # Argo and Kubernetes fill in what stands in such braces.
    assert not any(mark in text for text in texts.values() for mark in ("{{", "}}", "$("))
    assert "arguments" not in manifest(submission(()))["spec"]
    assert "initContainers" not in pod(StepOptions(image="own/image:1"))


def test_a_step_with_an_image_of_its_own_gets_no_wheelhouse_of_others() -> None:
    wheels = Wheelhouse("e" * 64, "/opt/wheels")
    assert "initContainers" not in pod(StepOptions(image="own/image:1"), wheelhouse=wheels)
    other = Wheelhouse("f" * 64, "/opt/wheels")
    one, two = (StepOptions(image="base", wheelhouse=wheelhouse) for wheelhouse in (wheels, other))
    assert suffices(one, one)
    assert not suffices(one, two)
    with pytest.raises(DataflowError, match="differ in the option image"):
        together([one, two], ["a", "b"])


def test_secrets_are_references() -> None:
    found = pod(
        StepOptions(secret=(Secret("whole"), Secret("files", "/keys"), Secret("one", key="token", env="TOKEN")))
    )
    container = found["container"]
    assert container["envFrom"] == [{"secretRef": {"name": "whole"}}]
    assert {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "one", "key": "token"}}} in container["env"]
    assert {"name": "step-0", "mountPath": "/keys", "readOnly": True} in container["volumeMounts"]
    assert {"name": "step-0", "secret": {"secretName": "files", "defaultMode": 0o440}} in found["volumes"]


def test_volumes_old_and_new() -> None:
    options = StepOptions(
        volume=(Volume("/data", claim="shared"), Volume("/scratch", size="1Gi", storage_class="fast"))
    )
    volumes = {one["name"]: one for one in pod(options)["volumes"]}
    assert volumes["step-0"]["persistentVolumeClaim"] == {"claimName": "shared"}
    claim = volumes["step-1"]["ephemeral"]["volumeClaimTemplate"]["spec"]
    assert (claim["storageClassName"], claim["resources"]) == ("fast", {"requests": {"storage": "1Gi"}})


def test_a_volume_at_tmp_takes_the_place_of_ours() -> None:
    mounts = pod(StepOptions(volume=(Volume("/tmp", size="1Gi"),)))["container"]["volumeMounts"]
    assert [one["mountPath"] for one in mounts] == ["/nbkube", "/nbkube-store", "/tmp"]


def test_retries_and_timeout() -> None:
    found = pod(StepOptions(retries=2, timeout=90.5))
    assert found["retryStrategy"]["limit"] == 10
    assert "asInt(lastRetry.exitCode) in [-1, 75, 76, 143]" in found["retryStrategy"]["expression"]
    assert found["retryStrategy"]["expression"].endswith("|| asInt(lastRetry.exitCode) == 137")
    assert found["activeDeadlineSeconds"] == 91 + 900
    assert not pod(StepOptions())["retryStrategy"]["expression"].endswith("== 137")


def test_the_profile_decides_what_a_notebook_cannot() -> None:
    target = msgspec.structs.replace(
        TARGET, priority_class="high", parallelism=3, namespace="team", service_account="runner"
    )
    found = manifest(submission(()), target)
    spec = found["spec"]
    assert found["metadata"]["namespace"] == "team"
    assert (spec["podPriorityClassName"], spec["parallelism"], spec["serviceAccountName"]) == ("high", 3, "runner")
    assert pod(StepOptions(image="own/image:1"))["container"]["image"] == "own/image:1"


@pytest.mark.parametrize(
    "options",
    [
        StepOptions(annotations={"example.com/x": "{{workflow.name}}"}),
        StepOptions(volume=(Volume("/data/{{pod.name}}", claim="shared"),)),
        StepOptions(secret=(Secret("one", "/}}x"),)),
        StepOptions(volume=(Volume("/nbkube/project", claim="shared"),)),
        StepOptions(secret=(Secret("one", "/nbkube"),)),
    ],
)
def test_texts_that_argo_would_fill_in_and_our_own_places_are_refused(options: StepOptions) -> None:
    with pytest.raises(NotebookError, match="step u0"):
        pod(options)


def test_names_that_argo_cannot_have() -> None:
    units = submission((), (), (), ())
    named = ("7up", "train.2", "train-2", "settle")
    units = msgspec.structs.replace(
        units,
        units=tuple(
            msgspec.structs.replace(one, program=msgspec.structs.replace(one.program, unit=name))
            for one, name in zip(units.units, named, strict=True)
        ),
    )
    tasks = template(manifest(units), "main")["dag"]["tasks"]
    assert [one["name"] for one in tasks[:4]] == ["s-7up", "train-2", "train-2-u2", "settle-u3"]
    given = {one["name"]: one["value"] for one in tasks[1]["arguments"]["parameters"]}
    assert given == {"unit": "1", "label": "train.2"}


def test_steps_that_ask_for_the_same_share_a_template_and_1000_fit_in_half_a_mebibyte() -> None:
    after = [tuple(range(max(0, at - 40), at, 2)) for at in range(1000)]
    options = {at: StepOptions(memory=f"{1 + at % 5}Gi", timeout=60.0 + at % 7) for at in range(1000)}
    found = manifest(submission(*after, options=options))
    assert len(found["spec"]["templates"]) == 35 + 5
    assert size(found) < 512 << 10


def test_nothing_of_a_notebook_is_in_the_object(tmp_path: Path) -> None:
    hostile = "canary {{workflow.name}} '\"\\ ${x} $(id) \x07 ---\n- &a *a !!python/object"
    cells = [
        ("parameters", f"text = {hostile!r}"),
        ("step:one", f"# {hostile.splitlines()[0]}\nfound = {hostile!r}\nprint(found, text)"),
    ]
    plan = planned(tmp_path, cells, {"one": {"env": [f"SECRET_CANARY={hostile}"]}})
    run = plan.submission("20260101-000000-aa")
    assert run.units[-1].program.env == {"SECRET_CANARY": hostile}
    text = json.dumps(manifest(run))
    assert "canary" not in text.lower()
    assert str(tmp_path) not in text


def test_an_exported_workflow_names_no_run() -> None:
    found = manifest(submission((), ()), run="", name="digits")
    assert found["metadata"]["generateName"] == "digits-"
    args = template(found, "step")["container"]["args"]
    assert args[:5] == [
        "unit",
        "--workflow",
        "{{workflow.name}}",
        "--created",
        "{{workflow.creationTimestamp.RFC3339}}",
    ]
