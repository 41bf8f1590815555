"""Showing a workspace at the project's own path, so that absolute paths are those of the notebook."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Sequence
from urllib.parse import unquote, urlsplit

import msgspec

from nbkube.runtime.kernel import bind_mount, drop_powers, end_with_parent, private_mounts


class Place(msgspec.Struct, frozen=True):
    """Where the step runs: `root` as the cells see the project, `store` as the worker reaches it, `mounted` or not.

    `made` are the folders made in the workspace as places for further mounts, relative to it.
    """

    root: str
    store: str
    mounted: bool
    made: tuple[str, ...] = ()


def enter(
    workspace: str,
    root: str,
    store: str,
    private: str,
    search: Sequence[str] | None = None,
    also: tuple[str, str] | None = None,
) -> Place:
    """Show `workspace` at `root` to this process if that can be done; say what became of it.

    Args:
        workspace: the folder prepared for this attempt.
        root: the project's own folder.
        store: path or URL of the store; one below the project stays reachable at another path.
        private: a folder of the step's own that must stay reachable.
        search: folders in which modules are looked for; by default those of this process.
        also: a folder, and another at whose place it is to be shown, too.
    """
    workspace, root = os.path.realpath(workspace), os.path.realpath(root)
    if root == workspace:
        return Place(root, store, mounted=False)
    if not can_be_shown(workspace, root, private) or not private_mounts():
        return Place(workspace, store, mounted=False)
    store, made = show(workspace, root, store, sys.path if search is None else search)
    if also is not None:
        bind_mount(*also)
    drop_powers()
    # The powers gained on the way may have cleared it.
    end_with_parent(signal.SIGKILL)
    return Place(root, store, mounted=True, made=made)


def can_be_shown(workspace: str, root: str, private: str) -> bool:
    """Tell whether a workspace may hide the project without hiding what the step needs."""
    return not _below(private, root) and not _below(root, workspace) and os.path.isdir(root) and root != "/"


def show(workspace: str, root: str, store: str, search: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Mount a workspace at the project's place; return where the store is now, and folders made for further mounts.

    Arguments as those of `enter`, but without links; the process has a mount table of its own.
    """
    # What the mount hides is held by descriptors: a second place in the tree could be emptied by a cell by accident.
    kept = {path: _hold(path) for path in _hidden(root, workspace, search)}
    folder = folder_of(store)
    if folder and _below(folder, root):
        # A store that is made on first use would be made in the workspace, and be lost with it.
        os.makedirs(folder, exist_ok=True)
        store = _held(_hold(folder))
    bind_mount(workspace, root)
    made: list[str] = []
    for path, descriptor in kept.items():
        made.extend(_make(path, root))
        bind_mount(_held(descriptor), path)
        os.close(descriptor)
    return store, tuple(made)


def _hold(folder: str) -> int:
    return os.open(folder, os.O_PATH | os.O_DIRECTORY)


def _held(descriptor: int) -> str:
    """Return a path to a folder held by a descriptor, good in this process and those forked from it."""
    return f"/proc/self/fd/{descriptor}"


def _hidden(root: str, workspace: str, search: Sequence[str]) -> list[str]:
    """Return folders that lie in the project but not in the workspace and are needed all the same: those of the
    interpreter, such as `.venv`, and the user's settings and caches where the project is the home folder."""
    wanted = [os.path.realpath(one) for one in (sys.prefix, sys.exec_prefix, sys.base_prefix, *_existing(search))]
    wanted += _settings(root)
    found: list[str] = []
    for path in sorted(set(wanted)):
        if not _below(path, root) or path == root or any(_below(path, one) for one in found):
            continue
        if not os.path.exists(os.path.join(workspace, os.path.relpath(path, root))):
            found.append(path)
    return found


def _settings(root: str) -> list[str]:
    """Return the hidden folders of the home folder if that lies in the project: no workspace holds them."""
    home = os.path.realpath(os.path.expanduser("~"))
    if not _below(home, root):
        return []
    with os.scandir(home) as entries:
        hidden = [entry.path for entry in entries if entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]
    return [path for path in hidden if os.path.basename(path) not in (".nbkube", ".git")]


def _existing(paths: Iterable[str]) -> list[str]:
    return [path for path in paths if path and os.path.isdir(path)]


def folder_of(store: str) -> str:
    """Return the folder of a store on this machine; "" for any other."""
    path = unquote(urlsplit(store).path) if store.startswith("file://") else store
    return os.path.realpath(path) if path and "://" not in path else ""


def _make(path: str, root: str) -> list[str]:
    """Make a folder and those above it; return what had to be made, relative to the root."""
    made: list[str] = []
    while not os.path.isdir(path):
        made.append(os.path.relpath(path, root))
        path = os.path.dirname(path)
    for one in reversed(made):
        os.mkdir(os.path.join(root, one))
    return made


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
