"""The documents say what is so: names, numbers, links."""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import nbkube
from nbkube import errors
from nbkube.notebook import read_notebook
from nbkube.notebook.tags import PLAIN
from nbkube.pipeline import OPTIONS, build_pipeline
from tests.unit.docs.documents import DOCUMENTS, ROOT, anchors, blocks, prose, table_after

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TAGS = ROOT / "docs" / "tags.md"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file).resolve() if file else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_names_no_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"(?<![\w.])/(root|home|opt|work|tmp)/", text)
    assert "localhost" not in text


def test_the_readme_fits_a_screen_and_starts_with_what_to_type() -> None:
    readme = ROOT / "README.md"
    assert len(readme.read_text(encoding="utf-8").splitlines()) <= 60
    first = next(blocks(readme, "console"))
    assert first.splitlines()[:2] == ["$ make demo", "$ make test"]


def test_each_promise_names_a_test_that_exists() -> None:
    promises = re.findall(r"^\d\. \*\*.+?(?=^\d\. |^$)", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(promises) == 4
    for promise in promises:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", promise)
        assert named, promise
        for file, function in named:
            assert re.search(rf"^def {function}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), function


def test_the_options_are_those_of_the_schema() -> None:
    rows = table_after(TAGS, "## Options of a step")
    assert [(name.strip("`"), form.strip("`").replace("\\|", "|")) for name, form, _ in rows] == [
        (option.name, option.form or "(none)") for option in OPTIONS.values()
    ]


def test_the_tags_are_those_that_are_read() -> None:
    rows = table_after(TAGS, "## Tags")
    documented = {tag for row in rows for tag in re.findall(r"`([^`]+)`", row[0])}
    assert documented == {"step:NAME", "prev:NAME"} | set(PLAIN) - {"injected-parameters"}


def test_the_exceptions_and_their_exit_codes() -> None:
    rows = table_after(ROOT / "docs" / "errors.md", "## In Python")
    documented = {name.strip("`"): int(code) for name, _, code in rows}
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.NbkubeError)]
    assert documented == {kind.__name__: kind.exit_code for kind in kinds if kind is not errors.NbkubeError}


def test_the_messages_shown_are_those_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = [
        ("load-data", {"tags": ["step:load"], "nbkube": {"memory": "4Gib", "retry": 2}}, "data = [1, 2]"),
        ("fit-model", {"tags": ["step:fit"]}, "total = sum(dta)"),
        ("scores", {"tags": ["stp:score"]}, "print(total)"),
        ("plots", {"tags": ["step:plot", "prev:scor"]}, "print(data)"),
    ]
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    document = [{**code, "id": name, "metadata": metadata, "source": source} for name, metadata, source in cells]
    notebook = {"cells": document, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "train.ipynb").write_text(json.dumps(notebook))
    monkeypatch.chdir(tmp_path)
    found = {str(one) for one in build_pipeline(read_notebook("train.ipynb")).diagnostics if one.severity == "error"}
    shown = next(blocks(ROOT / "docs" / "errors.md", "text")).splitlines()
    assert set(shown) == found


def test_the_map_shows_every_part() -> None:
    (tree,) = (block for block in blocks(ROOT / "CONTRIBUTING.md", "text") if block.startswith("nbkube/"))
    ours = tree.split("\nexamples/")[0]
    shown = {line.split()[0].rstrip("/") for line in ours.splitlines()[1:]}
    parts = {path.name for path in (ROOT / "nbkube").iterdir() if not path.name.startswith("__")}
    parts -= {"py.typed", "labextension"}  # the latter is built from the folder labextension/
    assert shown == parts
    below = tree.split("\ntests/\n")[1].split("\ndocs/")[0]
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and not path.name.startswith("__")}
    assert {line.split()[0].rstrip("/") for line in below.splitlines() if line.startswith("  ")} == folders


def test_the_version_is_one() -> None:
    assert PROJECT["version"] == nbkube.__version__
    changes = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert changes[0] == "Unreleased"


def test_extras_named_to_users_exist() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    named = {extra for group in re.findall(r"pip install .*?\[([\w,]+)\]", text) for extra in group.split(",")}
    assert named <= set(PROJECT["optional-dependencies"])


def test_the_licence_is_the_one_declared() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License\n                           Version 2.0, January 2004" in text
