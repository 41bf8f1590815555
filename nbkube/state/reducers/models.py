"""Keras models and layers as archives inside the stream; TensorFlow objects that live only in their process."""

from __future__ import annotations

import codecs
import copyreg
import io
import json
import marshal
import pickle
import sys
import zipfile
from collections.abc import Iterator
from typing import Any

from nbkube.state.definitions import is_notebook
from nbkube.state.errors import UnstorableError
from nbkube.state.reducers import family

_WHEN = (1980, 1, 1, 0, 0, 0)


@family("sklearn.utils._bunch.Bunch")
def reduce_bunch(_: Any, value: Any) -> Any:
    """Store scikit-learn's bunches with their attributes, which its own way of loading drops."""
    return copyreg.__newobj__, (type(value),), dict(vars(value)), None, iter(value.items()), _set_attributes  # type: ignore[attr-defined]


def _set_attributes(value: Any, attributes: dict[str, Any]) -> None:
    vars(value).update(attributes)


def parts_of(model: Any) -> set[int]:
    """Return the ids of all layers and variables of a Keras object, itself included."""
    found = {id(model)}
    for layer in _layers(model):
        found.add(id(layer))
    found.update(id(one) for one in getattr(model, "variables", ()))
    return found


def _layers(model: Any) -> list[Any]:
    flatten = getattr(model, "_flatten_layers", None)
    return list(flatten(include_self=False, recursive=True)) if flatten is not None else []


def _is_model(value: object) -> bool:
    module = sys.modules.get("keras.src.models.model")
    return module is not None and isinstance(value, module.Model)


def _known_models(dumper: Any) -> list[Any]:
    """Return the models among the values of the process, also those in lists, tuples and dicts."""
    found: dict[int, Any] = {}
    for value in [*dict.values(dumper.namespace), *dumper.around()]:
        inner: Any = ()
        if type(value) in (list, tuple):
            inner = value
        elif type(value) is dict:
            inner = value.values()
        for one in (value, *inner):
            if _is_model(one):
                found[id(one)] = one
    return list(found.values())


def _roots_with(dumper: Any, part: Any) -> list[Any]:
    """Return the outermost known models that hold a layer or model."""
    models = _known_models(dumper)
    holders = [one for one in models if one is not part and any(layer is part for layer in _layers(one))]
    return [one for one in holders if not any(other is not one and id(one) in parts_of(other) for other in models)]


@family("keras.src.saving.keras_saveable.KerasSaveable")
def reduce_saveable(dumper: Any, value: Any) -> Any:
    """A model or layer: as part of the model that holds it, else as an archive of its own."""
    if hasattr(value, "apply_gradients"):
        return reduce_optimizer(dumper, value)
    roots = _roots_with(dumper, value)
    if len(roots) == 1 and not getattr(value, "compiled", False):
        number = next(index for index, one in enumerate(_layers(roots[0])) if one is value)
        return layer_of, (roots[0], number, value.name)
    if roots:
        raise UnstorableError(
            f"holds the Keras {type(value).__name__} {getattr(value, 'name', '')!r}, "
            "which is trained on its own and as part of another model"
        )
    dumper.met.append((value, parts_of(value)))
    archive, names = _archive(value)
    custom = {name: one for name in sorted(names) if is_notebook(one := _definition(dumper.namespace, name))}
    registered = sys.modules["keras.src.saving.object_registration"].get_registered_name
    for layer in [value, *_layers(value)]:
        if is_notebook(type(layer)):
            custom[type(layer).__name__] = type(layer)
    custom.update({registered(one): one for one in list(custom.values())})
    functions = [
        (number, layer.function)
        for number, layer in enumerate(_layers(value))
        if type(layer).__name__ == "Lambda" and callable(getattr(layer, "function", None))
    ]
    # Keras leaves the state of its random layers out of the archive.
    seeds = [(number, one.numpy()) for number, one in enumerate(value.variables) if "seed" in one.path]
    state = {"functions": functions, "seeds": seeds}
    if getattr(value, "history", None) is not None and _is_model(value):
        state["history"] = value.history
    return load_archive, (archive, custom), state, None, None, fill_model


def _definition(namespace: Any, name: str) -> Any:
    """Return what a name of a configuration is bound to, loading functions and classes of earlier units."""
    found = dict.get(namespace, name)
    if found is None and hasattr(namespace, "available"):
        ref = namespace.available(name)
        if ref is not None and ref.kind == "blob" and ref.type in ("function", "type"):
            return namespace.load(name)
    return found


def reduce_optimizer(dumper: Any, value: Any) -> Any:
    """An optimizer as that of its model; alone it would lose its state."""
    for model in _known_models(dumper):
        if getattr(model, "optimizer", None) is value:
            return getattr, (model, "optimizer")
    if not value.built:
        return make_optimizer, (type(value), value.get_config())
    raise UnstorableError("holds a Keras optimizer whose state belongs to variables outside of any known model")


def make_optimizer(kind: Any, config: dict[str, Any]) -> Any:
    """Make an optimizer that has not been used."""
    return kind.from_config(config)


def layer_of(model: Any, number: int, name: str) -> Any:
    """Return a layer of a model."""
    layer = _layers(model)[number]
    if layer.name != name:
        raise UnstorableError(f"holds the Keras layer {name!r}, which is not found in its model again")
    return layer


