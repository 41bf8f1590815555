"""Estimators made of trees are kept and loaded; a tree that was bent in its file is refused before it is asked."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("skops", reason="NOT RUN: skops is not installed (pip install 'nbkube[serve]')")
from sklearn import calibration, ensemble, linear_model, neural_network, tree

from nbkube.models import loaders
from nbkube.models.formats import ModelError
from nbkube.models.values import _write_estimator

ROWS = np.random.default_rng(5).random((80, 4))
CLASSES = (ROWS[:, 0] + ROWS[:, 1] > 1).astype(int)
MODELS: tuple[Callable[[], Any], ...] = (
    lambda: tree.DecisionTreeClassifier(random_state=0),
    lambda: ensemble.RandomForestClassifier(5, random_state=0),
    lambda: ensemble.ExtraTreesRegressor(5, random_state=0),
    lambda: ensemble.GradientBoostingClassifier(n_estimators=5, random_state=0),
    lambda: ensemble.HistGradientBoostingClassifier(max_iter=5, random_state=0),
    lambda: ensemble.HistGradientBoostingRegressor(max_iter=5, random_state=0),
    lambda: ensemble.IsolationForest(n_estimators=5, random_state=0),
    lambda: ensemble.AdaBoostClassifier(n_estimators=3, random_state=0),
    lambda: ensemble.BaggingClassifier(n_estimators=3, max_features=2, random_state=0),
    lambda: ensemble.StackingClassifier([("tree", tree.DecisionTreeClassifier(random_state=0))], cv=2),
    lambda: ensemble.VotingClassifier([("line", linear_model.LogisticRegression())]),
    lambda: calibration.CalibratedClassifierCV(linear_model.LogisticRegression(), cv=2),
    lambda: neural_network.MLPClassifier((4,), max_iter=5, random_state=0),
)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("make", MODELS, ids=lambda make: type(make()).__name__)
def test_it_answers_as_before(tmp_path: Path, make: Callable[[], Any]) -> None:
    model = make().fit(ROWS, CLASSES)
    _write_estimator(model, tmp_path)
    loaded = loaders._skops(tmp_path / "model.skops")
    assert (loaded.predict(ROWS) == model.predict(ROWS)).all()


def _bend(left: Any, right: Any, feature: Any, which: str) -> None:
    if which == "outside":
        left[0] = 1 << 20
    elif which == "itself":
        right[0] = 0
    else:
        feature[0] = 40


@pytest.mark.parametrize("which", ["outside", "itself", "feature"])
@pytest.mark.parametrize("make", [MODELS[1], MODELS[4]], ids=["forest", "boosting"])
def test_a_bent_tree_is_refused(tmp_path: Path, make: Callable[[], Any], which: str) -> None:
    model = make().fit(ROWS, CLASSES)
    _write_estimator(model, tmp_path)
    path = tmp_path / "model.skops"
    bent = 0
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    for name, data in files.items():
        if not name.endswith(".npy"):
            continue
        nodes = np.load(io.BytesIO(data), allow_pickle=False)
        names = nodes.dtype.names or ()
        if "left_child" in names:
            _bend(nodes["left_child"], nodes["right_child"], nodes["feature"], which)
        elif "feature_idx" in names:
            _bend(nodes["left"], nodes["right"], nodes["feature_idx"], which)
        else:
            continue
        target = io.BytesIO()
        np.save(target, nodes)
        files[name] = target.getvalue()
        bent += 1
    assert bent
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    with pytest.raises(ModelError, match="leads out of itself"):
        loaders._skops(path)
