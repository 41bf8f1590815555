"""What an attempt did in its workspace: one walk over it, compared with what it held at the start."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from pathlib import Path

from nbkube.errors import StateError
from nbkube.state.copying import in_threads
from nbkube.state.digests import Identity, identity_of
from nbkube.state.ignore import ENVIRONMENT_MARK, NEVER_DATA
from nbkube.state.model import FileDiff, FileEntry, FileReads
from nbkube.state.recycling import Left
from nbkube.state.snapshot import FileView, Node
from nbkube.storage.model import ObjectStore

InnerTarget = Callable[[str, str], str]
"""(folder of the link, its target) -> the target to store."""


class Changes:
    """Paths read, listed and missed as far as the workspace tells, removed paths, and those to look at more closely."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.listed: set[str] = set()
        self.missed: set[str] = set()
        self._removed: list[str] = []
        self._suspects: dict[str, os.stat_result] = {}
        self.left = Left()

    def everything(self, view: FileView) -> None:
        """Count all paths as seen, where access times tell nothing."""
        self.read |= {path for path, node in view.nodes.items() if node.kind != "folder"}
        self.listed |= {".", *(path for path, node in view.nodes.items() if node.kind == "folder")}

    def lost(self, path: str, node: Node, replaced: Set[str]) -> None:
        """Note a path whose file is gone. Who removed it may have read it, and needed it to be there."""
        if node.kind == "folder":
            self.listed.add(path)
        elif path not in replaced:
            self.read.add(path)

    def removed(self, path: str, node: Node, replaced: Set[str]) -> None:
        """Note a removed path."""
        self.lost(path, node, replaced)
        self._removed.append(path)

    def suspect(self, path: str, status: os.stat_result) -> None:
        """Note a path that may differ from the start."""
        self._suspects[path] = status

    def reads(self, view: FileView, outside: dict[str, str]) -> FileReads:
        """Return the proof: what was seen, with digests as of the start."""
        read = {path: view.digest(path) for path in sorted(self.read) if path in view}
        listed = {path: view.listing_digest(path) for path in sorted(self.listed)}
        return FileReads(
            read={path: digest for path, digest in read.items() if digest},
            listed={path: digest for path, digest in listed.items() if digest},
            missed=tuple(_topmost(path for path in self.missed if path not in view)),
            outside=outside,
        )

    def diff(self, target: Path, view: FileView, store: ObjectStore, inner: InnerTarget) -> FileDiff:
        """Put changed files into the store and return the diff."""

        def entry(item: tuple[str, os.stat_result]) -> FileEntry | None:
            path, status = item
            made = _entry(target, path, status, store, inner)
            return None if _same(made, path, view) else made

        made = in_threads(entry, list(self._suspects.items()))
        changed = sorted((one for one in made if one is not None), key=lambda one: one.path)
        return FileDiff(changed=tuple(changed), removed=tuple(sorted(self._removed)))


def compare(target: Path, view: FileView, identities: Mapping[str, Identity], replaced: Set[str]) -> Changes:
    """Walk over a workspace whose processes have ended.

    Args:
        target: the workspace.
        view: what it held at the start.
        identities: its files' identities at the start.
        replaced: files known to have been replaced as a whole before they were read.
    """
    changes = Changes()
    left = changes.left
    found = dict(_walk(str(target), left.rest))
    if found.pop(".").st_atime_ns:
        changes.listed.add(".")
    for path, node in view.nodes.items():
        status = found.pop(path, None)
        if status is None:
            changes.removed(path, node, replaced)
        elif _kind(status) != node.kind:
            changes.lost(path, node, replaced)
            changes.suspect(path, status)
            left.rest.append(path)
        else:
            _compare_one(changes, path, node, status, identities.get(path), path in replaced)
    left.rest += found
    for path, status in found.items():
        _checked_text(path)
        if _kind(status):
            changes.suspect(path, status)
            if path not in replaced:  # it might have gone another way had the path existed
                changes.missed.add(path)
    return changes


