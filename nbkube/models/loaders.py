"""Bringing a model to life. Only processes made for it do this: the exporter, and the workers of an endpoint.

Every loader gives a `Predictor`. Frameworks are imported in here, inside functions. Sources of the formats:
skops.readthedocs.io (persistence), keras.io (saving, safe mode), tensorflow.org (SavedModel signatures),
xgboost.readthedocs.io (model IO), lightgbm.readthedocs.io, onnxruntime.ai.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nbkube.models.formats import ModelError
from nbkube.models.model import Format, Signature, Tensor
from nbkube.models.tensors import DATATYPES, Array, TensorError, as_array
from nbkube.storage.model import ObjectStore

Call = Callable[[Mapping[str, Array], frozenset[str]], dict[str, Any]]


class Predictor:
    """A model in memory. `inputs` is what the model itself says of its inputs, None where it says nothing.

    `call` takes arrays by the names of inputs and the optional outputs that are wanted.
    """

    def __init__(self, call: Call, inputs: tuple[Tensor, ...] | None = None, columns: tuple[str, ...] = ()) -> None:
        self.inputs = inputs
        self.columns = columns
        self._call = call

    def __call__(self, inputs: Mapping[str, Array], wanted: frozenset[str] = frozenset()) -> dict[str, Array]:
        """Return the outputs as arrays.

        Raises:
            ModelError: an output is no tensor.
        """
        found = {}
        for name, value in self._call(inputs, wanted).items():
            try:
                found[name] = as_array(value)
            except TensorError as error:
                raise ModelError(f"the output {name} is no tensor: {error}.") from None
        return found


def load(form: Format, folder: Path, signature: Signature | None = None, store: ObjectStore | None = None) -> Predictor:
    """Load the model whose files lie in a folder.

    Args:
        form: its format.
        folder: where its files are, each verified already.
        signature: how it is called; None while that is being found out.
        store: where a `python` model's values lie.

    Raises:
        ModelError: it cannot be loaded; says why.
    """
    names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    main = next((name for name in names if name != "classes.json"), "")
    path = folder / main
    try:
        match form:
            case "sklearn":
                return estimator(_skops(path), signature)
            case "pickle":
                return estimator(_pickle(path), signature)
            case "keras":
                return network(_keras(path))
            case "tensorflow":
                return _saved_model(folder)
            case "xgboost":
                return _xgboost(path)
            case "lightgbm":
                return _lightgbm(path, folder / "classes.json")
            case "onnx":
                return _onnx(path)
            case "python":
                from nbkube.models.functions import load_function

                assert store is not None
                return load_function(path, store, signature)
    except ModelError:
        raise
    except ImportError as error:
        raise ModelError(f"{main}: this model needs {error.name or error}, which is not installed here.") from error
    except Exception as error:
        raise ModelError(f"{main} cannot be loaded: {type(error).__name__}: {error}") from error


def _skops(path: Path) -> Any:
    try:
        from skops import io
    except ImportError:
        raise ModelError("scikit-learn models are kept by skops. Fix: pip install 'nbkube[serve]'") from None
    from nbkube.models.trees import TRUSTED, check_trees

    unknown = [one for one in io.get_untrusted_types(file=path) if one not in TRUSTED]
    if unknown:
        raise ModelError(
            f"{path.name} holds objects of types that may run code: {', '.join(unknown[:5])}. It is refused. "
            "Fix: serve a function of the notebook that calls the model instead."
        )
    model = io.load(path, trusted=list(TRUSTED))
    check_trees(model)
    return model


def _pickle(path: Path) -> Any:
    import joblib

    return joblib.load(path)


def estimator(model: Any, signature: Signature | None = None) -> Predictor:
    """Return a scikit-learn estimator (or anything with `predict`) as a predictor."""
    columns = tuple(str(name) for name in getattr(model, "feature_names_in_", ()))
    features = getattr(model, "n_features_in_", None)
    optional = [name for name in ("predict_proba", "decision_function") if hasattr(model, name)][:1]

    def call(inputs: Mapping[str, Array], wanted: frozenset[str]) -> dict[str, Any]:
        data = table(inputs, columns) if columns else next(iter(inputs.values()))
        found = {"predict": model.predict(data)}
        found.update((name, getattr(model, name)(data)) for name in optional if name in wanted)
        return found

    plain = features is not None and not columns
    return Predictor(call, (Tensor("input", "FP64", (-1, int(features or 0))),) if plain else None, columns)


def optional_outputs(model_call: Predictor, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs that a predictor gives only to who asks for them, on an example."""
    plain = model_call(inputs)
    both = model_call(inputs, frozenset({"predict_proba", "decision_function"}))
    return {name: value for name, value in both.items() if name not in plain}


def table(inputs: Mapping[str, Array], columns: tuple[str, ...]) -> Any:
    """Return inputs as a table: one for each column, or one with all of them side by side."""
    import pandas as pd

    if len(inputs) == 1 and next(iter(inputs.values())).ndim == 2:
        return pd.DataFrame(next(iter(inputs.values())), columns=list(columns) or None)
    return pd.DataFrame({name: inputs[name] for name in columns or inputs})


