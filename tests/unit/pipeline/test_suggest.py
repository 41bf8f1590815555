"""Tags for notebooks that have none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.pipeline.suggest import Suggestion

EXAMPLES = Path(__file__).parents[3] / "examples"


def untagged(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / name / f"{name}.ipynb").read_text())
    for cell in document["cells"]:
        cell["metadata"].pop("tags", None)
    return document


def suggested(cells: list[tuple[str, str]], tags: dict[int, list[str]] | None = None) -> dict[int, str]:
    document = {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {},
        "cells": [
            {
                "cell_type": kind,
                "id": f"c{number}",
                "metadata": {"tags": (tags or {}).get(number, [])},
                "source": source,
                **({"outputs": [], "execution_count": None} if kind == "code" else {}),
            }
            for number, (kind, source) in enumerate(cells, 1)
        ],
    }
    found = Client().suggest(Path("x.ipynb"), content=json.dumps(document).encode())
    return {one.number: one.tags[0] for one in found}


def test_an_example_without_its_tags() -> None:
    found = Client().suggest(Path("digits.ipynb"), content=json.dumps(untagged("digits")).encode())
    assert [(one.number, *one.tags) for one in found] == [
        (2, "imports"),
        (3, "parameters"),
        (5, "step:load"),
        (8, "step:split"),
        (10, "step:forest"),
        (11, "step:nearest"),
        (13, "step:compare"),
        (16, "checks"),
        (18, "step:save"),
        (19, "pipeline-metrics"),
    ]
    assert found[2].reason == "the heading “Load”"


@pytest.mark.parametrize("name", ["digits", "diabetes", "sentiment"])
def test_suggestions_make_a_pipeline_without_errors(name: str) -> None:
    document = untagged(name)
    for one in Client().suggest(Path("x.ipynb"), content=json.dumps(document).encode()):
        document["cells"][one.number - 1]["metadata"]["tags"] = list(one.tags)
    pipeline = Client().show(EXAMPLES / name / "x.ipynb", content=json.dumps(document).encode())
    assert [one for one in pipeline.diagnostics if one.severity == "error"] == []
    assert len(pipeline.steps) > 4


def test_without_headings_the_task_names_the_step() -> None:
    found = suggested(
        [
            ("code", "import pandas as pd"),
            ("code", "table = pd.read_csv('a.csv')"),
            ("code", "clean = table.dropna()"),
            ("code", "model = Model()\nmodel.fit(clean)"),
            ("code", "score = model.score(clean)"),
        ]
    )
    assert found == {1: "imports", 2: "step:load", 4: "step:train", 5: "step:evaluate"}


def test_tagged_cells_keep_their_tags_and_names_are_not_used_twice() -> None:
    cells = [("markdown", "## Load"), ("code", "a = 1"), ("markdown", "## Load"), ("code", "b = a")]
    assert suggested(cells, {2: ["step:load"]}) == {4: "step:load-2"}
    assert suggested(cells, {2: ["step:load"], 4: ["step:other"]}) == {}


def test_headings_in_code_fences_are_none_and_odd_ones_become_valid_names() -> None:
    cells = [
        ("markdown", "```\n# Load\n```"),
        ("markdown", "## 1. Größe & Schärfe der Bilder!"),
        ("code", "a = 1\nb = f(a)"),
        ("markdown", "## imports"),
        ("code", "c = b + 1\nd = g(c)"),
    ]
    assert suggested(cells) == {3: "step:groe-scharfe-der", 5: "step:imports-step"}


def test_nothing_is_suggested_for_text_alone() -> None:
    assert suggested([("markdown", "# Title"), ("code", "# only a comment")]) == {}
    assert isinstance(Suggestion(1, "", ("imports",), ""), Suggestion)
