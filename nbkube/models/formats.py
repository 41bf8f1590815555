"""What the files of a model are, told by their content; nothing is loaded.

A name proves nothing: a file that says it is a scikit-learn archive and holds a pickle is refused by name.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from nbkube.errors import DamagedObjectError, NbkubeError, NotFoundError
from nbkube.models.model import Format, ModelFile, ModelVersion
from nbkube.storage.model import ObjectStore

_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_PACKED = (b"\x78", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x93NUMPY")
_PICKLED_NAMES = (".pkl", ".pickle", ".joblib")


class ModelError(NbkubeError):
    """A model that cannot be kept, loaded or called; the message names it and says why."""


def format_of(folder: Path, files: Sequence[str]) -> tuple[Format, str]:
    """Return the format of a model's files and which of them (or "" for the folder) it is loaded from.

    Raises:
        ModelError: the files are no model of a known format.
    """
    if "saved_model.pb" in files:
        return "tensorflow", ""
    candidates = [name for name in files if not name.endswith((".md", "MLmodel", ".yaml", ".yml"))]
    if len(candidates) != 1:
        raise ModelError(
            f"{folder.name}: {len(files)} files and no saved_model.pb. Fix: name one file, or the folder of a "
            "TensorFlow SavedModel."
        )
    name = candidates[0]
    return _format_of_file(folder / name), name


def _format_of_file(path: Path) -> Format:
    with open(path, "rb") as file:
        head = file.read(512)
    suffix = path.suffix.lower()
    if _PICKLE.match(head):
        if suffix in _PICKLED_NAMES:
            return "pickle"
        raise ModelError(f"{path.name} is a pickle, whatever its name says. It is refused: a pickle can run any code.")
    if suffix in _PICKLED_NAMES and head.startswith(_PACKED):
        return "pickle"
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
        if "schema.json" in names:
            return "sklearn"
        if {"config.json", "metadata.json"} <= names:
            return "keras"
    if head.startswith(b"tree\n"):
        return "lightgbm"
    if suffix == ".ubj" and head.startswith(b"{") or (suffix == ".json" and b'"learner"' in head):
        return "xgboost"
    if suffix == ".onnx" and head.startswith(b"\x08"):
        return "onnx"
    raise ModelError(
        f"{path.name} is no model that nbkube knows. Known are: scikit-learn (.skops), Keras (.keras), TensorFlow "
        "SavedModel (folder), XGBoost (.ubj, .json), LightGBM (.txt), ONNX (.onnx), and pickles (.joblib, .pkl) "
        "with consent."
    )


def files_below(path: Path) -> list[str]:
    """Return the files of a model at a path (a file is its own only one), relative and sorted.

    Raises:
        NotFoundError: there is nothing.
        ModelError: a link is among them, which could lead anywhere.
    """
    if not path.exists():
        raise NotFoundError(f"{path}: there is no such file or folder.")
    if path.is_file():
        return [path.name]
    found = []
    for entry in sorted(path.rglob("*")):
        if entry.is_symlink():
            raise ModelError(f"{entry} is a link. Fix: put the file itself into the model's folder.")
        if entry.is_file():
            found.append(entry.relative_to(path).as_posix())
    return found


def keep(store: ObjectStore, folder: Path, files: Sequence[str]) -> tuple[ModelFile, ...]:
    """Put files into the store and return them as those of a model."""
    return tuple(ModelFile(name, store.put_file(folder / name), (folder / name).stat().st_size) for name in files)


def fetch(store: ObjectStore, version: ModelVersion, target: Path) -> Path:
    """Write the files of a version below a folder, each verified by its digest, and return the folder.

    Raises:
        DamagedObjectError: a file is not the one that was registered; the message names it.
        NotFoundError: a file is no longer in the store.
        ModelError: a path leads out of the folder.
    """
    what = f"model {version.name} version {version.version}"
    for one in version.files:
        relative = PurePosixPath(one.path)
        if relative.is_absolute() or ".." in relative.parts or not relative.parts:
            raise ModelError(f"{what}: the path {one.path[:80]!r} leads out of the model. It is refused.")
        place = target / relative
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            data = store.local_path(one.digest)
        except (DamagedObjectError, NotFoundError) as error:
            fault = "was changed since it was registered" if isinstance(error, DamagedObjectError) else "is gone"
            raise type(error)(
                f"{what}: its file {one.path} {fault} (object {one.digest[:12]}…). It is not served. "
                "Fix: register the model again, by running its notebook."
            ) from None
        with open(data, "rb") as source, open(place, "xb") as copy:
            while piece := source.read(1 << 20):
                copy.write(piece)
    check_disguise(version, target)
    return target


def check_disguise(version: ModelVersion, folder: Path) -> None:
    """Refuse files that are something else than the version's format says.

    Raises:
        ModelError: names the file.
    """
    if version.format == "python":
        return
    found, _ = format_of(folder, [one.path for one in version.files if one.path != "classes.json"])
    if found != version.format:
        raise ModelError(
            f"model {version.name} version {version.version} says it is of the format {version.format}, but its files "
            f"are {found}. It is refused."
        )
