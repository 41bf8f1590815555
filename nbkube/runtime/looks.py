"""The paths that a process was seen to look up: found, missing, replaced, written.

Called for every look-up of the process, so what has been seen before must be told by one look into a set.
"""

from __future__ import annotations

import os
import stat as modes
import sys
from collections.abc import Callable, Iterable
from typing import Any

_QUIET_FOLDERS = ("/proc", "/sys", "/dev", "/run", "/usr", "/lib", "/lib64", "/etc", "/bin", "/sbin", "/nix")


class Looks:
    """Records look-ups while `active`.

    Args:
        root: the workspace as the cells see it.
        private: folders of the machinery, never recorded.
        is_place: tells made-up file names of cells.
    """

    def __init__(self, root: str, private: Iterable[str], is_place: Callable[[str], bool]) -> None:
        self.active = False
        self.opened: set[str] = set()
        self.missed: set[str] = set()
        self.replaced: set[str] = set()
        self.wrote: set[str] = set()
        self._inside = root.rstrip("/") + "/"
        self._is_place = is_place
        self._libraries = library_folders()
        quiet = (os.path.join(os.path.expanduser("~"), ".cache"), *_QUIET_FOLDERS, *self._libraries)
        self._quiet_outside = tuple(one.rstrip("/") + "/" for one in quiet)
        self._quiet = tuple(one.rstrip("/") + "/" for one in (*private, *self._libraries) if one)
        self._stat = os.stat
        self._found: set[str] = set()
        self._read: set[str] = set()
        self._absent: set[str] = set()

    def ignore(self, folders: Iterable[str]) -> None:
        """Record nothing of further folders of the machinery."""
        self._quiet += tuple(one.rstrip("/") + "/" for one in folders if one)

    # -- what happens ----------------------------------------------------------------------------------------------

    def found(self, raw: Any) -> None:
        """Note that a file was found to be there, which inside the workspace is a kind of reading it."""
        if not isinstance(raw, str) or raw not in self._found:
            path = self._noted(raw, self._found)
            if path is not None and self.inside(path) and path not in self.wrote:
                self.opened.add(path)

    def read(self, raw: Any) -> None:
        """Note that a file was opened for reading."""
        if not isinstance(raw, str) or raw not in self._read:
            path = self._noted(raw, self._read)
            if path is not None and path not in self.wrote:
                self.opened.add(path)

    def absent(self, raw: Any) -> None:
        """Note that a path was not there."""
        if not isinstance(raw, str) or raw not in self._absent:
            path = self._noted(raw, self._absent)
            if path is not None and path not in self.wrote:
                self.missed.add(path)

    def written(self, raw: Any, *, existed: bool, truncated: bool) -> None:
        """Note that a file was opened for writing, whether it was there before, and whether that content went."""
        path = self._noted(raw, set())
        if path is None or path in self.wrote:
            return
        self.wrote.add(path)
        if not existed:
            # Made anew as a whole: had it been there before, the result would be the same.
            (self.replaced if truncated else self.missed).add(path)
        elif not truncated or path in self.opened:
            self.opened.add(path)
        else:
            self.replaced.add(path)

    def moved(self) -> None:
        """Note that the current folder is another: relative paths mean other files."""
        for known in (self._found, self._read, self._absent):
            known.clear()

    # -- questions -------------------------------------------------------------------------------------------------

    def inside(self, path: str) -> bool:
        """Tell whether an absolute path lies in the workspace."""
        return path.startswith(self._inside)

    def is_library(self, path: str) -> bool:
        """Tell whether an absolute path belongs to the interpreter or to installed distributions."""
        return path.startswith(self._libraries)

    def exists(self, path: Any) -> bool:
        """Tell whether a path is there, without a trace."""
        try:
            self._stat(path)
        except (OSError, ValueError):
            return False
        return True

    def wrote_outside(self) -> list[str]:
        """Return files beyond the workspace that were written and are still there."""
        return sorted(
            path
            for path in self.wrote
            if not self.inside(path) and self.exists(path) and modes.S_ISREG(self._stat(path).st_mode)
        )

    def missing(self) -> list[str]:
        """Return missed paths, without those of temporary files that the step has made and removed."""
        return sorted(path for path in self.missed if self.inside(path) or path not in self.wrote or self.exists(path))

    def _noted(self, raw: Any, known: set[str]) -> str | None:
        """Return the absolute path if it is one to record; remember the spelling if it is text."""
        try:
            path = os.path.abspath(os.fsdecode(raw))
        except (TypeError, ValueError, OSError):
            return None
        if isinstance(raw, str):
            known.add(raw)
        if path.startswith(self._quiet) or self._is_place(path):
            return None
        if self.inside(path):
            return None if "/__pycache__/" in path else path
        return None if path.startswith(self._quiet_outside) else path


def library_folders() -> tuple[str, ...]:
    """Return the folders of the interpreter and of installed distributions, each with a final slash."""
    import sysconfig

    paths = sysconfig.get_paths()
    folders = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], sys.prefix, sys.base_prefix}
    folders.update(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    folders.update([os.path.realpath(path) for path in folders])
    return tuple(sorted(folder.rstrip("/") + "/" for folder in folders if folder and folder != "/"))
