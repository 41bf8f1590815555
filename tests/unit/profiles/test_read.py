"""Reading profiles: what is right is taken, everything that is wrong is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.errors import ProfileError
from nbkube.profiles import Allowed, DefaultResources, Profile, StoreAccess, load_profile, load_profiles, user_file

FULL = """\
default = "lab"

[profiles.lab]
engine = "argo"
context = "lab-cluster"
namespace = "team-a"
registry = "registry.example:5000/team-a"
image = "registry.example:5000/team-a/base:1"
service-account = "runner"
priority-class = "batch-low"
pull-secrets = ["registry-login"]
parallelism = 8

[profiles.lab.store]
url = "s3://nbkube/team-a"
endpoint = "https://minio.example:9000"
pod-endpoint = "http://minio.storage:9000"
region = "us-east-1"
secret = "nbkube-store"
ca = "ca.pem"

[profiles.lab.resources]
cpu = 2
memory = "4Gi"

[profiles.lab.allow]
images = ["docker.io/library/python:*"]
secrets = ["hub-token"]
volumes = ["data"]
node-selectors = ["disk=ssd"]

[profiles.debug]
"""


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("NBKUBE_PROFILE", raising=False)


def project(tmp_path: Path, text: str) -> Path:
    (tmp_path / "nbkube.toml").write_text(text, encoding="utf-8")
    return tmp_path


def faults(tmp_path: Path, text: str) -> list[tuple[int | None, str, str]]:
    with pytest.raises(ProfileError) as caught:
        load_profiles(project(tmp_path, text))
    return [(one.place.line, one.message, one.hint) for one in caught.value.diagnostics]


def test_everything_is_read(tmp_path: Path) -> None:
    assert load_profile(project=project(tmp_path, FULL)) == Profile(
        name="lab",
        engine="argo",
        context="lab-cluster",
        namespace="team-a",
        store=StoreAccess(
            url="s3://nbkube/team-a",
            endpoint="https://minio.example:9000",
            pod_endpoint="http://minio.storage:9000",
            region="us-east-1",
            secret="nbkube-store",
            ca=str(tmp_path / "ca.pem"),
        ),
        registry="registry.example:5000/team-a",
        image="registry.example:5000/team-a/base:1",
        resources=DefaultResources(cpu="2", memory="4Gi"),
        service_account="runner",
        priority_class="batch-low",
        pull_secrets=("registry-login",),
        allow=Allowed(("docker.io/library/python:*",), ("hub-token",), ("data",), ("disk=ssd",)),
        parallelism=8,
    )


def test_the_variables_of_the_store(tmp_path: Path) -> None:
    store = load_profile(project=project(tmp_path, FULL)).store
    here = {"AWS_ENDPOINT_URL": "https://minio.example:9000", "AWS_REGION": "us-east-1"}
    assert store.variables() == here | {"AWS_CA_BUNDLE": str(tmp_path / "ca.pem")}
    assert store.variables(pods=True) == {"AWS_ENDPOINT_URL": "http://minio.storage:9000", "AWS_REGION": "us-east-1"}
    assert StoreAccess(endpoint="http://x").variables(pods=True) == {"AWS_ENDPOINT_URL": "http://x"}


def test_defaults_allow_no_secret_and_no_volume() -> None:
    profile = load_profile()
    assert profile == Profile("local")
    assert (profile.allow.secrets, profile.allow.volumes, profile.allow.images) == ((), (), ())


def test_the_one_asked_for_comes_before_the_variable_and_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = project(tmp_path, FULL)
    monkeypatch.setenv("NBKUBE_PROFILE", "debug")
    assert load_profile("lab", folder).name == "lab"
    assert load_profile("", folder).name == "debug"
    assert load_profile("local", folder).name == "local"


def test_the_project_decides_and_the_user_fills_in(tmp_path: Path) -> None:
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        '[profiles.lab]\ncontext = "mine"\nnamespace = "mine"\n[profiles.own]\n[profiles.lab.store]\nregion = "eu"\n'
    )
    folder = project(
        tmp_path, '[profiles.lab]\nnamespace = "team"\n[profiles.lab.store]\nurl = "s3://bucket"\nsecret = "keys"\n'
    )
    known = load_profiles(folder)
    lab = known.profiles["lab"]
    assert (lab.context, lab.namespace) == ("mine", "team")
    assert lab.store == StoreAccess(url="s3://bucket", secret="keys", region="eu")
    assert set(known.profiles) == {"local", "lab", "own"}
    assert known.origins["lab"] == (str(folder / "nbkube.toml"), str(user_file()))


def test_an_unknown_profile_names_the_near_one(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"no profile 'lba'\. Fix: did you mean lab\?"):
        load_profile("lba", project(tmp_path, FULL))


def test_each_fault_has_its_line_and_the_right_name(tmp_path: Path) -> None:
    text = (
        'defualt = "lab"\n'
        "[profiles.lab]\n"
        'engnie = "argo"\n'
        'namespace = "Team A"\n'
        'service_account = "x"\n'
        "parallelism = true\n"
        'endpoint = "http://minio:9000"\n'
        "[profiles.lab.store]\n"
        'url = "gs://bucket"\n'
        'secert = "x"\n'
        "[profiles.lab.resources]\n"
        'memory = "4Gib"\n'
        "[profiles.lab.allow]\n"
        'secrets = "hub"\n'
    )
    assert faults(tmp_path, text) == [
        (1, "unknown setting 'defualt'", "did you mean default?"),
        (3, "unknown setting 'engnie'", "did you mean engine?"),
        (4, "namespace: 'Team A' is no namespace", "write e.g. team-a"),
        (5, "unknown setting 'service_account'", "did you mean service-account?"),
        (6, "parallelism: True is not a whole number from 0 to 10000", "write e.g. 8, without quotes"),
        (7, "unknown setting 'endpoint'", "did you mean store.endpoint?"),
        (9, "store.url: 'gs://bucket' is no store", "write s3://BUCKET/PREFIX or a folder"),
        (10, "unknown setting 'store.secert'", "did you mean store.secret?"),
        (12, "resources.memory: '4Gib' is no quantity: 'Gib' is no unit", "write 4Gi"),
        (14, "allow.secrets: 'hub' is no list", 'write ["…", "…"]'),
    ]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a = \n", 1, "is no TOML: Invalid value"),
        ('[profiles.lab]\nengine = "argo"\nengine = "local"\n', 3, "is no TOML: Cannot overwrite a value"),
        ("profiles = 3\n", 1, "profiles is no table"),
        ("[profiles]\nlab = 3\n", 2, "'lab' is no table"),
        ('[profiles.lab]\nstore = "s3://bucket"\n', 2, "unknown setting 'store'"),
        ("default = 3\n", 1, "default is no text"),
    ],
)
def test_a_file_of_another_shape(tmp_path: Path, text: str, line: int, message: str) -> None:
    assert [(one[0], one[1]) for one in faults(tmp_path, text)] == [(line, message)]


@pytest.mark.parametrize("data", [b"\xff\xfe", b"#" * (2**20 + 1)], ids=["no text", "too long"])
def test_a_file_that_cannot_be_read(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "nbkube.toml").write_bytes(data)
    with pytest.raises(ProfileError, match=r"nbkube\.toml: is "):
        load_profiles(tmp_path)


SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12"


@pytest.mark.parametrize(
    ("line", "secret"),
    [
        (f'context = "{SECRET}"', SECRET),
        ('namespace = "AKIAIOSFODNN7EXAMPLE"', "AKIAIOSFODNN7EXAMPLE"),
        ('store.endpoint = "https://user:hunter2@minio:9000"', "hunter2"),
        ('store.secret-key = "hunter2"', "hunter2"),
        ('password = "hunter2"', "hunter2"),
        ('store.access_key = "hunter2"', "hunter2"),
        ('token = "hunter2"', "hunter2"),
        ('allow.images = ["ghcr.io/x:ghp_abcdefghijklmnopqrst"]', "ghp_"),
        ('context = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.abc"', "eyJ"),
        ('store.url = "s3://bucket/x?X-Amz-Signature=abc"', "abc"),
    ],
)
def test_credentials_are_refused_and_not_repeated(tmp_path: Path, line: str, secret: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_profiles(project(tmp_path, f"[profiles.lab]\n{line}\n"))
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.place.line) == ("credential-in-profile", 2)
    assert secret not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        'image = "registry.example/team/Base-Image@sha256:' + "a1" * 32 + '"',
        'context = "arn:aws:eks:eu-central-1:123456789012:cluster/Production-Machine-Learning-Cluster-2"',
        'context = "gke_my-project-123456_europe-west1-b_machine-learning-production"',
        'context = "kubernetes-admin@kubernetes"',
        'store.url = "s3://nbkube/teams/Machine-Learning/projects/2026"',
    ],
)
def test_ordinary_names_are_no_credentials(tmp_path: Path, line: str) -> None:
    line = line.replace("Base-Image", "base-image")
    assert load_profile("lab", project(tmp_path, f"[profiles.lab]\n{line}\n")).name == "lab"
