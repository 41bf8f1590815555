"""Servers of others that can stand in a version's pods: TensorFlow Serving, Triton, MLServer, named by their image.

nbkube fetches the files and lays them out as the server wants them; routers check requests and choose versions as
before. Sources: tensorflow.org/tfx/serving/api_rest, the Triton model repository and MLServer's model settings, in
their documentation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import msgspec

from nbkube.errors import NbkubeError
from nbkube.models.formats import fetch
from nbkube.models.model import ModelVersion
from nbkube.storage.model import ObjectStore

Dialect = Literal["v2", "v1"]


class Runtime(msgspec.Struct, frozen=True):
    """A server: the formats it loads, how it is started (`{name}` is the model's), where it listens and tells of
    itself; `dialect` v1 is TensorFlow Serving's REST, v2 the Open Inference Protocol with binary tensors."""

    formats: tuple[str, ...]
    command: tuple[str, ...]
    port: int
    ready: str
    live: str
    dialect: Dialect = "v2"


RUNTIMES = {
    "tensorflow-serving": Runtime(
        ("tensorflow",),
        ("tensorflow_model_server", "--port=8500", "--rest_api_port=8501", "--model_name={name}",
         "--model_base_path=/model/{name}"),
        8501, "/v1/models/{name}", "/v1/models/{name}", "v1",
    ),
    "triton": Runtime(
        ("tensorflow", "onnx"), ("tritonserver", "--model-repository=/model", "--http-port=8000"),
        8000, "/v2/models/{name}/ready", "/v2/health/live",
    ),
    "mlserver": Runtime(
        ("xgboost", "lightgbm"), ("mlserver", "start", "/model"), 8080, "/v2/models/{name}/ready", "/v2/health/live",
    ),
}  # fmt: skip
_IMPLEMENTATIONS = {"xgboost": "mlserver_xgboost.XGBoostModel", "lightgbm": "mlserver_lightgbm.LightGBMModel"}


def check(runtime: str, version: ModelVersion) -> None:
    """Refuse a runtime that there is none of, or that does not load the format of a version.

    Raises:
        NbkubeError: says what there is.
    """
    known = RUNTIMES.get(runtime)
    if known is None:
        raise NbkubeError(f"there is no runtime {runtime[:40]!r}. There are: {', '.join(RUNTIMES)}.")
    if version.format not in known.formats:
        raise NbkubeError(
            f"{runtime} loads {' and '.join(known.formats)}, and {version.name} version {version.version} is "
            f"{version.format}. Fix: leave --runtime out; nbkube's own server loads it."
        )


def lay_out(runtime: str, store: ObjectStore, version: ModelVersion, folder: Path) -> None:
    """Write the files of a version below a folder as a runtime wants them, each verified by its digest."""
    home = folder / version.name
    if runtime == "mlserver":
        fetch(store, version, home)
        settings = {
            "name": version.name,
            "implementation": _IMPLEMENTATIONS[version.format],
            "parameters": {"uri": f"./{version.files[0].path}", "version": str(version.version)},
        }
        (home / "model-settings.json").write_text(json.dumps(settings), encoding="utf-8")
        return
    numbered = home / str(version.version)
    if runtime == "triton" and version.format == "tensorflow":
        numbered /= "model.savedmodel"
    fetch(store, version, numbered)
    if runtime == "triton" and version.format == "onnx":
        (numbered / version.files[0].path).rename(numbered / "model.onnx")
