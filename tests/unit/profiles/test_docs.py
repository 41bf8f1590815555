"""docs/cluster.md names every setting and nothing else, and its example is a right file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

from nbkube.profiles import load_profile
from nbkube.profiles.manifests import USER_ROLE, VIEW_ROLE
from nbkube.profiles.model import NOTEBOOK_ACCOUNT, RUNNER_ACCOUNT
from nbkube.profiles.settings import SETTINGS
from tests.unit.docs.documents import ROOT, blocks, table_after

PAGE = ROOT / "docs" / "cluster.md"


def test_the_table_is_that_of_the_settings() -> None:
    rows = table_after(PAGE, "## Profiles")
    documented = [(name.strip("`"), form.strip("`").replace("\\|", "|"), meaning) for name, form, meaning in rows]
    assert documented == [(one.name, one.form, one.help) for one in SETTINGS.values()]


def test_the_example_is_a_right_profile(tmp_path: Path) -> None:
    (example,) = blocks(PAGE, "toml")
    (tmp_path / "nbkube.toml").write_text(example, encoding="utf-8")
    assert set(tomllib.loads(example)["profiles"]) == {"lab"}
    assert load_profile("", tmp_path).name == "lab"


def test_the_names_of_the_objects_are_those_made() -> None:
    named = " ".join(row[0] for row in table_after(PAGE, "## For the admin"))
    for name in (RUNNER_ACCOUNT, f"{RUNNER_ACCOUNT}.service-account-token", NOTEBOOK_ACCOUNT, USER_ROLE, VIEW_ROLE):
        assert f"`{name}`" in named
    (pod,) = blocks(PAGE, "yaml")
    assert yaml.safe_load(pod)["spec"]["serviceAccountName"] == NOTEBOOK_ACCOUNT
