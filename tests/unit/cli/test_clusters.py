"""profile, doctor and resources from the command line, without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

MAIN = "import sys; from nbkube.cli import main; sys.argv[0] = 'nbkube'; main()"


def nbkube(folder: Path, *words: str, **variables: str) -> tuple[int, str, str]:
    env = {
        **os.environ,
        "XDG_CONFIG_HOME": str(folder / "config"),
        "HOME": str(folder),
        "KUBECONFIG": str(folder / "none"),
    }
    for name in ("NBKUBE_PROFILE", "KUBERNETES_SERVICE_HOST"):
        env.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], cwd=folder, env=env | variables, capture_output=True, text=True,
        timeout=110, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").touch()
    return tmp_path


def test_a_profile_is_made_listed_and_shown(project: Path) -> None:
    code, _, error = nbkube(project, "profile", "init", "lab", "--set", "namespace=team-a", "--set", "parallelism=4")
    assert code == 0, error
    assert "profile lab is written" in error
    code, out, _ = nbkube(project, "profile", "list", "--json")
    assert json.loads(out)["default"] == "lab"
    code, out, _ = nbkube(project, "profile", "show")
    assert '  namespace = "team-a"' in out
    assert "  parallelism = 4" in out
    code, out, _ = nbkube(project, "profile", "show", "--json", NBKUBE_PROFILE="local")
    assert json.loads(out)["settings"]["engine"] == "local"
    code, out, _ = nbkube(project, "profile", "manifests", "--user", "ada")
    assert out.count("\n---\n") >= 7
    code, _, error = nbkube(project, "profile", "init", "lab")
    assert code == 2
    assert "has a profile lab already" in error


def test_a_wrong_file_is_told_with_its_line(project: Path) -> None:
    (project / "nbkube.toml").write_text('[profiles.lab]\nengin = "argo"\n')
    code, out, error = nbkube(project, "doctor", "--profile", "lab")
    assert (code, out) == (2, "")
    assert error == f"{project}/nbkube.toml:2: unknown setting 'engin'. Fix: did you mean engine?\n"


def test_the_doctor_on_this_machine(project: Path) -> None:
    code, out, error = nbkube(project, "doctor")
    assert code == 0, error
    assert "Ready to run with the profile local." in out
    assert not [one for one in (project / ".nbkube").rglob("*") if "doctor" in one.name and one.is_file()]


def test_the_doctor_without_a_cluster_says_what_to_do(project: Path) -> None:
    nbkube(project, "profile", "init", "lab")
    code, out, _ = nbkube(project, "doctor", "--json")
    assert code == 3
    found = json.loads(out)
    checks = {one["name"]: one for one in found["checks"]}
    assert not found["ok"]
    assert checks["cluster"]["message"].startswith("no cluster is known here")
    assert checks["cluster"]["fix"].startswith("set KUBECONFIG")
    assert checks["cluster"]["unreachable"]
    assert "pods cannot reach the store" in checks["profile"]["message"]


def test_resources_of_this_machine(project: Path) -> None:
    code, out, _ = nbkube(project, "resources")
    assert code == 0
    assert out.splitlines()[0] == "Free of all"
    code, out, _ = nbkube(project, "resources", "--json")
    assert json.loads(out)["source"] == "this machine"


def test_a_store_that_cannot_be_written_is_a_fault(project: Path) -> None:
    (project / "file").touch()
    (project / "nbkube.toml").write_text('[profiles.lab.store]\nurl = "file/below"\n')
    code, out, _ = nbkube(project, "doctor", "--profile", "lab")
    assert code == 3
    assert "✗ store" in out