def _keras(path: Path) -> Any:
    import keras

    return keras.saving.load_model(path, compile=False, safe_mode=True)


def network(model: Any) -> Predictor:
    """Return a Keras model as a predictor."""
    import keras

    symbolic = list(model.inputs)
    names = ["input"] if len(symbolic) == 1 else [str(one.name) for one in symbolic]
    inputs = tuple(
        Tensor(name, _datatype(keras.backend.standardize_dtype(one.dtype)), _shape(one.shape))
        for name, one in zip(names, symbolic, strict=True)
    )
    outputs = ["output"] if len(model.outputs) == 1 else [str(name) for name in model.output_names]

    def call(given: Mapping[str, Array], _: frozenset[str]) -> dict[str, Any]:
        data = [given[name] for name in names]
        found = model.predict_on_batch(data[0] if len(data) == 1 else data)
        if isinstance(found, dict):
            return found
        return dict(zip(outputs, found if isinstance(found, list) else [found], strict=True))

    return Predictor(call, inputs)


def _saved_model(folder: Path) -> Predictor:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(folder))
    known = dict(loaded.signatures)
    if not known:
        raise ModelError(f"{folder.name}: the SavedModel has no signature. Fix: save it with signatures=….")
    function = known.get("serving_default") or next(iter(known.values()))
    specs = function.structured_input_signature[1]
    inputs = tuple(Tensor(name, _datatype(one.dtype.name), _shape(one.shape)) for name, one in sorted(specs.items()))

    def call(given: Mapping[str, Array], _: frozenset[str]) -> dict[str, Any]:
        # The loaded object is used in here, so that it lives as long as its functions are called.
        assert loaded is not None
        return dict(function(**{name: tf.constant(given[name], dtype=one.dtype) for name, one in specs.items()}))

    return Predictor(call, inputs)


def _datatype(dtype: str) -> str:
    if dtype == "string":
        return "BYTES"
    kind = np.dtype(dtype)
    found = next((name for name, code in DATATYPES.items() if np.dtype(code) == kind), None)
    if found is None:
        raise ModelError(f"an input has the type {dtype}, which no client can send.")
    return found


def _shape(shape: Any) -> tuple[int, ...]:
    return tuple(-1 if one is None else int(one) for one in shape)


def _xgboost(path: Path) -> Predictor:
    import xgboost

    kinds = {"classifier": xgboost.XGBClassifier, "regressor": xgboost.XGBRegressor}
    if path.stem in kinds:
        model = kinds[path.stem]()
        model.load_model(path)
        features = int(model.n_features_in_)

        def call(given: Mapping[str, Array], wanted: frozenset[str]) -> dict[str, Any]:
            data = next(iter(given.values()))
            found = {"predict": model.predict(data)}
            if "predict_proba" in wanted and hasattr(model, "predict_proba"):
                found["predict_proba"] = model.predict_proba(data)
            return found

        return Predictor(call, (Tensor("input", "FP32", (-1, features)),))
    booster = xgboost.Booster(model_file=path)

    def boosted(given: Mapping[str, Array], _: frozenset[str]) -> dict[str, Any]:
        return {"predict": booster.inplace_predict(next(iter(given.values())), validate_features=False)}

    return Predictor(boosted, (Tensor("input", "FP32", (-1, int(booster.num_features()))),))


def _lightgbm(path: Path, classes_file: Path) -> Predictor:
    import lightgbm

    booster = lightgbm.Booster(model_file=path)
    classes = np.array(msgspec.json.decode(classes_file.read_bytes())) if classes_file.exists() else None

    def call(given: Mapping[str, Array], wanted: frozenset[str]) -> dict[str, Any]:
        raw = np.asarray(booster.predict(next(iter(given.values()))))
        if classes is None:
            return {"predict": raw}
        chances = np.stack([1 - raw, raw], axis=1) if raw.ndim == 1 else raw
        found = {"predict": classes[chances.argmax(axis=1)]}
        return {**found, "predict_proba": chances} if "predict_proba" in wanted else found

    return Predictor(call, (Tensor("input", "FP64", (-1, int(booster.num_feature()))),))


_ONNX = {
    "tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(float16)": "FP16", "tensor(int64)": "INT64",
    "tensor(int32)": "INT32", "tensor(int16)": "INT16", "tensor(int8)": "INT8", "tensor(uint8)": "UINT8",
    "tensor(bool)": "BOOL", "tensor(string)": "BYTES",
}  # fmt: skip


def _onnx(path: Path) -> Predictor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    inputs = []
    for one in session.get_inputs():
        if one.type not in _ONNX:
            raise ModelError(f"{path.name}: the input {one.name} has the type {one.type}, which no client can send.")
        shape = tuple(size if isinstance(size, int) else -1 for size in one.shape)
        inputs.append(Tensor(one.name, _ONNX[one.type], shape))
    # Maps and sequences (the probabilities that some converters add) are no tensors.
    outputs = [one.name for one in session.get_outputs() if one.type.startswith("tensor(")]

    def call(given: Mapping[str, Array], _: frozenset[str]) -> dict[str, Any]:
        return dict(zip(outputs, session.run(outputs, dict(given)), strict=True))

    return Predictor(call, tuple(inputs))
