"""Every format: kept, loaded anew in a process of its own, answering as the live model does."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nbkube.errors import DamagedObjectError, NotFoundError
from nbkube.models import ModelRegistry, ModelVersion
from nbkube.models.consent import ConsentError
from nbkube.models.formats import ModelError, fetch
from nbkube.models.publish import add_file
from nbkube.storage import open_store
from tests.serving import ask, function_model, serving

FEATURES = np.array([[0.0, 1.0], [1.0, 0.0], [2.0, 1.0], [3.0, 0.0]] * 5)
LABELS = np.array([0, 0, 1, 1] * 5)


@pytest.fixture(autouse=True)
def own_consent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def estimator(folder: Path, model: Any = None) -> Path:
    from sklearn.linear_model import LogisticRegression
    from skops import io

    path = folder / "model.skops"
    io.dump(model or LogisticRegression().fit(FEATURES, LABELS), path)
    return path


def added(tmp_path: Path, path: Path, **more: Any) -> ModelVersion:
    return add_file(open_store(tmp_path / "store"), "small", path, **more)


def test_scikit_learn(tmp_path: Path) -> None:
    made = added(tmp_path, estimator(tmp_path))
    assert made.format == "sklearn"
    assert [(one.name, one.datatype, one.shape) for one in made.signature.inputs] == [("input", "FP64", (-1, 2))]
    assert [one.name for one in made.signature.outputs] == ["predict"]
    assert [(one.name, one.shape) for one in made.signature.optional] == [("predict_proba", (-1, 2))]
    assert made.signature.batched
    assert not made.runs_code
    assert made.libraries["scikit-learn"]


def test_columns_of_a_table(tmp_path: Path) -> None:
    import pandas as pd
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    table = pd.DataFrame({"age": [1.0, 2.0, 30.0, 40.0], "town": ["Bonn", "Ulm", "Bonn", "Ulm"]})
    encode = make_column_transformer((OneHotEncoder(), ["town"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(table, [0, 0, 1, 1])
    rows = [{"age": 1.0, "town": "Bonn"}, {"age": 40.0, "town": "Ulm"}]
    made = added(tmp_path, estimator(tmp_path, model), example=rows)
    assert [(one.name, one.datatype) for one in made.signature.inputs] == [("age", "FP64"), ("town", "BYTES")]
    assert made.signature.layout == "columns"
    assert made.answer[0]["data"] == model.predict(table.iloc[[0, 3]]).tolist()


def test_xgboost(tmp_path: Path) -> None:
    xgboost = pytest.importorskip("xgboost", reason="there is no xgboost for this machine")
    model = xgboost.XGBClassifier(n_estimators=3).fit(FEATURES, LABELS)
    model.save_model(tmp_path / "classifier.ubj")
    made = added(tmp_path, tmp_path / "classifier.ubj", example=FEATURES[:3].tolist())
    assert (made.format, made.answer[0]["data"]) == ("xgboost", model.predict(FEATURES[:3]).tolist())
    model.get_booster().save_model(tmp_path / "booster.json")
    raw = added(tmp_path, tmp_path / "booster.json", example=FEATURES[:3].tolist())
    assert raw.answer[0]["data"] == pytest.approx(model.predict_proba(FEATURES[:3])[:, 1].tolist())


def test_lightgbm(tmp_path: Path) -> None:
    import lightgbm

    data = lightgbm.Dataset(FEATURES, LABELS, params={"verbose": -1, "min_data_in_leaf": 1, "min_data_in_bin": 1})
    model = lightgbm.train({"objective": "binary", "verbose": -1, "min_data_in_leaf": 1}, data, 3)
    model.save_model(tmp_path / "model.txt")
    made = added(tmp_path, tmp_path / "model.txt", example=FEATURES[:3].tolist())
    assert made.format == "lightgbm"
    assert made.answer[0]["data"] == pytest.approx(np.asarray(model.predict(FEATURES[:3])).tolist())


def test_onnx(tmp_path: Path) -> None:
    from onnx import TensorProto, checker, helper

    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "x"], ["twice"])],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("twice", TensorProto.FLOAT, [None, 2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    checker.check_model(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    made = added(tmp_path, tmp_path / "model.onnx", example=[[1.0, 2.0]])
    assert (made.format, made.answer[0]["data"]) == ("onnx", [2.0, 4.0])
    assert (made.signature.inputs[0].name, made.signature.inputs[0].shape) == ("x", (-1, 2))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 with NumPy 2
def test_keras_and_saved_model(tmp_path: Path) -> None:
    import keras
    import tensorflow as tf

    network = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, activation="softmax")])
    network.save(tmp_path / "network.keras")
    expected = network.predict_on_batch(FEATURES[:2])
    made = added(tmp_path, tmp_path / "network.keras", example=FEATURES[:2].tolist())
    assert (made.format, made.signature.inputs[0].shape) == ("keras", (-1, 2))
    assert made.answer[0]["data"] == pytest.approx(np.ravel(expected).tolist(), abs=1e-6)

    class Twice(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])  # type: ignore[untyped-decorator]
        def __call__(self, x: Any) -> Any:
            return {"twice": x + x}

    module = Twice()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.__call__)
    saved = added(tmp_path, tmp_path / "saved", example=[[1.0, 2.0]])
    assert (saved.format, saved.signature.inputs[0].name) == ("tensorflow", "x")
    assert (saved.answer[0]["name"], saved.answer[0]["data"]) == ("twice", [2.0, 4.0])


def test_a_function_with_what_it_needs(tmp_path: Path) -> None:
    source = (
        "import re\nWORDS = {'good': 1, 'bad': -1}\n"
        "def score(text):\n    return sum(WORDS.get(word, 0) for word in re.findall('[a-z]+', text.lower()))\n"
        "def predict(texts):\n    return ['yes' if score(text) > 0 else 'no' for text in texts]\n"
    )
    made = function_model(tmp_path / "store", "opinion", source, ["A good film", "Bad, bad."])
    assert made.format == "python"
    assert [(one.datatype, one.shape, one.text) for one in made.signature.inputs] == [("BYTES", (-1,), True)]
    assert made.signature.batched
    assert made.answer[0]["data"] == ["yes", "no"]
    assert made.objects


def test_a_function_keeps_what_only_other_inputs_need(tmp_path: Path) -> None:
    source = (
        "LIMIT = 3\nclass Scale:\n    def of(self, x):\n        return FACTOR * x\nFACTOR = 10\nscale = Scale()\n"
        "def large(x):\n    return scale.of(x)\n"
        "def predict(rows):\n    return [large(x) if x > LIMIT else x for [x] in rows]\n"
    )
    made = function_model(tmp_path / "store", "scaled", source, {"rows": [[1.0], [2.0]]})
    with serving(tmp_path / "store", "scaled", workers=1) as (_, endpoint):
        rows = {"instances": [[1.0], [4.0]]}
        assert ask(endpoint, "POST", f"/v1/models/{made.name}:predict", rows).json == {"predictions": [1.0, 40.0]}


def test_a_function_that_looks_at_all_examples_is_not_batched(tmp_path: Path) -> None:
    source = "def predict(rows):\n    return rows - rows.mean(axis=0)"
    made = function_model(tmp_path / "store", "centred", source, {"input": [[1.0], [3.0]]})
    assert made.answer[0]["data"] == [-1.0, 1.0]
    total = function_model(tmp_path / "store", "total", "def predict(rows):\n    return rows.sum()", {"input": [[1.0]]})
    assert not function_model(
        tmp_path / "store", "first", "def predict(rows):\n    return rows[:1] * len(rows)", {"input": [[1.0], [3.0]]}
    ).signature.batched
    assert total.answer[0]["shape"] == [1]


# -- what is refused -----------------------------------------------------------------------------------------------


def test_a_changed_byte_and_a_changed_file_are_refused_and_named(tmp_path: Path) -> None:
    made = added(tmp_path, estimator(tmp_path))
    store = open_store(tmp_path / "store")
    blob = store.local_path(made.files[0].digest)
    whole = blob.read_bytes()
    changed = bytearray(whole)
    changed[len(changed) // 2] ^= 1
    for poison in (bytes(changed), b"\x80\x05K\x01.", b""):
        blob.parent.mkdir(exist_ok=True)
        if blob.exists():
            blob.chmod(stat.S_IWUSR | stat.S_IRUSR)
        blob.write_bytes(poison)
        with pytest.raises(DamagedObjectError, match="model small version 1: its file model.skops was changed"):
            fetch(open_store(tmp_path / "store"), made, tmp_path / f"files-{len(poison)}")
    with pytest.raises(NotFoundError, match="its file model.skops is gone"):
        fetch(open_store(tmp_path / "store"), made, tmp_path / "files")


def test_a_pickle_in_disguise_is_refused(tmp_path: Path) -> None:
    import pickle

    for name in ("model.skops", "model.keras", "model.onnx", "model.txt", "model.ubj"):
        (tmp_path / name).write_bytes(pickle.dumps({"a": 1}, protocol=4))
        with pytest.raises(ModelError, match=f"{name} is a pickle, whatever its name says"):
            added(tmp_path, tmp_path / name)


def test_types_that_may_run_code_are_refused(tmp_path: Path) -> None:
    from sklearn.preprocessing import FunctionTransformer

    path = estimator(tmp_path, FunctionTransformer(os.system))
    with pytest.raises(ModelError, match="holds objects of types that may run code.*system"):
        added(tmp_path, path)


def test_a_record_that_lies_about_its_format_is_refused(tmp_path: Path) -> None:
    import msgspec

    made = added(tmp_path, estimator(tmp_path))
    store = open_store(tmp_path / "store")
    for wrong in ("keras", "onnx", "xgboost"):
        with pytest.raises(ModelError, match=f"says it is of the format {wrong}, but its files are sklearn"):
            fetch(store, msgspec.structs.replace(made, format=wrong), tmp_path / wrong)
    evil = msgspec.structs.replace(made.files[0], path="../../evil")
    with pytest.raises(ModelError, match="leads out of the model"):
        fetch(store, msgspec.structs.replace(made, files=(evil,)), tmp_path / "evil")


def test_links_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").symlink_to("/etc/passwd")
    with pytest.raises(ModelError, match="is a link"):
        added(tmp_path, tmp_path / "model")


def test_a_pickle_needs_consent_to_its_digest(tmp_path: Path) -> None:
    import joblib
    from sklearn.linear_model import LogisticRegression

    path = tmp_path / "model.joblib"
    joblib.dump(LogisticRegression().fit(FEATURES, LABELS), path)
    with pytest.raises(ConsentError, match="runs code when it is loaded.*Its digest is [0-9a-f]{64}") as refused:
        added(tmp_path, path)
    digest = str(refused.value).rsplit(" ", 1)[1]
    with pytest.raises(ConsentError, match="has the digest"):
        added(tmp_path, path, trust="0" * 64)
    made = added(tmp_path, path, trust=digest)
    assert (made.format, made.runs_code) == ("pickle", True)
    assert [one.version for one in ModelRegistry(open_store(tmp_path / "store")).versions("small")] == [1]


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04nothing", b"{}", b"\x08"])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(ModelError):
        added(tmp_path, tmp_path / "model.onnx")
