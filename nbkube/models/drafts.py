"""From a live value, or files, to a version that has answered a request."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from nbkube.errors import NbkubeError
from nbkube.models import loaders
from nbkube.models.exporter import ExportTask
from nbkube.models.formats import ModelError, files_below, keep
from nbkube.models.functions import FunctionModel, function, restored
from nbkube.models.loaders import Predictor, optional_outputs
from nbkube.models.model import Format, ModelFile, ModelVersion, Signature, Tensor
from nbkube.models.tensors import Array, TensorError, as_array, as_json, from_example, spec
from nbkube.models.values import is_model, write_value
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace
from nbkube.storage.model import ObjectStore

_EXAMPLE_BYTES = 64 << 20
"""Stored values larger than this are not loaded to look for an example."""

_EXAMPLE_JSON = 64 << 10
_LIBRARIES: dict[str, tuple[str, ...]] = {
    "sklearn": ("scikit-learn", "skops", "numpy"), "pickle": ("scikit-learn", "joblib", "numpy"),
    "keras": ("keras", "tensorflow", "tensorflow-cpu"), "tensorflow": ("tensorflow", "tensorflow-cpu"),
    "xgboost": ("xgboost", "xgboost-cpu"), "lightgbm": ("lightgbm",), "onnx": ("onnxruntime",), "python": ("numpy",),
}  # fmt: skip
_ROWS = 2


def draft_of_value(task: ExportTask, store: ObjectStore, place: Path) -> ModelVersion:
    """Return the draft of a variable as a model; its files are put into the store."""
    root = place / "modules"
    root.mkdir()
    _put_modules(task, store, root)
    sys.path.insert(0, str(root))
    entry = FunctionModel(task.source, task.bindings, task.replay, task.env)
    space = restored(entry, store, str(root))
    value = _chosen(space, task.source)
    folder = place / "files"
    folder.mkdir()
    objects: tuple[ModelFile, ...] = ()
    if callable(value) and not hasattr(value, "predict") and not is_model(value):
        form: Format = "python"
        live = function(value, None)
        inputs, signature = _described(live, _examples(task, space, None), calls=value)
        needed = _closure(space, task.source, task.bindings)
        objects = _kept_objects(store, needed)
        (folder / "function.json").write_bytes(
            msgspec.json.encode(FunctionModel(task.source, needed, task.replay, task.env))
        )
        _put_modules(task, store, folder)
        identity = [[name, ref.version] for name, ref in sorted(needed.items())]
    else:
        form, live = write_value(value, folder)
        inputs, signature = _described(live, _examples(task, space, live))
        identity = [[task.source, task.bindings[task.source].version]]
    files = keep(store, folder, files_below(folder))
    draft = ModelVersion(task.name, 0, form, files, signature, "", objects=objects, source=task.source)
    expected = live(inputs) if form != "python" else None
    return _answered(task, draft, folder, store, inputs, expected, identity)


def draft_of_file(task: ExportTask, store: ObjectStore, draft: ModelVersion, folder: Path) -> ModelVersion:
    """Complete the draft of files that are in the store: signature and answer."""
    live = loaders.load(draft.format, folder)
    given = from_given(task.given, live) if task.given is not None else None
    inputs, signature = _described(live, iter([given if given is not None else _made_up(live)]))
    draft = msgspec.structs.replace(draft, signature=signature, source=Path(task.path).name)
    return _answered(task, draft, folder, store, inputs, None, [])


def _answered(
    task: ExportTask,
    draft: ModelVersion,
    folder: Path,
    store: ObjectStore,
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array] | None,
    identity: list[Any],
) -> ModelVersion:
    """Load what was kept, predict the example, and return the finished draft."""
    again = None if draft.format == "python" else loaders.load(draft.format, folder, draft.signature, store)
    answer = again(inputs) if again else function_answer(task, store, folder, draft.signature, inputs)
    for name, value in (expected or {}).items():
        if not _same(value, answer[name]):
            raise ModelError(f"{task.source}: what was kept of it answers otherwise than it does itself ({name}).")
    example = tuple(as_json(name, value) for name, value in inputs.items())
    shown = tuple(as_json(name, value) for name, value in answer.items())
    if len(msgspec.json.encode([example, shown])) > _EXAMPLE_JSON:
        raise ModelError(
            f"the example of model {task.name} is larger than {_EXAMPLE_JSON >> 10} KiB. Fix: name a smaller one."
        )
    parts = [draft.format, draft.signature, example, identity or [[one.path, one.digest] for one in draft.files]]
    digest = hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()
    return msgspec.structs.replace(
        draft,
        identity=digest,
        example=example,
        answer=shown,
        metrics=task.metrics,
        run=task.run,
        step=task.step,
        made_from=task.made_from,
        libraries=_libraries(draft.format),
    )


def function_answer(
    task: ExportTask, store: ObjectStore, folder: Path, signature: Signature, inputs: Mapping[str, Array]
) -> dict[str, Array]:
    """Load a function anew, as a worker does, and return its answer."""
    from nbkube.models.functions import load_function

    return load_function(folder / "function.json", store, signature)(inputs)


def _same(one: Array, two: Array) -> bool:
    if one.shape != two.shape:
        return False
    if one.dtype.kind == "f":
        return bool(np.allclose(one, two, rtol=1e-5, atol=1e-6, equal_nan=True))
    return bool((one == two).all())


def _libraries(form: Format) -> dict[str, str]:
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for name in _LIBRARIES[form]:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


# -- the value -----------------------------------------------------------------------------------------------------


def _chosen(space: Namespace, source: str) -> Any:
    ref = space.bindings.get(source)
    if ref is None or ref.kind == "deleted":
        raise ModelError(f"there is no variable {source} after the step.")
    try:
        return space[source]
    except NbkubeError as error:
        raise ModelError(f"the variable {source} cannot be loaded: {error}") from None


def _put_modules(task: ExportTask, store: ObjectStore, root: Path) -> None:
    """Write the project's own modules that the step has loaded, as they were then."""
    for path, digest in task.modules.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.get(digest))


