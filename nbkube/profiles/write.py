"""Adding a profile to a file, without touching what is there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbkube.errors import ProfileError
from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline.quantities import AmountError
from nbkube.profiles.credentials import looks_secret, names_credential
from nbkube.profiles.read import FILE, LOCAL, check_text
from nbkube.profiles.settings import SETTINGS

__all__ = ["FILE", "add_profile"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def add_profile(path: Path, name: str, settings: Mapping[str, str]) -> Path:
    """Append a profile to a nbkube.toml, which is made if need be (the profile is then its default).

    Args:
        path: the file.
        name: the profile's name.
        settings: setting -> value as typed, such as `store.url` -> `s3://bucket`; lists and numbers as in TOML.

    Raises:
        ProfileError: the file has a profile of this name or is wrong, or a setting is.
    """
    if not _NAME.fullmatch(name) or name == LOCAL:
        raise ProfileError(f"{name!r} cannot name a profile. Fix: use lower-case letters, digits and dashes, e.g. lab")
    values = {key: _value(key, text) for key, text in settings.items()}
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    if name in _profiles(before, path):
        raise ProfileError(f"{path} has a profile {name} already. Fix: edit it there, or choose another name")
    text = before.rstrip("\n") + "\n\n" if before.strip() else f'default = "{name}"\n\n'
    text += _block(name, values)
    faults = check_text(text, path)
    if faults:
        raise ProfileError(diagnostics=faults)
    _replace(path, text)
    return path


def _profiles(text: str, path: Path) -> Mapping[str, Any]:
    faults = check_text(text, path)
    if faults:
        raise ProfileError(diagnostics=faults)
    found: Mapping[str, Any] = tomllib.loads(text).get("profiles", {})
    return found


def _value(key: str, text: str) -> Any:
    """Return what TOML would hold for a setting as it was typed: quotes may be left out."""
    if names_credential(key) or looks_secret(text):
        raise ProfileError(f"{key} looks like a credential, and those are never in a profile")
    setting = SETTINGS.get(key)
    if setting is None:
        raise ProfileError(f"unknown setting {key!r}. Fix: {did_you_mean(key, SETTINGS, ', '.join(SETTINGS))}")
    candidates: list[Any] = [text]
    with contextlib.suppress(tomllib.TOMLDecodeError):
        candidates.insert(0, tomllib.loads(f"value = {text}")["value"])
    for candidate in candidates:
        try:
            setting.parse(candidate)
        except AmountError as error:
            fault = error
        else:
            return candidate
    raise ProfileError(f"{key}: {fault}. Fix: {fault.hint}")


def _block(name: str, values: Mapping[str, Any]) -> str:
    """Return the profile's tables; settings that were not given are there as comments."""
    tables: dict[str, list[str]] = {"": []}
    for key, setting in SETTINGS.items():
        table, _, short = key.rpartition(".")
        line = f"{short} = {_toml(values[key])}" if key in values else f"# {short} = {setting.form}  # {setting.help}"
        tables.setdefault(table, []).append(line)
    parts = []
    for table, lines in tables.items():
        head = f"[profiles.{name}.{table}]" if table else f"[profiles.{name}]"
        parts.append("\n".join([head, *lines]))
    return "\n\n".join(parts) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # JSON's strings, numbers and booleans are TOML's, too.
    return json.dumps(value, ensure_ascii=False)


def _replace(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
