"""Adding a profile leaves what is there, refuses what is wrong, and reads back as it was meant."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.errors import ProfileError
from nbkube.profiles import load_profile
from nbkube.profiles.manifests import as_yaml, manifests
from nbkube.profiles.model import Profile, StoreAccess
from nbkube.profiles.write import add_profile


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("NBKUBE_PROFILE", raising=False)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    settings = {
        "engine": "argo",
        "namespace": "123",
        "context": 'odd "name"',
        "store.url": "s3://nbkube/x",
        "parallelism": "8",
        "resources.cpu": "2",
        "resources.memory": "4Gi",
        "allow.secrets": '["a", "b-*"]',
    }
    path = add_profile(tmp_path / "nbkube.toml", "lab", settings)
    found = load_profile("", tmp_path)
    assert (found.name, found.namespace, found.context) == ("lab", "123", 'odd "name"')
    assert (found.parallelism, found.resources.cpu) == (8, "2")
    assert found.allow.secrets == ("a", "b-*")
    assert "# registry" in path.read_text()


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "nbkube.toml"
    before = '# ours\ndefault = "own"\n[profiles.own]  # kept\n'
    path.write_text(before)
    add_profile(path, "lab", {"namespace": "team-a"})
    assert path.read_text().startswith(before.rstrip("\n"))
    assert load_profile("", tmp_path).name == "own"
    assert load_profile("lab", tmp_path).namespace == "team-a"


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("Lab 1", {}, "'Lab 1' cannot name a profile"),
        ("local", {}, "'local' cannot name a profile"),
        ("own", {}, "has a profile own already"),
        ("lab", {"namespce": "x"}, "unknown setting 'namespce'. Fix: did you mean namespace?"),
        ("lab", {"namespace": "Team A"}, "namespace: 'Team A' is no namespace"),
        ("lab", {"parallelism": "many"}, "parallelism: 'many' is not a whole number"),
        ("lab", {"store.password": "x"}, "looks like a credential"),
        ("lab", {"context": "AKIAIOSFODNN7EXAMPLE"}, "looks like a credential"),
    ],
)
def test_what_is_wrong_is_not_written(tmp_path: Path, name: str, settings: dict[str, str], message: str) -> None:
    path = tmp_path / "nbkube.toml"
    path.write_text("[profiles.own]\n")
    with pytest.raises(ProfileError) as caught:
        add_profile(path, name, settings)
    assert message in str(caught.value)
    assert path.read_text() == "[profiles.own]\n"
    assert [one.name for one in tmp_path.iterdir()] == ["nbkube.toml"]


def test_manifests_need_a_namespace_and_name_the_users() -> None:
    profile = Profile("lab", store=StoreAccess(secret="keys"))
    with pytest.raises(ProfileError, match="names no namespace"):
        manifests(profile)
    found = manifests(profile, "team-a", users=["ada"], groups=["devs"])
    binding = found[-1]
    assert [(one["kind"], one["name"]) for one in binding["subjects"]] == [
        ("ServiceAccount", "nbkube-notebook"),
        ("User", "ada"),
        ("Group", "devs"),
    ]
    assert not any(one["kind"].startswith("Cluster") for one in found)
    text = as_yaml(profile, found)
    assert "imagePullSecrets" not in text
    pulling = Profile("lab", namespace="team-a", registry="registry.example:5000/x", pull_secrets=("login",))
    text_of_pulling = as_yaml(pulling, manifests(pulling))
    assert "imagePullSecrets:\n- name: login" in text_of_pulling
    assert "secret docker-registry login --namespace team-a --docker-server=registry.example:5000" in text_of_pulling
    assert "#   kubectl create secret generic keys --namespace team-a" in text
    rules = [rule for one in found if one["kind"] == "Role" for rule in one["rules"]]
    assert not any("secrets" in rule["resources"] or "*" in (*rule["resources"], *rule["verbs"]) for rule in rules)