def _closure(space: Namespace, source: str, bindings: Mapping[str, OutputRef]) -> dict[str, OutputRef]:
    """Return the stored names that a function may look up, and all that those lead to.

    They are the names in its code and in the code of the notebook's functions and classes that it can reach, with those
    that its example has looked up in any other way.
    """
    wanted = [source, *space.reads]
    found: dict[str, OutputRef] = {}
    while wanted:
        name = wanted.pop()
        ref = bindings.get(name)
        if name in found or ref is None or ref.kind != "blob":
            continue
        found[name] = ref
        wanted += [*ref.late, *names_in(space.load(name))]
    definitions = {name: ref for name, ref in bindings.items() if name.startswith("def:") and ref.kind == "blob"}
    return {**definitions, **found}


def names_in(value: Any) -> set[str]:
    """Return the global names in the code of a function, of a class, or of the class of an object."""
    kind = value if isinstance(value, type) else type(value)
    parts: list[Any] = [value]
    if kind.__module__ == "__main__":
        parts += [one for base in kind.__mro__ if base.__module__ == "__main__" for one in vars(base).values()]
    names: set[str] = set()
    seen: set[int] = set()
    while parts:
        one = parts.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, types.FunctionType):
            parts += [one.__code__, *(one.__defaults__ or ()), getattr(one, "__wrapped__", None)]
            parts += [cell.cell_contents for cell in one.__closure__ or () if _is_filled(cell)]
        elif isinstance(one, types.CodeType):
            names.update(one.co_names)
            parts += [const for const in one.co_consts if isinstance(const, types.CodeType)]
        elif isinstance(one, classmethod | staticmethod | functools.partial | types.MethodType):
            parts.append(getattr(one, "__func__", None) or getattr(one, "func", None))
        elif isinstance(one, property):
            parts += [one.fget, one.fset]
    return names


def _is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def _kept_objects(store: ObjectStore, needed: Mapping[str, OutputRef]) -> tuple[ModelFile, ...]:
    digests = sorted({digest for ref in needed.values() for digest in (ref.blob, *ref.refs)})
    return tuple(ModelFile(f"objects/{digest}", digest, store.size(digest)) for digest in digests)


# -- examples ------------------------------------------------------------------------------------------------------


def _examples(task: ExportTask, space: Namespace, live: Predictor | None) -> Iterator[Any]:
    """Yield values that may be examples, the likeliest first."""
    if task.given is not None:
        yield _from_json(task.given)
        return
    own = f"{task.name.replace('-', '_')}_example"
    named = [task.example] if task.example else [name for name in (own, "model_example") if name in space.bindings]
    for name in named:
        if name not in space.bindings:
            raise ModelError(f"there is no variable {name} that could be the example.")
        yield space[name]
    if named:
        return
    if live is None:
        raise ModelError(
            f"the function {task.source} needs an example of what it is called with. Fix: bind one in the step, as in "
            f'{own} = ["a text", "another one"]'
        )
    if live.inputs or live.columns:
        yield from _suitable(space, task.bindings, live)
        if not live.columns:
            yield _made_up(live)
    raise ModelError(
        f"no example for {task.source} was found. Fix: bind one in the step, as in {own} = test_images[:2]"
    )


def _from_json(given: Any) -> Any:
    """Return an example that came as JSON: numbers are arrays, texts stay a list."""
    if isinstance(given, dict):
        return {name: _from_json(value) for name, value in given.items()}
    array = as_array(given)
    return given if array.dtype.kind == "O" else array


def _suitable(space: Namespace, bindings: Mapping[str, OutputRef], live: Predictor) -> Iterator[Any]:
    """Yield the beginnings of the run's arrays and tables that have the model's columns or shape."""
    kinds = ("numpy.ndarray", "pandas.core.frame.DataFrame", "pandas.DataFrame")
    names = [
        name
        for name, ref in bindings.items()
        if ":" not in name and ref.kind == "blob" and ref.type in kinds and ref.size <= _EXAMPLE_BYTES
    ]
    likely = ("test", "valid", "example", "sample")
    for name in sorted(names, key=lambda one: (not any(word in one.lower() for word in likely), one)):
        value = space[name]
        if live.columns:
            if tuple(map(str, getattr(value, "columns", ()))) == live.columns and len(value):
                yield value[:_ROWS]
        elif live.inputs and len(live.inputs) == 1 and isinstance(value, np.ndarray) and value.ndim:
            shape = live.inputs[0].shape
            fits = len(shape) == value.ndim and all(a in (-1, b) for a, b in zip(shape, value.shape, strict=True))
            if fits and len(value) and value.dtype.kind in "fiub":
                yield value[:_ROWS]


