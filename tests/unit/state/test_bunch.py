from __future__ import annotations

from pathlib import Path
from typing import Any

from sklearn.datasets import load_iris

from nbkube.state.namespace import Namespace, load_values
from nbkube.state.publish import publish
from nbkube.storage import open_store


def test_a_bunch_comes_back_whole(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    namespace = Namespace({}, store)
    iris = load_iris()
    namespace["iris"] = iris
    loaded: Any = load_values(publish(namespace).outputs, store)["iris"]
    assert type(loaded) is type(iris)
    assert vars(loaded).keys() == vars(iris).keys()
    assert list(loaded) == list(iris)
    assert (loaded.data == iris.data).all()
