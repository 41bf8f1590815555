"""Reading profiles: nbkube.toml in the project's folder, then the user's own."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_plain
from nbkube.errors import Diagnostic, Place, ProfileError
from nbkube.notebook.suggest import closest, did_you_mean
from nbkube.pipeline.quantities import AmountError
from nbkube.profiles.credentials import looks_secret, names_credential
from nbkube.profiles.lines import line_of
from nbkube.profiles.model import Profile, Profiles
from nbkube.profiles.settings import SETTINGS, TABLES

FILE = "nbkube.toml"
LOCAL = "local"
CHOICE = "NBKUBE_PROFILE"
_MAX_BYTES = 2**20


class _File(msgspec.Struct):
    """One file: its default, the settings of each profile by name, and what is wrong."""

    path: Path
    default: str = ""
    profiles: dict[str, dict[str, Any]] = {}
    faults: list[Diagnostic] = []


def user_file() -> Path:
    """Return where the user's own profiles are: $XDG_CONFIG_HOME/nbkube/nbkube.toml, by default below ~/.config."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if os.path.isabs(base) else Path("~/.config").expanduser()) / "nbkube" / FILE


def load_profiles(project: Path | None) -> Profiles:
    """Return all profiles: those of `project`/nbkube.toml, then the user's.

    A profile of both files has the project's settings, and the user's where the project leaves one open. There is
    always `local`.

    Raises:
        ProfileError: a file is wrong; all faults are reported, each with its line.
    """
    paths = [*([project / FILE] if project else []), user_file()]
    files = [_read(path) for path in paths if path.is_file()]
    faults = [fault for file in files for fault in file.faults]
    if faults:
        raise ProfileError(diagnostics=faults)
    merged: dict[str, dict[str, Any]] = {LOCAL: {}}
    origins: dict[str, tuple[str, ...]] = {}
    for file in files:
        for name, settings in file.profiles.items():
            for one in ("store.ca", "registry-ca"):
                if settings.get(one):
                    settings[one] = str(file.path.parent / Path(settings[one]).expanduser())
            merged[name] = settings | merged.get(name, {})
            origins[name] = (*origins.get(name, ()), str(file.path))
    default = next((file.default for file in files if file.default), LOCAL)
    profiles = {name: _profile(name, settings) for name, settings in merged.items()}
    return Profiles(default, profiles, tuple(str(file.path) for file in files), origins)


def load_profile(name: str = "", project: Path | None = None) -> Profile:
    """Return a profile.

    Args:
        name: which one; "" takes that of the variable NBKUBE_PROFILE, else the files' `default`, else `local`.
        project: the project's folder, whose nbkube.toml comes first.

    Raises:
        ProfileError: there is none of this name, or a file is wrong.
    """
    known = load_profiles(project)
    wanted = name or os.environ.get(CHOICE, "") or known.default
    if wanted in known.profiles:
        return known.profiles[wanted]
    names = sorted(known.profiles)
    hint = did_you_mean(wanted, names, f"choose one of {', '.join(names)}, or make it: nbkube profile init {wanted}")
    raise ProfileError(f"there is no profile {wanted!r}. Fix: {hint}")


def check_text(text: str, path: Path) -> list[Diagnostic]:
    """Return what is wrong with the text of a profile file."""
    return _parse(text, path).faults


def _profile(name: str, settings: Mapping[str, Any]) -> Profile:
    tree: dict[str, Any] = {"name": name}
    for setting, value in settings.items():
        table, _, key = setting.rpartition(".")
        (tree.setdefault(table, {}) if table else tree)[key] = value
    return from_plain(tree, Profile)


def _read(path: Path) -> _File:
    try:
        data = path.read_bytes()
        text = data.decode("utf-8")
    except OSError as error:
        return _broken(path, f"cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        return _broken(path, "is not UTF-8")
    return _parse(text, path) if len(data) <= _MAX_BYTES else _broken(path, "is larger than 1 MiB")


def _broken(path: Path, message: str, line: int | None = None) -> _File:
    fault = Diagnostic("error", "bad-profile-file", Place(str(path), line=line), message)
    return _File(path, faults=[fault])


def _parse(text: str, path: Path) -> _File:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, place = str(error).partition(" (at line ")
        line = place.partition(",")[0]
        return _broken(path, f"is no TOML: {message}", int(line) if line.isdigit() else None)
    file = _File(path, profiles={}, faults=[])
    report = _Report(text, path, file.faults)
    for key in document:
        if key not in ("default", "profiles"):
            report(("unknown-setting", (key,)), f"unknown setting {key!r}", _meant(key, ("default", "profiles")))
    profiles = document.get("profiles", {})
    if not isinstance(profiles, dict):
        report(("bad-setting", ("profiles",)), "profiles is no table", "write [profiles.NAME]")
        profiles = {}
    for name, table in profiles.items():
        if not isinstance(table, dict):
            report(("bad-setting", ("profiles", name)), f"{name!r} is no table", f"write [profiles.{name}]")
            continue
        file.profiles[name] = dict(_settings(table, name, report))
    default = document.get("default", "")
    if isinstance(default, str):
        file.default = default
    else:
        report(("bad-setting", ("default",)), "default is no text", "write the name of a profile in quotes")
    return file


class _Report:
    """Collects faults, each at the line of its key."""

    def __init__(self, text: str, path: Path, faults: list[Diagnostic]) -> None:
        self._text = text
        self._path = path
        self._faults = faults

    def __call__(self, where: tuple[str, tuple[str, ...]], message: str, hint: str) -> None:
        code, path = where
        place = Place(str(self._path), line=line_of(self._text, path))
        self._faults.append(Diagnostic("error", code, place, message, hint))


def _settings(table: Mapping[str, Any], profile: str, report: _Report) -> Iterator[tuple[str, Any]]:
    """Yield the settings of a profile's table that are right; report the others."""
    for name, value in _leaves(table):
        where = ("profiles", profile, *name.split("."))
        secret = name not in SETTINGS and names_credential(name)
        if secret or any(looks_secret(text) for text in _strings(value)):
            # The value itself is not shown: messages end up in logs.
            report(
                ("credential-in-profile", where),
                f"{name} looks like a credential, and those are never in a profile",
                "take it out (and renew it if the file was shared); keys come from the AWS variables or files, the "
                "kubeconfig, or a Kubernetes Secret named by store.secret",
            )
            continue
        setting = SETTINGS.get(name)
        if setting is None:
            report(("unknown-setting", where), f"unknown setting {name!r}", _meant(name, SETTINGS))
            continue
        try:
            yield name, setting.parse(value)
        except AmountError as error:
            report(("bad-setting", where), f"{name}: {error}", error.hint)


def _leaves(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if key in TABLES and isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in value.items())
        else:
            yield key, value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from _strings(key)
            yield from _strings(one)


def _meant(name: str, known: Mapping[str, Any] | tuple[str, ...]) -> str:
    if name in TABLES:
        return (
            f"it is a table: write {name}.KEY = …; there are {', '.join(one for one in known if one.startswith(name))}"
        )
    found = closest(name, known) or next((one for one in known if one.rpartition(".")[2] == name), "")
    if not found and "." in name:
        table = name.partition(".")[0] + "."
        near = closest(name.removeprefix(table), [one.removeprefix(table) for one in known if one.startswith(table)])
        found = table + near if near else ""
    return f"did you mean {found}?" if found else f"there are {', '.join(known)}"
