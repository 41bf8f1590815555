"""A step's model is exported once, and again only where nobody here has agreed to the code it holds."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nbkube.models import ModelRegistry, publish
from nbkube.models.publish import Exporter, Origin, register
from nbkube.runtime.program import ReplayProgram, StepProgram
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
    export = publish.Exporter.export

    def noted(exporter: publish.Exporter, task: Any) -> Any:
        exports.append(task)
        return export(exporter, task)

    monkeypatch.setattr(publish.Exporter, "export", noted)
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


def test_a_process_started_early_exports_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "mine"))
    stores = [open_store(tmp_path / name) for name in ("early", "late")]
    program = StepProgram("step", "", (), (ReplayProgram("import sklearn.linear_model"), ReplayProgram("import json")))
    with contextlib.closing(Exporter(program)) as exporter:
        early = register(stores[0], "small=judge", origin(stores[0], SOURCES["data"], "one"), exporter=exporter)
    late = register(stores[1], "small=judge", origin(stores[1], SOURCES["data"], "one"))
    assert (early.format, early.signature, early.answer) == (late.format, late.signature, late.answer)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_process_without_a_task_does_not_outlive_the_run() -> None:
    code = (
        "import os\nfrom nbkube.models.publish import Exporter\nexporter = Exporter()\n"
        "print(exporter._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    until = time.monotonic() + 60
    while is_running(int(done.stdout)) and time.monotonic() < until:
        time.sleep(0.02)
    assert not is_running(int(done.stdout))


def is_running(pid: int) -> bool:
    try:
        return b"nbkube.models.exporter" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
