"""The process in which a variable of a run, or a file, becomes the files of a model.

    python -m nbkube.models.exporter [MODULE…] < task > result

The modules are imported while there is no task yet. The process loads the value as a step would, writes it in a format
of its framework, loads that again, predicts the example with both, and tells what the model takes and gives. Only what
has answered is registered.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import NbkubeError
from nbkube.models.formats import check_disguise, files_below, format_of, keep
from nbkube.models.model import ModelVersion, Signature
from nbkube.runtime.program import ReplayProgram
from nbkube.state.model import OutputRef


class ExportTask(msgspec.Struct, frozen=True, omit_defaults=True):
    """What becomes a model: a variable (`source`) among `bindings`, or the file or folder at `path`.

    `replay`, `env` and `modules` (paths in the project by digest) are what the step of a variable begins with.
    `example`: the variable that holds an example ("": one is looked for); `given`: an example in JSON.
    """

    store: str
    name: str
    source: str = ""
    path: str = ""
    bindings: dict[str, OutputRef] = {}
    replay: tuple[ReplayProgram, ...] = ()
    env: dict[str, str] = {}
    modules: dict[str, str] = {}
    example: str = ""
    given: Any = None
    metrics: dict[str, Any] = {}
    run: str = ""
    step: str = ""
    made_from: str = ""


class ExportResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A draft of a version, without its number; or why there is none."""

    draft: ModelVersion | None = None
    error: str = ""


def main() -> None:
    """Read a task from stdin, write the result to stdout; what models print goes to stderr."""
    answer = os.dup(1)
    os.dup2(2, 1)
    for name in sys.argv[1:]:
        with contextlib.suppress(Exception):  # it is told when the task needs it
            importlib.import_module(name)
    given = sys.stdin.buffer.read()
    if not given:
        os._exit(1)  # the run has ended without a model
    task = from_json(given, ExportTask)
    try:
        with tempfile.TemporaryDirectory(prefix="nbkube-model-") as place:
            result = ExportResult(draft=export(task, Path(place)))
    except NbkubeError as error:
        result = ExportResult(error=str(error))
    data = msgspec.json.encode(result)
    while data:
        data = data[os.write(answer, data) :]
    os._exit(0)  # threads of frameworks are not waited for


def export(task: ExportTask, place: Path) -> ModelVersion:
    """Return the draft of a version whose files are in the store.

    Raises:
        ModelError: it is no model, or its copy does not answer as it does.
    """
    from nbkube.models.drafts import draft_of_file, draft_of_value
    from nbkube.storage import open_store

    store = open_store(task.store)
    if not task.path:
        return draft_of_value(task, store, place)
    given = Path(task.path)
    names = files_below(given)
    folder = given if given.is_dir() else given.parent
    form, _ = format_of(folder, names)
    files = keep(store, folder, names)
    draft = ModelVersion(task.name, 0, form, files, Signature((), ()), "")
    check_disguise(draft, _copied(folder, names, place / "files"))
    return draft_of_file(task, store, draft, place / "files")


def _copied(folder: Path, names: list[str], target: Path) -> Path:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    return target


if __name__ == "__main__":
    main()
