"""Writing a live model in a format of its framework, one that is loaded without running code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec

from nbkube.models import loaders
from nbkube.models.formats import ModelError
from nbkube.models.loaders import Predictor
from nbkube.models.model import Format


def is_model(value: Any) -> bool:
    """Tell whether a value is of a framework that has a format of its own."""
    return any(_is(value, module, name) for module, name in _KINDS) or hasattr(value, "predict")


_KINDS = (
    ("keras", "Model"), ("tensorflow", "Module"), ("xgboost", "Booster"), ("xgboost", "XGBModel"),
    ("lightgbm", "Booster"), ("lightgbm", "LGBMModel"), ("onnx", "ModelProto"),
)  # fmt: skip


def _is(value: Any, module: str, name: str) -> bool:
    """Tell whether a value is of a class, without importing what has not been imported."""
    loaded = sys.modules.get(module)
    kind = getattr(loaded, name, None) if loaded is not None else None
    return isinstance(kind, type) and isinstance(value, kind)


def write_value(value: Any, folder: Path) -> tuple[Format, Predictor]:
    """Write a model into a folder; return its format, and the live model as a predictor.

    Raises:
        ModelError: it is no model, or cannot be kept without pickling.
    """
    if _is(value, "keras", "Model"):
        value.save(folder / "model.keras")
        return "keras", loaders.network(value)
    if _is(value, "tensorflow", "Module"):
        sys.modules["tensorflow"].saved_model.save(value, str(folder))
        return "tensorflow", loaders.load("tensorflow", folder)
    if _is(value, "xgboost", "Booster") or _is(value, "xgboost", "XGBModel"):
        kind = "booster" if _is(value, "xgboost", "Booster") else _estimator_kind(value)
        value.save_model(folder / f"{kind}.ubj")
        return "xgboost", loaders.load("xgboost", folder)
    if _is(value, "lightgbm", "Booster") or _is(value, "lightgbm", "LGBMModel"):
        booster = value if _is(value, "lightgbm", "Booster") else value.booster_
        booster.save_model(folder / "model.txt")
        if hasattr(value, "classes_"):
            (folder / "classes.json").write_bytes(msgspec.json.encode(value.classes_.tolist()))
        return "lightgbm", loaders.load("lightgbm", folder)
    if _is(value, "onnx", "ModelProto"):
        (folder / "model.onnx").write_bytes(value.SerializeToString())
        return "onnx", loaders.load("onnx", folder)
    if hasattr(value, "predict") and hasattr(value, "get_params"):
        return "sklearn", _write_estimator(value, folder)
    raise ModelError(
        f"a {type(value).__module__}.{type(value).__qualname__} is no model that nbkube knows. Fix: write a function "
        "that takes the inputs and returns the answers, and register that."
    )


def _estimator_kind(value: Any) -> str:
    return "classifier" if hasattr(value, "predict_proba") else "regressor"


def _write_estimator(value: Any, folder: Path) -> Predictor:
    try:
        from skops import io
    except ImportError:
        raise ModelError("scikit-learn models are kept by skops. Fix: pip install 'nbkube[serve]'") from None
    from nbkube.models.trees import TRUSTED

    try:
        io.dump(value, folder / "model.skops")
        unknown = [one for one in io.get_untrusted_types(file=folder / "model.skops") if one not in TRUSTED]
    except Exception as error:
        raise ModelError(f"skops cannot keep this {type(value).__name__}: {error}") from error
    if unknown:
        raise ModelError(
            f"this {type(value).__name__} holds {', '.join(unknown[:5])}, which cannot be kept without running code. "
            "Fix: write a function that calls it, and register that."
        )
    return loaders.estimator(value)