def _made_up(live: Predictor) -> dict[str, Array]:
    """Return an example of nothing but zeros."""
    if not live.inputs:
        raise ModelError("this model does not say what it takes. Fix: give an example: --example FILE.json")
    found = {}
    for one in live.inputs:
        shape = tuple(1 if size == -1 else size for size in one.shape)
        if one.datatype == "BYTES":
            found[one.name] = np.full(shape, "", dtype=object)
        else:
            from nbkube.models.tensors import DATATYPES

            found[one.name] = np.zeros(shape, dtype=DATATYPES[one.datatype])
    return found


def from_given(given: Any, live: Predictor) -> Any:
    """Return an example that came as JSON: the `inputs` of a request, or plain rows."""
    if isinstance(given, dict) and isinstance(given.get("inputs"), list):
        given = given["inputs"]
    if isinstance(given, list) and given and isinstance(given[0], dict) and "datatype" in given[0]:
        return from_example(given)
    if live.columns and isinstance(given, list) and given and isinstance(given[0], dict):
        import pandas as pd

        return pd.DataFrame(given)
    return given


# -- signatures ----------------------------------------------------------------------------------------------------


def _described(live: Predictor, examples: Iterable[Any], calls: Any = None) -> tuple[dict[str, Array], Signature]:
    """Return the first example that the model answers, as arrays, and what the model takes and gives."""
    fault = "there is none"
    for example in examples:
        try:
            inputs, layout = _as_inputs(example, live)
            predictor = live if calls is None else function(calls, Signature((), (), layout=layout))
            outputs = predictor(inputs)
        except (NbkubeError, TensorError) as error:
            fault = str(error)
            continue
        except Exception as error:  # noqa: BLE001 - the model's own code
            fault = f"{type(error).__name__}: {error}"
            if calls is not None:
                break
            continue
        optional = optional_outputs(predictor, inputs) if calls is None else {}
        batched = _is_batched(predictor, inputs, outputs)
        specs = tuple(spec(name, value, batched=batched) for name, value in inputs.items())
        if live.inputs is not None and layout == "tensors":
            text = {one.name: one.text for one in specs}
            specs = tuple(msgspec.structs.replace(one, text=text.get(one.name, True)) for one in live.inputs)
        return inputs, Signature(
            inputs=specs,
            outputs=tuple(spec(name, value, batched=batched) for name, value in outputs.items()),
            optional=tuple(spec(name, value, batched=batched) for name, value in optional.items()),
            batched=batched,
            layout=layout,
        )
    raise ModelError(f"it does not answer its example: {fault}")


def _as_inputs(example: Any, live: Predictor) -> tuple[dict[str, Array], Any]:
    if hasattr(example, "columns") and hasattr(example, "iloc"):
        columns = {str(name): as_array(example[name]) for name in example.columns}
        kinds = {array.dtype for array in columns.values()}
        if len(kinds) == 1 and live.columns and next(iter(kinds)).kind in "fiub":
            return {"input": as_array(example)}, "tensors"
        return columns, "columns"
    names = [one.name for one in live.inputs] if live.inputs else ["input"]
    if isinstance(example, dict):
        layout = "list" if all(isinstance(value, list) for value in example.values()) else "tensors"
        return {str(name): _typed(as_array(value), live, str(name)) for name, value in example.items()}, layout
    return {names[0]: _typed(as_array(example), live, names[0])}, "list" if isinstance(example, list) else "tensors"


def _typed(array: Array, live: Predictor, name: str) -> Array:
    """Return an array in the type that the model says it takes."""
    from nbkube.models.tensors import DATATYPES

    wanted = next((one for one in live.inputs or () if one.name == name), None)
    if wanted is None or wanted.datatype == "BYTES" or array.dtype.kind == "O":
        return array
    return array.astype(DATATYPES[wanted.datatype])


def _is_batched(live: Predictor, inputs: Mapping[str, Array], outputs: Mapping[str, Array]) -> bool:
    """Tell whether twice the examples give twice the answers, the same ones."""
    counts = {len(value) for value in (*inputs.values(), *outputs.values())}
    if len(counts) != 1:
        return False
    try:
        twice = live({name: np.concatenate([value, value]) for name, value in inputs.items()})
    except Exception:  # noqa: BLE001 - the model's own code
        return False
    return all(
        name in twice and len(twice[name]) == 2 * len(value) and _same(value, twice[name][: len(value)])
        for name, value in outputs.items()
    )


__all__ = ["Tensor", "draft_of_file", "draft_of_value"]
