"""Answers of the API server become one sentence with what to do."""

from __future__ import annotations

import json

import pytest

from nbkube.cluster.failures import ExpiredError, allowing, translate
from nbkube.cluster.model import Access
from nbkube.errors import ClusterError, ConflictError, ForbiddenError, NbkubeError, NotFoundError, RefusedError

ACCESS = Access("lab", "team-a", "https://lab.example:6443", "kubeconfig")


def told(status: int, message: str, **details: object) -> NbkubeError:
    body = {"kind": "Status", "status": "Failure", "message": message, "code": status, "details": details}
    return translate(status, json.dumps(body).encode(), "create Workflow digits-1", ACCESS)


def test_a_missing_right_has_the_command_that_gives_it() -> None:
    error = told(403, 'pods is forbidden: User "ada" cannot list resource "pods" in API group "" in the namespace "x"')
    assert type(error) is ForbiddenError
    assert error.exit_code == 3
    assert str(error) == (
        "ada may not list pods in namespace x of context 'lab'. Fix: have an admin run "
        "kubectl create role nbkube-list-pods --verb=list --resource=pods --namespace x && "
        "kubectl create rolebinding nbkube-list-pods --role=nbkube-list-pods --user=ada --namespace x"
    )


def test_rights_of_a_service_account_in_the_whole_cluster() -> None:
    error = told(
        403,
        'workflows.argoproj.io is forbidden: User "system:serviceaccount:team-a:nb" cannot create resource '
        '"workflows" in API group "argoproj.io" at the cluster scope',
    )
    assert "may not create workflows (argoproj.io) in the whole cluster" in str(error)
    assert str(error).endswith(
        "kubectl create clusterrole nbkube-create-workflows --verb=create --resource=workflows.argoproj.io && "
        "kubectl create clusterrolebinding nbkube-create-workflows --clusterrole=nbkube-create-workflows "
        "--serviceaccount=team-a:nb"
    )


def test_the_command_names_a_subresource_as_kubectl_wants_it() -> None:
    assert "--resource=pods/log" in allowing("get", "pods/log", "", "x", "ada")
    assert "--resource=deployments.apps/scale" in allowing("get", "deployments/scale", "apps", "x", "ada")


@pytest.mark.parametrize(
    ("status", "message", "kind", "said"),
    [
        (
            400,
            'Workflow in version "v1alpha1" cannot be handled as a Workflow: strict decoding error: unknown field '
            '"spec.servicAccountName", unknown field "spec.templates[2].limt"',
            RefusedError,
            "create Workflow digits-1: there are no fields spec.servicAccountName, spec.templates[2].limt",
        ),
        (
            500,
            "failed to create typed patch object (n/x; /v1, Kind=Pod): .spec.containerz: field not declared in schema",
            RefusedError,
            "create Workflow digits-1: there is no field spec.containerz",
        ),
        (
            403,
            'pods "p" is forbidden: exceeded quota: team, requested: requests.nvidia.com/gpu=2, '
            "used: requests.nvidia.com/gpu=0, limited: requests.nvidia.com/gpu=1",
            RefusedError,
            "create Workflow digits-1: the quota team does not allow it: asked for requests.nvidia.com/gpu=2, "
            "used requests.nvidia.com/gpu=0 of requests.nvidia.com/gpu=1. "
            "Fix: ask for less, or wait until something has ended",
        ),
        (404, 'pods "x" not found', NotFoundError, 'create Workflow digits-1: pods "x" not found'),
        (409, "exists", ConflictError, "create Workflow digits-1: exists"),
        (410, "too old", ExpiredError, "create Workflow digits-1: too old"),
        (
            401,
            "Unauthorized",
            ClusterError,
            "context 'lab' does not accept the credentials (create Workflow digits-1). "
            "Fix: log in again; kubectl --context lab get --raw /readyz shows whether it worked",
        ),
    ],
)
def test_answers(status: int, message: str, kind: type[NbkubeError], said: str) -> None:
    error = told(status, message)
    assert type(error) is kind
    assert str(error) == said


def test_causes_name_their_fields() -> None:
    causes = [
        {"reason": "FieldValueInvalid", "field": "spec.containers[0].image", "message": "Required value"},
        {"reason": "FieldValueInvalid", "field": "metadata.name", "message": 'Invalid value: "A"'},
    ]
    error = told(422, "Pod is invalid: a long text", causes=causes)
    assert str(error) == (
        'create Workflow digits-1: spec.containers[0].image: Required value; metadata.name: Invalid value: "A"'
    )


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b"[]", b"\xff"])
def test_an_answer_that_is_no_status(body: bytes) -> None:
    error = translate(502, body, "list Pod", ACCESS)
    assert type(error) is ClusterError
    assert "could not list Pod" in str(error)
