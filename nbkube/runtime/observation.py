"""What a step looks at outside its namespace: files, folders, absent files, modules.

Files of the workspace that are read are found by their access times, whoever reads them; see the workspace. Here is
what those cannot tell: paths looked up and not there, paths outside the workspace, and modules. All of it must cost
next to nothing, so every hook decides first whether the call matters at all.
"""

from __future__ import annotations

import contextlib
import os
import stat as modes
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import FileFinder, ModuleSpec
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR
_QUIET_FOLDERS = ("/proc", "/sys", "/dev", "/run", "/usr", "/lib", "/lib64", "/etc", "/bin", "/sbin", "/nix")

_LOOK_FOR_DISTRIBUTIONS = frozenset(("importlib.metadata", "importlib_metadata", "pkg_resources"))
"""Modules that list every folder of the search path, the notebook's own included, whatever they look for."""


class Observation:
    """Records from `start` on; one per process.

    Args:
        root: the workspace as the cells see it.
        private: folders of the machinery, never recorded.
        is_place: tells made-up file names of cells.
    """

    def __init__(self, root: str, private: Iterable[str], is_place: Callable[[str], bool]) -> None:
        self._root = root
        self._inside = root.rstrip("/") + "/"
        self._is_place = is_place
        self._home_cache = os.path.join(os.path.expanduser("~"), ".cache")
        self._private = tuple(one.rstrip("/") + "/" for one in private if one)
        self._libraries = library_folders()
        self._seen: set[tuple[str, bool]] = set()
        self._opened: set[str] = set()
        self._listed: set[str] = set()
        self._missed: set[str] = set()
        self._replaced: set[str] = set()
        self._wrote: set[str] = set()
        self._modules: frozenset[str] = frozenset()
        self._stat = os.stat
        self._active = False
        self.process = os.getpid()
        """The worker; its forked children record nothing."""

    def start(self) -> None:
        """Install the hooks; modules loaded so far do not count."""
        self._modules = frozenset(sys.modules)
        self._active = True
        sys.addaudithook(self._hook)
        for name in ("stat", "lstat"):
            self._patch(name, self._watched_stat(getattr(os, name)))
        self._patch("access", self._watched_access(os.access))
        self._patch("listdir", self._watched_listdir(os.listdir))
        sys.path_hooks.insert(0, self._finder)
        sys.path_importer_cache.clear()

    def stop(self) -> None:
        """Record nothing more."""
        self._active = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing meanwhile: the machinery looks around, not the cells."""
        active, self._active = self._active, False
        try:
            yield
        finally:
            self._active = active

    def into(self, result: dict[str, Any]) -> None:
        """Add what was observed to the fields of a `StepResult`."""
        own = {name.partition(".")[0] for name in self._modules}
        top = {name.partition(".")[0] for name in set(sys.modules) - self._modules} - own
        result.update(
            opened=tuple(sorted(self._opened)),
            listed=tuple(sorted(self._listed)),
            missed=tuple(sorted(one for one in self._missed if not self._passing(one))),
            replaced=tuple(sorted(self._replaced)),
            wrote_outside=tuple(sorted(one for one in self._wrote if self._outside(one) and self._is_file(one))),
            modules=tuple(sorted(top - sys.stdlib_module_names - {"__mp_main__"})),
            module_files=tuple(sorted(self._module_files())),
        )

    # -- hooks -----------------------------------------------------------------------------------------------------

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        # Called for every audit event of the process: most are not ours.
        if event == "open":
            if self._active:
                self._open(*arguments)
        elif event in ("os.listdir", "os.scandir"):  # noqa: SIM102 - two questions of different cost
            if self._active and (path := self._path(arguments[0])) is not None and self._matters(path):
                self._listed.add(path)

    def _open(self, raw: Any, mode: str | None, flags: int | None) -> None:
        path = self._path(raw)
        if path is None:
            return
        writing = bool(flags & _WRITING) if isinstance(flags, int) else any(one in str(mode) for one in "wxa+")
        if (path, writing) in self._seen:
            return
        self._seen.add((path, writing))
        if not self._matters(path) or self._is_place(path):
            return
        truncates = isinstance(flags, int) and bool(flags & os.O_TRUNC)
        exists = self._exists(path)
        if not exists and not truncates and path not in self._wrote:
            self._miss(path)
        elif exists and path not in self._wrote and path not in self._replaced:
            (self._replaced if truncates and path not in self._opened else self._opened).add(path)
        if writing:
            self._wrote.add(path)

    def _watched_stat(self, original: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
        def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
            try:
                if follow_symlinks:
                    found = original(path) if dir_fd is None else original(path, dir_fd=dir_fd)
                else:
                    found = original(path, dir_fd=dir_fd, follow_symlinks=False)
            except (FileNotFoundError, NotADirectoryError):
                if self._active and dir_fd is None:
                    self._miss(self._path(path))
                raise
            if self._active and dir_fd is None and modes.S_ISREG(found.st_mode):
                self._look(path)
            return found

        def lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
            return stat(path, dir_fd=dir_fd)

        return stat if original is os.stat else lstat

    def _watched_access(self, original: Callable[..., bool]) -> Callable[..., bool]:
        def access(path: Any, mode: int, **options: Any) -> bool:
            allowed = original(path, mode, **options)
            if self._active and not options:
                if allowed:
                    self._look(path)
                else:
                    self._miss(self._path(path))
            return allowed

        return access

    def _watched_listdir(self, original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
        def listdir(path: Any = None) -> list[Any]:
            if self._active and sys._getframe(1).f_globals.get("__name__") in _LOOK_FOR_DISTRIBUTIONS:
                folder = self._path(path)
                if folder is not None and (folder + "/").startswith(self._inside):
                    return self._unnoticed(folder, original)
            return original(path)

        return listdir

    def _unnoticed(self, folder: str, listdir: Callable[..., list[Any]]) -> list[Any]:
        """List a folder without leaving an access time."""
        self._seen.add((folder, False))
        try:
            handle = os.open(folder, os.O_RDONLY | getattr(os, "O_NOATIME", 0))
        except PermissionError:
            return listdir(folder)
        try:
            return listdir(handle)
        finally:
            os.close(handle)

    def _patch(self, name: str, replacement: Callable[..., Any]) -> None:
        original = getattr(os, name)
        replacement.__name__ = replacement.__qualname__ = name
        replacement.__module__ = "os"
        replacement.__doc__ = original.__doc__
        for abilities in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
            if original in abilities:
                abilities.add(replacement)
        setattr(os, name, replacement)

    def _look(self, raw: Any) -> None:
        """Note that a file was found to be there, which is a kind of reading it."""
        path = self._path(raw)
        if path is not None and path.startswith(self._inside) and (path, False) not in self._seen:
            self._seen.add((path, False))
            self._opened.add(path)

    def _miss(self, path: str | None) -> None:
        if path is not None and path not in self._missed and self._matters(path) and not self._is_place(path):
            self._missed.add(path)

    # -- modules ---------------------------------------------------------------------------------------------------

    def _finder(self, path: str) -> FileFinder:
        """Find modules of the workspace without listing folders: a new data file must not count as a change."""
        folder = os.path.abspath(path or ".")
        if not self._active or not (folder + "/").startswith(self._inside) or self._is_library(folder + "/"):
            raise ImportError
        hooks = [hook for hook in sys.path_hooks if hook != self._finder]
        for hook in hooks:
            try:
                usual = hook(folder)
            except ImportError:
                continue
            if isinstance(usual, FileFinder):
                return _LookingFinder.like(usual, self._missed)
        raise ImportError

    def _module_files(self) -> Iterable[str]:
        for name in set(sys.modules) - self._modules:
            file = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(file, str):
                path = os.path.abspath(file)
                if not self._is_library(path) and self._exists(path):
                    yield path

    # -- paths -----------------------------------------------------------------------------------------------------

    def _path(self, raw: Any) -> str | None:
        if isinstance(raw, int):
            return None
        try:
            path = os.fsdecode(raw) if raw is not None else "."
            return os.path.abspath(path)
        except (TypeError, ValueError, OSError):
            return None

    def _matters(self, path: str) -> bool:
        if path.startswith(self._private):
            return False
        if path.startswith(self._inside):
            return not self._is_library(path) and "/__pycache__/" not in path
        return not (path.startswith(_QUIET_FOLDERS) or self._is_library(path) or path.startswith(self._home_cache))

    def _passing(self, path: str) -> bool:
        """Tell whether a path is that of a temporary file which the step has made and removed."""
        return path in self._wrote and self._outside(path) and not self._exists(path)

    def _outside(self, path: str) -> bool:
        return not path.startswith(self._inside)

    def _is_library(self, path: str) -> bool:
        return path.startswith(self._libraries)

    def _is_file(self, path: str) -> bool:
        return self._exists(path) and modes.S_ISREG(self._stat(path).st_mode)

    def _exists(self, path: str) -> bool:
        try:
            self._stat(path)
        except (OSError, ValueError):
            return False
        return True


class _LookingFinder(FileFinder):
    """Finds modules by asking for each possible file, and remembers which were not there."""

    _missed: set[str]

    @classmethod
    def like(cls, usual: FileFinder, missed: set[str]) -> _LookingFinder:
        """Return a finder for the same folder and the same kinds of files."""
        finder = cls(usual.path)
        finder.__dict__.update(usual.__dict__)
        finder._missed = missed
        return finder

    def _fill_cache(self) -> None:
        self._path_cache = self._relaxed_path_cache = _Everything()

    def find_spec(self, fullname: str, target: Any = None) -> ModuleSpec | None:
        """Look a module up."""
        found = super().find_spec(fullname, target)
        if found is None or found.loader is None:
            tail = os.path.join(self.path, fullname.rpartition(".")[2])
            self._missed.update((tail + ".py", tail + "/__init__.py"))
        return found


class _Everything(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True


def library_folders() -> tuple[str, ...]:
    """Return the folders of the interpreter and of installed distributions, each with a final slash."""
    import sysconfig

    paths = sysconfig.get_paths()
    folders = {paths["stdlib"], paths["platstdlib"], paths["purelib"], paths["platlib"], sys.prefix, sys.base_prefix}
    folders.update(path for path in sys.path if path.endswith(("site-packages", "dist-packages")))
    folders.update([os.path.realpath(path) for path in folders])
    return tuple(sorted(folder.rstrip("/") + "/" for folder in folders if folder and folder != "/"))
