"""Used workspaces made ready for the next unit: quicker than new ones, for few files differ from unit to unit.

Making and removing thousands of files is slow on many disks, and data files are large. A workspace whose processes have
ended is parked; the next one is made from it by undoing what the processes did. A file stays only if it still has the
identity it was given, and if the next unit is to see the very same content.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from nbkube.state.digests import Identity, identity_of

_MOST = 4


class Parked:
    """A used workspace: where it lies, what it held at the start, and its files' identities then."""

    def __init__(self, folder: Path, nodes: Mapping[str, object], identities: Mapping[str, Identity]) -> None:
        self.folder = folder
        self.nodes = nodes
        self.identities = identities


class Yard:
    """The parked workspaces of one run, in a folder that its owner removes in the end. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parked: list[Parked] = []
        self._count = 0
        self._lock = threading.Lock()

    def park(self, workspace: Path, nodes: Mapping[str, object], identities: Mapping[str, Identity]) -> bool:
        """Take over a workspace whose processes have ended; False if it cannot be kept."""
        with self._lock:
            if len(self._parked) >= _MOST:
                return False
            self._count += 1
            place = self._folder / str(self._count)
            try:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                os.rename(workspace, place)
            except OSError:
                return False
            self._parked.append(Parked(place, nodes, identities))
            return True

    def take(self, target: Path) -> Parked | None:
        """Move a parked workspace to a path that does not exist or is an empty folder; None if there is none."""
        with self._lock:
            if not self._parked:
                return None
            parked = self._parked.pop()
        try:
            os.rename(parked.folder, target)
        except OSError:
            remove_tree(parked.folder)
            return None
        parked.folder = target
        return parked


def clean(parked: Parked, nodes: Mapping[str, object]) -> dict[str, Identity]:
    """Remove from a used workspace all but its folders and the files that are as the next view wants them.

    Return the identities of the files that stay; their access times are 0 again.
    """
    kept: dict[str, Identity] = {}
    folders = [""]
    while folders:
        prefix = folders.pop()
        place = f"{parked.folder}/{prefix}"
        os.chmod(place, 0o700)
        with os.scandir(place) as entries:
            found = list(entries)
        for entry in found:
            path = prefix + entry.name
            node = nodes.get(path)
            if entry.is_dir(follow_symlinks=False):
                if getattr(node, "kind", "") == "folder":
                    folders.append(path + "/")
                else:
                    remove_tree(Path(entry.path))
                continue
            identity = _ready(entry, parked.identities.get(path)) if node == parked.nodes.get(path) else None
            if identity is None:
                os.unlink(entry.path)
            else:
                kept[path] = identity
    return kept


def _ready(entry: os.DirEntry[str], identity: Identity | None) -> Identity | None:
    """Set a file's access time to 0 if need be; return its identity, None if the file has been touched."""
    status = entry.stat(follow_symlinks=False)
    if identity is None or identity_of(status) != identity or not stat.S_ISREG(status.st_mode):
        return None
    if status.st_atime_ns == 0:
        return identity
    os.utime(entry.path, ns=(0, status.st_mtime_ns), follow_symlinks=False)
    return identity_of(os.lstat(entry.path))


def remove_tree(folder: Path) -> None:
    """Remove a folder and all below it, whatever the modes; nothing happens where there is none."""

    def retry(_: Callable[[str], object], path: str, __: object) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(path), 0o700)
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)

    if folder.exists():
        shutil.rmtree(folder, onerror=retry)
