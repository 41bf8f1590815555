"""From a step of a run, or a file, to a registered version; the work is done in a process of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import NbkubeError, NotFoundError
from nbkube.models import consent
from nbkube.models.exporter import ExportResult, ExportTask
from nbkube.models.formats import ModelError
from nbkube.models.model import ModelVersion, check_model_name
from nbkube.models.registry import ModelRegistry
from nbkube.runs import RunState, StepRun
from nbkube.runtime.cache import read_manifest
from nbkube.runtime.program import ReplayProgram, StepManifest, StepProgram
from nbkube.state.model import FileEntry, OutputRef
from nbkube.storage.model import ObjectStore

_SECONDS = 600.0
_LARGE = ("tensorflow", "keras", "torch", "sklearn")
"""Libraries that take long to import."""
_FRAMEWORKS = ("sklearn.", "keras.", "xgboost.", "lightgbm.", "tensorflow.", "onnx.", "imblearn.")


class Origin(msgspec.Struct, frozen=True):
    """A step's result as a place where models come from: variables after the step, files and names of its own."""

    run: str
    step: str
    manifest: str
    program: StepProgram
    bindings: dict[str, OutputRef]
    own: dict[str, OutputRef]
    files: tuple[FileEntry, ...]
    modules: dict[str, str]
    root: str
    cwd: str
    metrics: dict[str, Any]


def origin_of(store: ObjectStore, state: RunState, name: str, programs: Mapping[str, StepProgram], cwd: str) -> Origin:
    """Return what the step `name` of a run has left.

    Raises:
        NotFoundError: there is no such step, or it has no result.
    """
    bindings: dict[str, OutputRef] = {}
    for step in state.steps:
        manifest = _result(store, step)
        if manifest is not None:
            bindings.update(manifest.outputs)
        if step.name != name:
            continue
        if manifest is None:
            raise NotFoundError(f"step {name} of run {state.id} has no result: it is {step.phase}.")
        left = {key: ref for key, ref in bindings.items() if ref.kind != "deleted"}
        modules = {path: digest for path, digest in manifest.files.read.items() if path.endswith(".py")}
        return Origin(
            state.id, name, step.manifest, programs[name], left, dict(manifest.outputs), manifest.diff.changed, modules,
            state.run.root, cwd, {**state.metrics, **manifest.metrics},
        )  # fmt: skip
    raise NotFoundError(
        f"run {state.id} has no step {name!r}. Its steps: {', '.join(one.name for one in state.steps)}."
    )


def _result(store: ObjectStore, step: StepRun) -> StepManifest | None:
    return read_manifest(store, step.manifest) if step.manifest else None


def register(
    store: ObjectStore, option: str, origin: Origin, *, example: str = "", exporter: Exporter | None = None
) -> ModelVersion:
    """Register what a step's option `model` names: NAME, or NAME=VARIABLE, or NAME=FILE; return the version.

    With NAME alone it is the variable of that name, else the only model that the step has bound, else the only file or
    folder of that name that it has written.

    Raises:
        ModelError: there is no such thing, or it is no model.
    """
    name, _, source = option.partition("=")
    check_model_name(name)
    made_from = hashlib.sha256(msgspec.json.encode([option, example, origin.manifest])).hexdigest()
    newest = ModelRegistry(store).versions(name)[-1:]
    same = [one for one in newest if one.made_from == made_from]
    if same and (not same[0].runs_code or consent.is_trusted(same[0].digest)):
        return same[0]
    variable, path = _source(name, source, origin)
    task = ExportTask(
        store=store.url,
        name=name,
        source=variable,
        bindings=origin.bindings,
        replay=origin.program.replay,
        env=origin.program.env,
        modules=_kept_modules(store, origin),
        example=example,
        metrics=origin.metrics,
        run=origin.run,
        step=origin.step,
        made_from=made_from,
    )
    if not path:
        return _registered(store, task, exporter)
    import tempfile

    with tempfile.TemporaryDirectory(prefix="nbkube-model-") as place:
        found = _written(store, path, origin, Path(place))
        return _registered(store, msgspec.structs.replace(task, source="", path=str(found)))


def _source(name: str, source: str, origin: Origin) -> tuple[str, str]:
    """Return the variable, or the path in the project, that an option means."""
    if source.isidentifier() and _stored(origin.bindings.get(source)):
        return source, ""
    if source:
        if _below(source, origin):
            return "", source
        raise ModelError(f"step {origin.step} has neither bound a variable {source} nor written such a file.")
    same = name.replace("-", "_")
    if _stored(origin.own.get(same)) and origin.own[same].type.startswith(_FRAMEWORKS):
        return same, ""
    models = [
        key
        for key, ref in origin.own.items()
        if ":" not in key
        and _stored(ref)
        and ref.type.startswith(_FRAMEWORKS)
        and ref.type != "sklearn.utils._bunch.Bunch"
    ]
    if len(models) == 1:
        return models[0], ""
    if _stored(origin.own.get("predict")) and not models:
        return "predict", ""
    files = [one.path for one in origin.files if one.kind != "link" and Path(one.path).stem == name]
    if len(files) == 1 and not models:
        return "", files[0]
    found = f"it has bound {', '.join(sorted(models)[:5])}" if models else "it has bound no model"
    raise ModelError(
        f"what step {origin.step} means by the model {name} is not clear: {found}. Fix: write {name}=VARIABLE."
    )