def _compare_one(
    changes: Changes, path: str, node: Node, status: os.stat_result, identity: Identity | None, replaced: bool
) -> None:
    if node.kind == "folder":
        changes.left.folders[path] = status.st_mode
        if status.st_atime_ns:
            changes.listed.add(path)
        if stat.S_IMODE(status.st_mode) != node.mode:
            changes.suspect(path, status)
    elif node.kind == "link":
        changes.left.rest.append(path)
        if status.st_atime_ns:
            changes.read.add(path)
        changes.suspect(path, status)
    elif (now := identity_of(status)) == identity:
        changes.left.whole[path] = (now, status.st_atime_ns == 0)
        if status.st_atime_ns:
            changes.read.add(path)
    else:
        changes.left.rest.append(path)
        changes.suspect(path, status)
        if not replaced:  # appended to or changed in the middle: what it held before matters, read or not
            changes.read.add(path)


def _topmost(paths: Iterable[str]) -> Iterator[str]:
    """Yield sorted paths without those below another one: what is in an absent folder is absent, too."""
    known = set(paths)
    for path in sorted(known):
        above = path.rpartition("/")[0]
        while above and above not in known:
            above = above.rpartition("/")[0]
        if not above:
            yield path


def _walk(root: str, skipped: list[str]) -> Iterator[tuple[str, os.stat_result]]:
    """Yield (path, state) of everything in a workspace; a folder's state is taken before it is listed.

    What is never data is put into `skipped`.
    """
    yield ".", os.lstat(root)
    folders = [""]
    while folders:
        prefix = folders.pop()
        with os.scandir(f"{root}/{prefix}") as entries:
            found = list(entries)
        if prefix and any(entry.name == ENVIRONMENT_MARK for entry in found):
            skipped.append(prefix[:-1])
            continue
        for entry in found:
            if entry.name in NEVER_DATA:
                skipped.append(prefix + entry.name)
                continue
            status = entry.stat(follow_symlinks=False)
            yield prefix + entry.name, status
            if stat.S_ISDIR(status.st_mode):
                folders.append(f"{prefix}{entry.name}/")
                if status.st_mode & 0o500 != 0o500:
                    with contextlib.suppress(PermissionError):
                        os.chmod(entry.path, 0o700)


def _kind(status: os.stat_result) -> str:
    """Return the kind of entry; "" for sockets, pipes and devices, which cannot be handed on."""
    if stat.S_ISREG(status.st_mode):
        return "file"
    if stat.S_ISDIR(status.st_mode):
        return "folder"
    return "link" if stat.S_ISLNK(status.st_mode) else ""


def _entry(target: Path, path: str, status: os.stat_result, store: ObjectStore, inner: InnerTarget) -> FileEntry:
    place = target / path
    mode = stat.S_IMODE(status.st_mode)
    if stat.S_ISDIR(status.st_mode):
        return FileEntry(path, "folder", mode)
    if stat.S_ISLNK(status.st_mode):
        link = inner(path.rpartition("/")[0], _checked_text(os.readlink(place)))
        return FileEntry(path, "link", 0o777, target=link)
    if mode & 0o400 == 0:
        with contextlib.suppress(PermissionError):
            os.chmod(place, mode | 0o400)
    return FileEntry(path, "file", mode, store.put_file(place), status.st_size)


def _same(entry: FileEntry, path: str, view: FileView) -> bool:
    node = view.nodes.get(path)
    if node is None or node.kind != entry.kind:
        return False
    if entry.kind == "link":
        return node.target == entry.target
    return node.mode == entry.mode and (
        entry.kind == "folder" or (node.size == entry.size and view.digest(path) == entry.digest)
    )


def _checked_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        shown = text.encode("utf-8", "replace").decode()
        raise StateError(f"a step made the file {shown!r}, whose name is not UTF-8. Give it another name.") from None
    return text
