"""What `nbkube profile manifests` prints is enough to run notebooks, and no more; from inside a pod, too."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from nbkube.cluster import Cluster, Question, connect
from nbkube.cluster.model import NAMESPACE, POD, SECRET, SERVICE_ACCOUNT, WORKFLOW, Manifest
from nbkube.errors import ForbiddenError
from nbkube.preflight.doctor import NEEDED
from nbkube.profiles.model import NOTEBOOK_ACCOUNT, RUNNER_ACCOUNT
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.namespaces import finished, log, pod, remove_namespace
from tests.cluster.s3 import make_bucket

pytestmark = pytest.mark.timeout(300)

MAIN = "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"


class Lab:
    """A project with a profile, whose namespace was made from the profile's manifests alone."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.namespace = f"test-lab-{secrets.token_hex(4)}"
        self.bucket = f"lab-{secrets.token_hex(4)}"
        self.folder = folder
        self.bench = bench

    def nbkube(self, *words: str, code: int = 0) -> str:
        """Run the command line in the project and return what it prints."""
        done = subprocess.run(
            [sys.executable, "-c", MAIN, *words],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def keys(self) -> Manifest:
        """Return the Secret with the store's keys, as the admin makes it."""
        s3 = self.bench.minio
        values = {"AWS_ACCESS_KEY_ID": s3.access_key, "AWS_SECRET_ACCESS_KEY": s3.secret_key}
        data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
        metadata = {"name": "nbkube-store", "namespace": self.namespace}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


@pytest.fixture(scope="module")
def lab(bench: Bench, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", bench.kubeconfig)
        patch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
        patch.setenv("AWS_ACCESS_KEY_ID", bench.minio.access_key)
        patch.setenv("AWS_SECRET_ACCESS_KEY", bench.minio.secret_key)
        for name in ("AWS_ENDPOINT_URL", "AWS_REGION"):
            patch.delenv(name, raising=False)
        made = Lab(bench, folder)
        make_bucket(bench.minio, made.bucket)
        settings = {
            "namespace": made.namespace,
            "store.url": f"s3://{made.bucket}/team",
            "store.endpoint": bench.minio.endpoint,
            "store.secret": "nbkube-store",
            "image": bench.images.base,
        }
        made.nbkube("profile", "init", "lab", *(f"--set={name}={value}" for name, value in settings.items()))
        cluster = connect()
        text = made.nbkube("profile", "manifests", "lab", "--user", "ada", "--capacity")
        objects = list(yaml.safe_load_all(text))
        cluster.apply(objects[0])
        for one in objects:
            # Each passes the strict dry run, as the first and as a later time.
            cluster.apply(one, dry_run=True)
            cluster.apply(one)
            cluster.apply(one, dry_run=True)
        yield made
        for one in objects:
            if "namespace" not in one["metadata"] and one["kind"] != "Namespace":
                api.delete(f"/apis/{one['apiVersion']}/{one['kind'].lower()}s/{one['metadata']['name']}")
        remove_namespace(api, made.namespace)


def as_account(lab: Lab, name: str, folder: Path, patch: pytest.MonkeyPatch) -> Cluster:
    """Return the cluster as a service account sees it, by a token of a few minutes."""
    admin = connect(namespace=lab.namespace)
    path = f"/api/v1/namespaces/{lab.namespace}/serviceaccounts/{name}/token"
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    token = admin._connection.call("POST", path, "make a token", body=body)["status"]["token"]
    document: dict[str, Any] = yaml.safe_load(Path(lab.bench.kubeconfig).read_text())
    document["users"][0]["user"] = {"token": token}
    config = folder / f"{name}.kubeconfig"
    config.write_text(yaml.safe_dump(document))
    patch.setenv("KUBECONFIG", str(config))
    return connect(namespace=lab.namespace)


def test_the_account_of_notebooks_may_do_what_is_needed_and_read_no_secret(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = as_account(lab, NOTEBOOK_ACCOUNT, tmp_path, monkeypatch)
    assert cluster.identity().user == f"system:serviceaccount:{lab.namespace}:{NOTEBOOK_ACCOUNT}"
    assert cluster.missing(NEEDED) == ()
    assert cluster.get(NAMESPACE, lab.namespace)["metadata"]["name"] == lab.namespace
    forbidden = [
        Question("get", "secrets"),
        Question("create", "pods"),
        Question("create", "pods", subresource="exec"),
        Question("deletecollection", "workflows", "argoproj.io"),
        Question("create", "serviceaccounts", subresource="token"),
        Question("create", "rolebindings", "rbac.authorization.k8s.io"),
        Question("list", "workflows", "argoproj.io", namespace="argo"),
        Question("get", "namespaces", namespace="argo"),
    ]
    assert list(cluster.missing(forbidden)) == forbidden
    with pytest.raises(
        ForbiddenError, match=rf"may not get secrets in namespace {lab.namespace} of .*kubectl create role"
    ):
        cluster.get(SECRET, "nbkube-store")


def test_the_account_of_pods_may_only_note_results(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = as_account(lab, RUNNER_ACCOUNT, tmp_path, monkeypatch)
    results = [Question(verb, "workflowtaskresults", "argoproj.io") for verb in ("create", "patch")]
    assert cluster.missing(results) == ()
    assert set(cluster.missing(NEEDED)) == set(NEEDED)
    assert cluster.missing([Question("get", "secrets")]) != ()


def test_the_accounts_carry_no_token_into_pods(lab: Lab) -> None:
    cluster = connect(namespace=lab.namespace)
    assert cluster.get(SERVICE_ACCOUNT, RUNNER_ACCOUNT)["automountServiceAccountToken"] is False
    assert "token" in cluster.get(SECRET, f"{RUNNER_ACCOUNT}.service-account-token")["data"]


def test_the_doctor_finds_the_fault_and_its_command_mends_it(lab: Lab) -> None:
    cluster = connect(namespace=lab.namespace)
    checks = {one["name"]: one for one in json.loads(lab.nbkube("doctor", "--json", code=1))["checks"]}
    assert {name for name, one in checks.items() if one["verdict"] == "fault"} == {"store secret"}
    assert checks["store secret"]["fix"].startswith(
        f"kubectl create secret generic nbkube-store --namespace {lab.namespace}"
    )
    cluster.create(lab.keys())
    found = json.loads(lab.nbkube("doctor", "--json"))
    assert found["ok"]
    said = {one["name"]: (one["verdict"], one["message"]) for one in found["checks"]}
    assert said["argo"] == ("ok", "controller v3.7.6 in argo, full definitions")
    assert said["namespace"] == ("ok", f"{lab.namespace}, Pod Security restricted")
    assert said["store"] == ("ok", f"s3://{lab.bucket}/team, readable and writable")
    assert said["storage class"] == ("ok", "default standard")
    assert {verdict for verdict, _ in said.values()} == {"ok"}


def test_the_doctor_names_what_is_missing(lab: Lab, tmp_path: Path) -> None:
    lab.nbkube("profile", "init", "bare", "--set=namespace=no-such-namespace", "--set=registry=localhost:9/x")
    found = {
        one["name"]: one for one in json.loads(lab.nbkube("doctor", "--profile", "bare", "--json", code=3))["checks"]
    }
    assert "pods cannot reach the store" in found["profile"]["message"]
    assert found["namespace"]["message"] == "there is no namespace no-such-namespace"
    assert found["namespace"]["fix"].startswith("nbkube profile manifests bare | kubectl apply --filename -")
    assert found["registry"]["verdict"] == "fault"


def test_the_doctor_asks_for_rights_by_name(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_account(lab, RUNNER_ACCOUNT, tmp_path, monkeypatch)
    checks = {one["name"]: one for one in json.loads(lab.nbkube("doctor", "--json", code=1))["checks"]}
    assert checks["permissions"]["verdict"] == "fault"
    assert "create workflows.argoproj.io" in checks["permissions"]["message"]
    assert checks["namespace"]["verdict"] == checks["quota"]["verdict"] == "unknown"


def test_resources_are_those_of_the_node(lab: Lab) -> None:
    found = json.loads(lab.nbkube("resources", "--json"))
    (node,) = found["nodes"]
    assert found["source"] == "nodes and pods"
    assert {name: node["allocatable"][name] for name in lab.bench.devices} == {
        k: float(v) for k, v in lab.bench.devices.items()
    }
    assert 0 <= node["free"]["cpu"] < node["allocatable"]["cpu"]
    shown = lab.nbkube("resources")
    assert lab.bench.node in shown
    assert "nvidia.com/gpu" in shown
    assert "standard (default)" in shown


def test_resources_tell_what_may_not_be_seen(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_account(lab, RUNNER_ACCOUNT, tmp_path, monkeypatch)
    found = json.loads(lab.nbkube("resources", "--json"))
    assert found["source"] == "unknown"
    assert found["hidden"] == ["limits", "nodes", "pods of all namespaces", "quotas", "storage classes"]
    assert "What is free is not known" in lab.nbkube("resources")


IN_A_POD = """
import json, os, pathlib, subprocess
os.chdir('/tmp')
pathlib.Path('nbkube.toml').write_text(os.environ['PROFILE'])
for words in (['doctor', '--json'], ['resources', '--json']):
    done = subprocess.run(['nbkube', *words], capture_output=True, text=True)
    print(json.dumps({'code': done.returncode, 'said': done.stdout, 'error': done.stderr}), flush=True)
from nbkube.cluster import connect
from nbkube.cluster.model import WORKFLOW
cluster = connect()
made = cluster.create({'apiVersion': 'argoproj.io/v1alpha1', 'kind': 'Workflow', 'metadata': {'name': 'from-a-pod'},
    'spec': {'entrypoint': 'main', 'suspend': True, 'templates': [{'name': 'main', 'suspend': {}}]}})
names = [one['metadata']['name'] for one in cluster.list(WORKFLOW)]
print(json.dumps({'context': cluster.access.context, 'namespace': cluster.namespace, 'names': names}), flush=True)
"""


def test_a_notebook_server_inside_works_with_its_service_account_alone(bench: Bench, api: Api, lab: Lab) -> None:
    cluster = connect(namespace=lab.namespace)
    cluster.apply(lab.keys(), force=True)
    profile = (
        'default = "lab"\n[profiles.lab]\nengine = "argo"\n'
        f'image = "{bench.images.base}"\n[profiles.lab.store]\n'
        f'url = "s3://{lab.bucket}/team"\nendpoint = "{bench.minio.endpoint}"\nsecret = "nbkube-store"\n'
    )
    keys = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "nbkube-store", "key": name}}}
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    ]
    made = pod(
        lab.namespace, "notebook", bench.images.base, IN_A_POD, env=[*keys, {"name": "PROFILE", "value": profile}],
        resources={"requests": {"cpu": "10m"}}, serviceAccountName=NOTEBOOK_ACCOUNT, automountServiceAccountToken=True,
    )  # fmt: skip
    cluster.create(made)
    ended = finished(api, lab.namespace, "notebook", 120)
    said = log(api, lab.namespace, "notebook")
    assert ended["status"]["phase"] == "Succeeded", said
    doctor, resources, own = (json.loads(line) for line in said.splitlines())
    checks = {one["name"]: one for one in json.loads(doctor["said"])["checks"]}
    assert doctor["code"] == 0, doctor
    assert checks["cluster"]["message"].startswith("the cluster of this pod at https://")
    assert checks["permissions"]["verdict"] == checks["store"]["verdict"] == "ok"
    assert checks["store secret"]["verdict"] == "unknown"
    assert json.loads(resources["said"])["nodes"][0]["name"] == bench.node
    assert own == {"context": "", "namespace": lab.namespace, "names": ["from-a-pod"]}
    assert cluster.delete(WORKFLOW, "from-a-pod")
    assert cluster.find(POD, "notebook") is not None
