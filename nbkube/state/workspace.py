"""The folder an attempt works in: made from a view before, read back as observations and a diff after.

All files, links and folders of a fresh workspace have an access time of 0. Once every process of the attempt has ended,
whatever has another access time was read or listed by somebody, native code and child processes included. A file is
changed if its identity is no longer the one noted when it was copied.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Container, Iterable
from pathlib import Path

from nbkube.errors import Diagnostic, Place
from nbkube.state.changes import compare
from nbkube.state.copying import FileChangingError, copy_file, in_threads, write_file
from nbkube.state.digests import Identity, identity_of
from nbkube.state.ignore import NEVER_DATA
from nbkube.state.model import FileDiff, FileReads
from nbkube.state.outside import is_system_path
from nbkube.state.recycling import Left, clean, remove_tree
from nbkube.state.snapshot import FileView, Node, changed_meanwhile
from nbkube.storage.disk import explained
from nbkube.storage.model import ObjectStore

__all__ = ["Workspace", "access_times_work", "prepare", "remove_tree"]


_times_work: dict[int, bool] = {}


def prepare(view: FileView, target: Path, store: ObjectStore) -> Workspace:
    """Copy a view to a folder that must not exist or be empty; `observe` on the result takes it back."""
    need = sum(node.size for node in view.nodes.values())
    with explained(target, need):
        identities = _start(view, target)
        diagnostics = list(view.diagnostics)
        times_work = access_times_work(target)
        if not times_work:
            message = "access times are not kept on this disk: every project file counts as read by every step"
            hint = "keep the store on a disk that is mounted with relatime"
            diagnostics.append(Diagnostic("warning", "workspace", Place(str(target)), message, hint))
        folders = sorted(path for path, node in view.nodes.items() if node.kind == "folder")
        for path in folders:
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{target}/{path}", 0o700)
        identities.update(_copy_files(view, str(target), store, identities))
        for path, node in view.nodes.items():
            if node.kind == "link":
                os.symlink(node.target, f"{target}/{path}")
                os.utime(f"{target}/{path}", ns=(0, time.time_ns()), follow_symlinks=False)
        for path in reversed(folders):
            os.chmod(f"{target}/{path}", view.nodes[path].mode)
            os.utime(f"{target}/{path}", ns=(0, time.time_ns()))
        os.utime(target, ns=(0, time.time_ns()))
    return Workspace(target, view, store, identities, times_work, tuple(diagnostics))


def _start(view: FileView, target: Path) -> dict[str, Identity]:
    """Make the folder, from a used workspace if there is one; return the identities of files that are in place."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    parked = view.yard.take(target) if view.yard else None
    if parked is not None:
        with contextlib.suppress(OSError):
            return clean(parked, view.nodes)
        remove_tree(target)
    target.mkdir(mode=0o700, exist_ok=True)
    # In a pod's volume folders hand their group down (setgid); those that a step makes are to be as elsewhere.
    target.chmod(0o700)
    return {}


def access_times_work(folder: Path) -> bool:
    """Tell whether reading a file and listing a folder show in their access times on this disk; asked once a disk."""
    disk = os.stat(folder).st_dev
    if disk not in _times_work:
        _times_work[disk] = _try_access_times(folder)
    return _times_work[disk]


def _try_access_times(folder: Path) -> bool:
    probe = folder / ".nbkube-probe"
    file = probe / "file"
    probe.mkdir()
    try:
        file.write_bytes(b"x")
        os.utime(file, (0, 0))
        os.utime(probe, (0, 0))
        file.read_bytes()
        os.listdir(probe)
        return file.stat().st_atime_ns != 0 and probe.stat().st_atime_ns != 0
    finally:
        shutil.rmtree(probe)


def _copy_files(view: FileView, target: str, store: ObjectStore, kept: Container[str]) -> dict[str, Identity]:
    """Copy the files of a view that are not `kept`; return their identities."""
    files = [(path, node) for path, node in view.nodes.items() if node.kind == "file" and path not in kept]
    now = time.time_ns()

    def copy(item: tuple[str, Node]) -> tuple[str, Identity]:
        path, node = item
        place = f"{target}/{path}"
        if node.pack is not None:
            mtime = node.identity[3] if node.identity else now
            return path, identity_of(write_file(place, node.packed(), node.mode, mtime))
        if not node.source:
            return path, identity_of(copy_file(str(store.local_path(node.digest)), place, node.mode, now)[1])
        try:
            source, made = copy_file(node.source, place, node.mode, None)
        except (FileNotFoundError, FileChangingError):
            raise changed_meanwhile(path) from None
        if identity_of(source) != node.identity:
            raise changed_meanwhile(path)
        return path, identity_of(made)

    return dict(in_threads(copy, files))