def _stored(ref: OutputRef | None) -> bool:
    return ref is not None and ref.kind == "blob"


def _below(source: str, origin: Origin) -> list[FileEntry]:
    """Return the step's files at a path, which is meant from the notebook's folder or from the project's."""
    for base in (Path(origin.cwd, source), Path(source)):
        place = Path(*[part for part in base.parts if part != "."]).as_posix()
        found = [one for one in origin.files if one.kind == "file" and (one.path + "/").startswith(place + "/")]
        if found:
            return found
    return []


def _written(store: ObjectStore, source: str, origin: Origin, place: Path) -> Path:
    """Write the files at a path of a step's result below a folder; return where they are."""
    entries = _below(source, origin)
    top = Path(source).name
    for one in entries:
        inside = one.path.partition(f"{top}/")[2] if not one.path.endswith(f"/{top}") and one.path != top else ""
        target = place / top / inside if inside else place / top
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(store.get(one.digest))
    return place / top


def _kept_modules(store: ObjectStore, origin: Origin) -> dict[str, str]:
    """Return the project's modules that the step has read, put into the store where they are still as it read them."""
    kept = {}
    for path, digest in origin.modules.items():
        file = Path(origin.root, path)
        if store.has(digest) or file.is_file() and store.put_file(file) == digest:
            kept[path] = digest
    return kept


def add_file(
    store: ObjectStore, name: str, path: Path, *, example: Any = None, trust: str = "", metrics: Mapping[str, Any] = {}
) -> ModelVersion:
    """Register a file or folder as a version of a model.

    Raises:
        NotFoundError: there is nothing at the path.
        ModelError: it is no model that nbkube knows, or does not answer.
        ConsentError: it is a pickle, and `trust` is not its digest.
    """
    from nbkube.models.formats import files_below, format_of

    check_model_name(name)
    names = files_below(path)
    if format_of(path if path.is_dir() else path.parent, names)[0] == "pickle":
        # Loading it to see what it takes runs its code, so the question comes first.
        consent.require(f"{path.name} is a pickle: it", store.put_file(path), trust)
    task = ExportTask(store.url, name, path=str(path.absolute()), given=example, metrics=dict(metrics))
    return _registered(store, task)


def _registered(store: ObjectStore, task: ExportTask, exporter: Exporter | None = None) -> ModelVersion:
    draft = (exporter or Exporter()).export(task)
    version = ModelRegistry(store).add(draft)
    if version.runs_code:
        # It has been loaded here just now: by its own run, or with consent.
        consent.trust(version.digest)
    return version


class Exporter:
    """A process that exports one model. Started early it has imported the step's large libraries when it gets its task.

    Args:
        program: the step that the model will be of; None: nothing is imported beforehand.
    """

    def __init__(self, program: StepProgram | None = None) -> None:
        ahead = [name for name in _LARGE if program and any(_mentions(one, name) for one in program.replay)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "nbkube.models.exporter", *ahead],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **(program.env if program else {})},
        )

    def export(self, task: ExportTask) -> ModelVersion:
        """Return the draft of a version.

        Raises:
            ModelError: it is no model, or the process ended.
            subprocess.TimeoutExpired: it took too long.
        """
        try:
            answer, said = self._process.communicate(msgspec.json.encode(task), timeout=_SECONDS)
        finally:
            self.close()
        try:
            result = from_json(answer, ExportResult)
        except msgspec.DecodeError:
            words = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
            status = self._process.returncode
            raise ModelError(f"the process that exports models ended: {words or f'status {status}'}") from None
        if result.draft is None:
            raise ModelError(f"model {task.name}: {result.error}")
        return result.draft

    def close(self) -> None:
        """End the process if it has not ended."""
        self._process.kill()
        with contextlib.suppress(OSError, ValueError):
            self._process.communicate()


def _mentions(statement: ReplayProgram, name: str) -> bool:
    return statement.kind == "import" and re.search(rf"\b{name}\b", statement.source) is not None


def register_all(
    store: ObjectStore,
    state: RunState,
    wanted: Mapping[str, str],
    programs: Mapping[str, StepProgram],
    cwd: str,
    exporters: Mapping[str, Exporter],
) -> Iterable[str]:
    """Register the models of a run that has succeeded; yield a sentence for each that could not be.

    `wanted` maps steps to their option `model`; `exporters` are processes for some of them that are there already.
    """
    for step, option in wanted.items():
        try:
            origin = origin_of(store, state, step, programs, cwd)
            register(store, option, origin, exporter=exporters.get(step))
        except NbkubeError as error:
            yield f"step {step}: {error}"
        except subprocess.TimeoutExpired:
            yield f"step {step}: exporting the model {option} took longer than {_SECONDS:g} s"
