"""Serving and asking from a cell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from IPython.core.interactiveshell import InteractiveShell

from nbkube.client import Client
from tests.serving import function_model
from tests.unit.magics.test_magics import shell as shell  # the fixture

OPINION = "def predict(texts):\n    return ['good' if 'good' in text else 'bad' for text in texts]"
SUM = "def predict(rows):\n    return rows.sum(axis=1)"


def test_a_model_is_served_and_asked_from_cells(
    shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "nbkube.toml").touch()
    monkeypatch.chdir(tmp_path)
    function_model(tmp_path / ".nbkube", "opinion", OPINION, ["a good film"])
    function_model(tmp_path / ".nbkube", "total", SUM, {"rows": [[1.0, 2.0]]})
    try:
        assert shell.run_cell("%nbkube serve opinion --workers 1").success
        assert shell.run_cell("%nbkube serve total --workers 1").success
        assert "opinion version 1 is Ready at http://127.0.0.1:" in capsys.readouterr().err
        shell.user_ns["films"] = ["so good", "so long"]
        shell.user_ns["rows"] = np.array([[1.0, 2.0], [3.0, 4.0]])
        assert shell.run_cell("%nbkube predict opinion films").success
        assert shell.user_ns["_prediction"] == ["good", "bad"]
        assert shell.run_cell("%nbkube predict total rows").success
        assert shell.user_ns["_prediction"] == [3.0, 7.0]
        assert shell.run_cell('%nbkube predict opinion "a good text"').success
        assert shell.user_ns["_prediction"] == ["good"]
        capsys.readouterr()
        assert not shell.run_cell("%nbkube predict total [[1]]").success
        assert "Expected: [-1, 2] of FP64" in capsys.readouterr().err
        assert shell.run_cell("%nbkube endpoints stop opinion").success
    finally:
        for one in Client(tmp_path).endpoints():
            Client(tmp_path).stop_endpoint(one.name)
