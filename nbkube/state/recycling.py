"""Used workspaces made ready for the next unit: quicker than new ones, for few files differ from unit to unit.

Making and removing thousands of files is slow on many disks, and data files are large. A workspace whose processes have
ended is parked; the next one is made from it by undoing what the processes did. A file stays only if it still has the
identity it was given, and if the next unit is to see the very same content.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from nbkube.state.digests import Identity, identity_of

_MOST = 4


class Left:
    """What a workspace is found to hold when its processes have ended, for making the next one from it.

    `whole` are the files that are as they were given: path -> (identity, whether the access time is still 0). `rest`
    are all other paths but folders that were given; folders come before what is in them. `folders` are the given ones
    that are still there: path -> mode.
    """

    def __init__(self) -> None:
        self.whole: dict[str, tuple[Identity, bool]] = {}
        self.rest: list[str] = []
        self.folders: dict[str, int] = {}


class Parked:
    """A used workspace: where it lies, what it was to hold at the start, and what it was found to hold in the end."""

    def __init__(self, folder: Path, nodes: Mapping[str, object], left: Left) -> None:
        self.folder = folder
        self.nodes = nodes
        self.left = left


class Yard:
    """The parked workspaces of one run, in a folder that its owner removes in the end. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parked: list[Parked] = []
        self._count = 0
        self._lock = threading.Lock()

    def park(self, workspace: Path, nodes: Mapping[str, object], left: Left) -> bool:
        """Take over a workspace whose processes had ended when it was looked at; False if it cannot be kept."""
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
            self._parked.append(Parked(place, nodes, left))
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
    """Remove from a used workspace all but the folders and files that are as the next view wants them.

    Nothing is looked at again: nobody has used the workspace since. Return the identities of the files that stay; their
    access times are 0 again.
    """
    left, top = parked.left, f"{parked.folder}/"
    os.chmod(parked.folder, 0o700)
    for path, mode in left.folders.items():
        if mode & 0o700 != 0o700:
            os.chmod(top + path, 0o700)
    for path in left.rest:
        _remove(top + path)
    for path in left.folders:
        if getattr(nodes.get(path), "kind", "") != "folder":
            remove_tree(Path(top + path))
    kept: dict[str, Identity] = {}
    for path, (identity, unread) in left.whole.items():
        node = nodes.get(path)
        if node is None or (node is not parked.nodes[path] and node != parked.nodes[path]):
            _remove(top + path)
        elif unread:
            kept[path] = identity
        else:
            os.utime(top + path, ns=(0, identity[3]), follow_symlinks=False)
            kept[path] = identity_of(os.lstat(top + path))
    return kept


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except (IsADirectoryError, PermissionError):
        remove_tree(Path(path))
    except (FileNotFoundError, NotADirectoryError):
        pass  # it was in a folder that has been removed


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