def _archive(value: Any) -> tuple[list[tuple[str, Any]], set[str]]:
    """Return the members of the .keras archive, without dates, and the names its configuration mentions."""
    saving = sys.modules["keras.src.saving.saving_lib"]
    out = io.BytesIO()
    saving._save_model_to_fileobj(value, out, "h5")
    members: list[tuple[str, Any]] = []
    names: set[str] = set()
    with zipfile.ZipFile(out) as archive:
        for name in sorted(archive.namelist()):
            data = archive.read(name)
            if name == "metadata.json":
                data = json.dumps({**json.loads(data), "date_saved": ""}, sort_keys=True).encode()
            if name == "config.json":
                config = _numbered(json.loads(data), {})
                names = set(_strings(config))
                data = json.dumps(config).encode()
            members.append((name, pickle.PickleBuffer(data) if len(data) >= 1 << 16 else data))
    return members, names


def _numbered(value: Any, known: dict[int, int]) -> Any:
    """Return a configuration with addresses of shared objects replaced by running numbers, code by code anywhere."""
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__" and isinstance(value.get("config"), dict):
            value = {**value, "config": {**value["config"], "code": _placeless(value["config"]["code"])}}
        return {
            key: known.setdefault(one, len(known) + 1) if key == "shared_object_id" else _numbered(one, known)
            for key, one in value.items()
        }
    return [_numbered(one, known) for one in value] if isinstance(value, list) else value


def _placeless(text: str) -> str:
    """Return Keras's text form of a lambda without its place; marshal version 2 does not depend on reference counts."""
    body = marshal.loads(codecs.decode(text.encode("ascii"), "base64"))
    body = body.replace(co_filename="", co_firstlineno=1, co_linetable=b"")
    return codecs.encode(marshal.dumps(body, 2), "base64").decode("ascii")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value.rpartition(">")[2]
    elif isinstance(value, dict):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)


def load_archive(members: list[tuple[str, Any]], custom: dict[str, Any]) -> Any:
    """Make a model or layer from its archive."""
    import keras.src.saving.saving_lib as saving

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name, _WHEN), bytes(data))
    out.seek(0)
    return saving._load_model_from_fileobj(out, custom_objects=custom, compile=True, safe_mode=False)


def fill_model(model: Any, state: dict[str, Any]) -> None:
    """Give a model what the archive does not hold, or as text only: functions, random state, history."""
    layers = _layers(model)
    for number, function in state["functions"]:
        layers[number].function = function
    variables = list(model.variables)
    for number, seed in state["seeds"]:
        variables[number].assign(seed)
    if "history" in state:
        model.history = state["history"]


def outline_of(value: Any) -> dict[str, Any]:
    """Return what tells Keras objects apart: configuration, variables, the optimizer's variables."""
    found: dict[str, Any] = {}
    if hasattr(value, "get_config"):
        found["config"] = json.loads(json.dumps(value.get_config(), default=lambda one: type(one).__name__))
    found["variables"] = [one.numpy() for one in getattr(value, "variables", ())]
    optimizer = getattr(value, "optimizer", None)
    if optimizer is not None:
        found["optimizer"] = type(optimizer).__name__
        found["optimizer variables"] = [one.numpy() for one in optimizer.variables]
    return found


_IN_PROCESS = {
    "tensorflow.python.data.ops.dataset_ops.DatasetV2": "a tf.data dataset",
    "tensorflow.python.data.ops.iterator_ops.IteratorBase": "an iterator over a tf.data dataset",
    "tensorflow.python.client.session.BaseSession": "a TensorFlow session",
    "tensorflow.python.eager.backprop.GradientTape": "a gradient tape",
}


@family(*_IN_PROCESS)
def refuse_tensorflow(dumper: Any, value: Any) -> Any:
    """TensorFlow objects whose state is not to be had."""
    names = (f"{one.__module__}.{one.__qualname__}" for one in type(value).__mro__)
    what = next(_IN_PROCESS[name] for name in names if name in _IN_PROCESS)
    raise UnstorableError(f"holds {what}, which lives only in its process")


@family("keras.src.backend.common.variables.Variable")
def reduce_variable(dumper: Any, value: Any) -> Any:
    """A variable of its own; one that belongs to a model cannot be cut off."""
    for model in _known_models(dumper):
        if any(one is value for one in model.variables):
            raise UnstorableError(f"holds the variable {value.path!r} of the Keras model {model.name!r}")
    return NotImplemented


def shared_models(noted: list[tuple[str, list[Any]]]) -> dict[str, str]:
    """Return name -> reason for names whose Keras objects share layers or variables.

    `noted`: name and what its dump met, as (object, ids of its parts).
    """
    owner: dict[int, tuple[str, Any]] = {}
    bad: dict[str, str] = {}
    for name, met in noted:
        for value, parts in met:
            for part in parts:
                other = owner.setdefault(part, (name, value))
                if other[1] is not value:
                    for one, partner in ((name, other), (other[0], (name, value))):
                        bad[one] = (
                            f"shares layers or variables with the Keras model {partner[1].name!r} (`{partner[0]}`)"
                        )
    return bad
