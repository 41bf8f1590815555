"""The form that serves models, used as code and as a person would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ipywidgets import Button

from nbkube.errors import NbkubeError
from nbkube.widgets import ServeModel
from tests.serving import constant, function_model


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "nbkube.toml").touch()
    return tmp_path


def press(form: ServeModel, text: str) -> None:
    """Press a button of the form."""
    buttons = [one for one in form.children[3].children if isinstance(one, Button) and one.description == text]
    assert len(buttons) == 1
    buttons[0].click()


def test_without_models_it_says_what_to_do(project: Path) -> None:
    form = ServeModel(project=project)
    press(form, "Serve")
    assert form.fault == "no model is registered. Fix: run a notebook with a step that has the option model."
    assert repr(form) == "models: none"
    assert ServeModel("digits", project=project).fault == "there is no model digits."
    with pytest.raises(NbkubeError, match="no model is registered"):
        form.predict([[1.0]])


def test_a_model_is_served_asked_switched_and_stopped(project: Path) -> None:
    constant(project / ".nbkube", "small", 1)
    constant(project / ".nbkube", "small", 2)
    function_model(project / ".nbkube", "other", "def predict(rows):\n    return rows", {"rows": [[1.0]]})
    form = ServeModel("small", project=project, workers=1)
    model, version = form.children[:2]
    assert (model.value, version.options, version.value) == ("small", (2, 1), 2)
    seen: list[str] = []
    form.observe(lambda change: seen.append(change["new"].get("phase", "none")), ["value"])
    version.value = 1
    try:
        press(form, "Serve")
        assert form.fault == ""
        assert (form.value["version"], form.value["phase"]) == (1, "Ready")
        assert form.predict(np.array([[1.0, 2.0]])) == [1.0]
        assert "small is Ready at http://127.0.0.1:" in repr(form)
        version.value = 2
        assert form.serve()["version"] == 2
        assert form.predict()["outputs"][0]["data"] == [2.0]
        model.value = "other"
        assert form.value == {}
        model.value = "small"
        assert form.value["version"] == 2
    finally:
        press(form, "Stop")
    assert form.value == {}
    assert seen == ["Ready", "Ready", "none", "Ready", "none"]