class Workspace:
    """A prepared folder. `view` is what it held at the start, `diagnostics` what a person should know about it."""

    def __init__(
        self,
        target: Path,
        view: FileView,
        store: ObjectStore,
        identities: dict[str, Identity],
        times_work: bool,
        diagnostics: tuple[Diagnostic, ...],
    ) -> None:
        self.target = target
        self.view = view
        self.diagnostics = diagnostics
        self._store = store
        self._identities = identities
        self._times_work = times_work
        self._started = time.time_ns()
        self._left: Left | None = None
        self._roots = (str(view.root), str(target), os.path.realpath(target))

    def observe(
        self,
        *,
        opened: Iterable[str] = (),
        listed: Iterable[str] = (),
        missed: Iterable[str] = (),
        written: Iterable[str] = (),
    ) -> tuple[FileReads, FileDiff]:
        """Return what the ended processes saw of the workspace as it was at the start, and what they did to it.

        All arguments are absolute paths as the processes saw them (below the project's own path or the workspace).

        Args:
            opened: files opened for reading, beyond the workspace nothing else tells of them; also files and folders
                that were looked up and found.
            listed: folders listed.
            missed: paths looked up and not found.
            written: files whose old content was replaced as a whole before any of it was read.
        """
        replaced = self._split(written)[0]
        inside, outside = self._split(opened)
        missed_inside, missed_outside = self._split(missed)
        with explained(self.target):
            seen = compare(self.target, self.view, self._identities, replaced)
            self._left = seen.left
            seen.read |= {path for path in inside - replaced if path in self.view.nodes}
            seen.listed |= self._split(listed)[0]
            seen.missed |= missed_inside
            if not self._times_work:
                seen.everything(self.view)
            diff = seen.diff(self.target, self.view, self._store, self._inner_target)
            return seen.reads(self.view, self._outside(outside, missed_outside)), diff

    def _inner_target(self, folder: str, target: str) -> str:
        """Return a link's target; one that names a place in the workspace absolutely is made relative."""
        relative = self.relative(target) if target.startswith("/") else None
        return target if relative is None else os.path.relpath(relative, folder or ".")

    def relative(self, path: str) -> str | None:
        """Return the workspace path of an absolute path; None for one beyond the workspace."""
        for made in (os.path.normpath, os.path.realpath):
            candidate = made(path)
            for root in self._roots:
                if candidate == root:
                    return "."
                if candidate.startswith(root + "/"):
                    return candidate[len(root) + 1 :]
        return None

    def _split(self, paths: Iterable[str]) -> tuple[set[str], set[str]]:
        """Return (paths inside, links of the view followed; absolute paths outside)."""
        inside, outside = set(), set()
        for path in paths:
            relative = self.relative(path)
            resolved = None if relative is None else self.view.resolve(relative)
            if resolved is not None and not self._is_left_out(resolved):
                if NEVER_DATA.isdisjoint(resolved.split("/")):
                    inside.add(resolved)
            else:
                outside.add(self._beyond(relative, path))
        return inside, outside

    def _is_left_out(self, path: str) -> bool:
        return any(path == one or path.startswith(one + "/") for one in self.view.left_out)

    def _beyond(self, relative: str | None, path: str) -> str:
        """Return the absolute path meant by a path outside, or by one inside that leads out."""
        if relative is None or self._is_left_out(relative):
            return os.path.realpath(path)
        return os.path.realpath(self.target / relative)

    def _outside(self, opened: set[str], missed: set[str]) -> dict[str, str]:
        outside = {}
        for path in sorted(opened):
            if not is_system_path(path) and not self._is_scratch(path):
                digest = self.view.outside_digest(path)
                if digest:  # else the step removed it again: no input of a later run
                    outside[path] = digest
        for path in sorted(missed):
            if not is_system_path(path, absent=True) and not os.path.lexists(path):
                outside[path] = ""
        return outside

    def _is_scratch(self, path: str) -> bool:
        """Tell whether a file in a temporary folder was made by the step itself."""
        if not path.startswith(("/tmp/", "/var/tmp/", "/dev/shm/")):
            return False
        try:
            return os.stat(path).st_mtime_ns >= self._started
        except OSError:
            return True

    def remove(self) -> None:
        """Give up the folder; the run's next workspace is made from it if nobody has used it since `observe`."""
        yard, left = self.view.yard, self._left
        parked = yard is not None and left is not None and yard.park(self.target, self.view.nodes, left)
        if not parked:
            remove_tree(self.target)
