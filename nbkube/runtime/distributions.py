"""Which installed distributions, in which version, the modules that a step has loaded belong to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

_lock = threading.Lock()
_known: dict[tuple[tuple[str, int], ...], Installed] = {}


class Installed(msgspec.Struct, frozen=True):
    """What is installed: `versions` by normalised distribution name, `owners` of each top-level module."""

    versions: dict[str, str]
    owners: dict[str, tuple[str, ...]]


def distributions(modules: Iterable[str], module_files: Iterable[str] = ()) -> dict[str, str]:
    """Return name -> version of the distributions that own top-level modules.

    Modules that no distribution owns are left out, and so is the content of editable installs: their files count as
    files that the step has read (`module_files`, part of the observed files), each by its digest. Installs from a
    folder or a repository count by what is in them, since their version does not change with it.
    """
    del module_files
    known = installed()
    names = {owner for module in modules for owner in known.owners.get(module, ())}
    return {name: known.versions[name] for name in sorted(names)}


def installed_versions(names: Iterable[str]) -> Mapping[str, str]:
    """Return the present version of distributions by name, as `distributions` gives it; "" where there is none."""
    versions = installed().versions
    return {name: versions.get(name, "") for name in names}


def installed() -> Installed:
    """Return what is installed here, read again only when a folder of the search path has changed."""
    folders = tuple(dict.fromkeys(os.path.abspath(path or ".") for path in sys.path if os.path.isdir(path or ".")))
    stamp = tuple((folder, os.stat(folder).st_mtime_ns) for folder in folders)
    with _lock:
        if stamp not in _known:
            _known.clear()
            _known[stamp] = _read(folders)
        return _known[stamp]


def _read(folders: Iterable[str]) -> Installed:
    versions: dict[str, str] = {}
    owners: dict[str, set[str]] = {}
    for folder in folders:
        for info in sorted(Path(folder).glob("*.dist-info")):
            name, _, version = info.name.removesuffix(".dist-info").partition("-")
            name = re.sub(r"[-_.]+", "-", name).lower()
            if name in versions:
                continue  # an earlier folder of the search path wins
            versions[name] = version + _content_mark(info)
            for module in _top_level(info):
                owners.setdefault(module, set()).add(name)
    return Installed(versions, {module: tuple(sorted(names)) for module, names in owners.items()})


def _content_mark(info: Path) -> str:
    """Return what tells installs of one version from one another, where the version alone does not."""
    try:
        origin = json.loads((info / "direct_url.json").read_bytes())
        if not isinstance(origin, dict) or "archive_info" in origin or origin.get("dir_info", {}).get("editable"):
            return ""
        return "+" + hashlib.sha256((info / "RECORD").read_bytes()).hexdigest()[:16]
    except (OSError, ValueError):
        return ""


def _top_level(info: Path) -> set[str]:
    """Return the importable top-level names of a distribution."""
    found: set[str] = set()
    with contextlib.suppress(OSError, ValueError):
        found.update((info / "top_level.txt").read_text("utf-8").split())
    try:
        record = (info / "RECORD").read_text("utf-8", "replace")
    except OSError:
        return found
    for line in record.splitlines():
        head, slash, _ = line.partition("/")
        if slash:
            found.add(head)
        elif (name := line.partition(",")[0]).endswith((".py", ".so", ".pyd")):
            found.add(name.partition(".")[0])
    return {name for name in found if name.isidentifier()}
