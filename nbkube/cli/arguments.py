"""Reading what was typed: parameters, options of steps, runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nbkube.errors import NbkubeError, NotFoundError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs instead of text for people.")]

Options = dict[str, dict[str, Any]]


def assignments(texts: Iterable[str], option: str) -> dict[str, str]:
    """Read NAME=VALUE texts; a name given twice or a text without '=' is an error that says how to write it."""
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise NbkubeError(f"{option} {text!r} is not NAME=VALUE. Fix: write {option} {name or 'NAME'}=VALUE.")
        if name in values:
            raise NbkubeError(f"{option} {name} is given twice. Fix: leave one of them out.")
        values[name] = value
    return values


def step_options(texts: Iterable[str]) -> Options:
    """Read STEP.OPTION=VALUE texts into {step: {option: text}}. Options that may repeat collect into a list."""
    options: Options = {}
    for text in texts:
        target, equals, value = text.partition("=")
        step, dot, option = target.strip().rpartition(".")
        if not equals or not dot or not step or not option:
            raise NbkubeError(f"--set {text!r} is not STEP.OPTION=VALUE. Fix: write e.g. --set train.memory=4Gi.")
        chosen = options.setdefault(step, {})
        if option not in chosen:
            chosen[option] = value
        elif isinstance(chosen[option], list):
            chosen[option].append(value)
        else:
            chosen[option] = [chosen[option], value]
    return options


def duration(text: str, option: str) -> float:
    """Read a time such as 90s, 30m, 2h; `0` is allowed. Returns seconds."""
    from nbkube.pipeline.quantities import AmountError
    from nbkube.pipeline.quantities import duration as seconds

    if text == "0":
        return 0.0
    try:
        return seconds(text)
    except AmountError as error:
        raise NbkubeError(f"{option} {error}. Fix: {error.hint}.") from None


def parameter_file(path: Path | None) -> dict[str, Any]:
    """Read parameters from a JSON or TOML file: one table of names and values."""
    if path is None:
        return {}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NbkubeError(f"--params {path}: {error.strerror}. Fix: give a readable .json or .toml file.") from None
    try:
        values = _decode(path, data)
    except ValueError as error:  # both decoders raise kinds of ValueError
        raise NbkubeError(f"--params {path} cannot be read: {error}. Fix: correct the file.") from None
    if not isinstance(values, dict):
        raise NbkubeError(f'--params {path} holds no names. Fix: write an object such as {{"epochs": 5}}.')
    return values


def _decode(path: Path, data: bytes) -> Any:
    if path.suffix == ".toml":
        import tomllib

        return tomllib.loads(data.decode())
    if path.suffix != ".json":
        raise NbkubeError(f"--params {path}: unknown kind of file. Fix: use .json or .toml.")
    import json

    return json.loads(data)


def existing_notebook(path: Path) -> Path:
    """Return the path if it is there; else an error that names the notebooks that look alike."""
    if path.exists() or path.is_symlink():
        return path
    folder = path.parent
    if not folder.is_dir():
        raise NotFoundError(f"{path}: there is no folder {folder}. Fix: check the path.")
    beside = sorted(one.name for one in folder.glob("*.ipynb"))
    raise NotFoundError(f"{path}: no such notebook.{suggestion(path.name, beside, folder)}")


def suggestion(name: str, known: Sequence[str], folder: Path | None = None) -> str:
    """Return ' Fix: did you mean …?' for a mistyped name, or what there is, or nothing."""
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.75)
    shown = [str(folder / one) if folder and str(folder) != "." else one for one in close or known[:5]]
    if close:
        return f" Fix: did you mean {' or '.join(shown)}?"
    return f" Fix: choose one of {', '.join(shown)}{' …' if len(known) > 5 else ''}." if shown else ""


def cell_options(texts: Iterable[str]) -> dict[str, Any]:
    """Read NAME=VALUE texts of one step's options; options that may repeat collect into a list."""
    return step_options(f"cell.{text}" for text in texts).get("cell", {})
