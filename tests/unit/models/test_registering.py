"""A step's model is exported once, and again only where nobody here has agreed to the code it holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nbkube.models import ModelRegistry, publish
from nbkube.models.publish import Origin, register
from nbkube.runtime.program import StepProgram
from nbkube.state.namespace import Namespace
from nbkube.state.publish import publish as publish_values
from nbkube.storage import ObjectStore, open_store

SOURCES = {
    "code": "def judge(texts):\n    return [len(text) for text in texts]\nsmall_example = ['one', 'three']\n",
    "data": (
        "from sklearn.linear_model import LinearRegression\n"
        "judge = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])\nsmall_example = [[0.5]]\n"
    ),
}


def origin(store: ObjectStore, source: str, manifest: str) -> Origin:
    space = Namespace({}, store)
    exec(compile(source, "<test>", "exec"), space)
    bindings = publish_values(space).outputs
    return Origin("run", "step", manifest, StepProgram("step", "", ()), bindings, bindings, (), {}, "/", ".", {})


@pytest.mark.parametrize("kind", ["code", "data"])
def test_a_model_is_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    exports: list[Any] = []
    export = publish._exported

    def noted(task: Any) -> Any:
        exports.append(task)
        return export(task)

    monkeypatch.setattr(publish, "_exported", noted)
    store = open_store(tmp_path / "store")
    first = register(store, "small=judge", origin(store, SOURCES[kind], "first"))
    assert first.runs_code is (kind == "code")
    assert register(store, "small=judge", origin(store, SOURCES[kind], "first")) == first
    assert len(exports) == 1

    # Somebody else has agreed to nothing yet: code runs here, as their own run's, before it counts as theirs.
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "others"))
    assert register(store, "small=judge", origin(store, SOURCES[kind], "first")).digest == first.digest
    assert len(exports) == (2 if kind == "code" else 1)

    register(store, "small=judge", origin(store, SOURCES[kind], "second"))
    assert len(exports) == (3 if kind == "code" else 2)
    assert ModelRegistry(store).versions("small")[0] == first
