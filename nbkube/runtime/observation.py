"""What a step looks at outside its namespace: files, absent files, modules.

Files of the workspace that are read and folders that are listed are found by their access times, whoever reads them;
see the workspace. Here is what those cannot tell: paths looked up and not there, paths outside the workspace, and
modules. Python's audit hooks would tell more, but slow down every `id()` and `pickle`; instead the few functions that
look up paths are wrapped.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import stat as modes
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.machinery import FileFinder, ModuleSpec
from typing import Any

from nbkube.runtime.contacts import Contacts
from nbkube.runtime.looks import Looks
from nbkube.runtime.modules import Modules
from nbkube.storage.cache import cache_folder

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
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
        # What the store fetches for the step lies in its cache, whoever looks it up.
        self._looks = Looks(root, (*private, os.path.realpath(cache_folder())), is_place)
        self._contacts = Contacts()
        self.modules = Modules(self._looks)
        self.process = os.getpid()
        """The worker; what its children look at is not recorded here."""

    def start(self) -> None:
        """Wrap the functions; modules loaded so far do not count."""
        looks = self._looks
        _replace((os,), "stat", _stat(looks, os.stat))
        _replace((os,), "lstat", _lstat(looks, os.lstat))
        _replace((os,), "access", _access(looks, os.access))
        _replace((os,), "open", _os_open(looks, os.open))
        _replace((os,), "listdir", _listdir(looks, os.listdir))
        for name in ("chdir", "fchdir"):
            _replace((os,), name, _moving(looks, getattr(os, name)))
        shell = sys.modules.get("IPython.core.interactiveshell")
        _replace((io, builtins), "open", _open(looks, io.open))
        if shell is not None:
            # The `open` that cells see passes on to this one.
            shell.io_open = io.open  # type: ignore[attr-defined]
        sys.path_hooks.insert(0, self._finder)
        sys.path_importer_cache.clear()
        self._contacts.watch()
        self.modules.watch()
        looks.active = True

    def go_on(self, private: Iterable[str]) -> None:
        """Go on in a forked process, as the worker; `private` are further folders of the machinery."""
        self.process = os.getpid()
        self._looks.ignore(private)
        # Folders may have appeared that could not be searched for modules before.
        for path in [one for one, finder in sys.path_importer_cache.items() if finder is None]:
            del sys.path_importer_cache[path]

    def looked(self) -> dict[str, list[str]]:
        """Return what was seen so far: files opened, paths missed, files replaced or written elsewhere."""
        with self.paused():
            return {
                "opened": sorted({*self._looks.opened, *self.modules.files()}),
                "missed": self._looks.missing(),
                "written": sorted({*self._looks.replaced, *self._looks.wrote}),
            }

    def stop(self) -> None:
        """Record nothing more."""
        self._looks.active = False

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing meanwhile: the machinery looks around, not the cells."""
        active, self._looks.active = self._looks.active, False
        try:
            yield
        finally:
            self._looks.active = active

    def into(self, result: dict[str, Any]) -> None:
        """Add what was observed to the fields of a `StepResult`."""
        result.update(
            opened=tuple(sorted(self._looks.opened)),
            missed=tuple(self._looks.missing()),
            replaced=tuple(sorted(self._looks.replaced)),
            wrote_outside=tuple(self._looks.wrote_outside()),
            contacted=tuple(sorted(self._contacts.hosts)),
            modules=tuple(sorted(self.modules.tops())),
            module_files=tuple(self.modules.files()),
        )

    def _finder(self, path: str) -> FileFinder:
        """Find modules of the workspace without listing folders: a new data file must not count as a change."""
        folder = os.path.abspath(path or ".") + "/"
        if not self._looks.active or not self._looks.inside(folder) or self._looks.is_library(folder):
            raise ImportError
        for hook in sys.path_hooks:
            if hook == self._finder:
                continue
            try:
                usual = hook(folder[:-1])
            except ImportError:
                continue
            if isinstance(usual, FileFinder):
                return _LookingFinder.like(usual, self._looks)
        raise ImportError


# -- wrapped functions ---------------------------------------------------------------------------------------------


def _replace(homes: Iterable[Any], name: str, replacement: Callable[..., Any]) -> None:
    """Put a function in the place of another, so that it is taken for it."""
    for home in homes:
        original = getattr(home, name)
        for abilities in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
            if original in abilities:
                abilities.add(replacement)
        replacement.__doc__ = original.__doc__
        setattr(home, name, replacement)
    replacement.__name__ = replacement.__qualname__ = name
    replacement.__module__ = "os" if next(iter(homes)) is os else "io"


def _stat(looks: Looks, original: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        if dir_fd is not None or not looks.active:
            return original(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
        try:
            status = original(path) if follow_symlinks else original(path, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError):
            looks.absent(path)
            raise
        if modes.S_ISREG(status.st_mode) or modes.S_ISDIR(status.st_mode):
            looks.found(path)
        return status

    return stat


def _lstat(looks: Looks, original: Callable[..., os.stat_result]) -> Callable[..., os.stat_result]:
    def lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
        if dir_fd is not None or not looks.active:
            return original(path, dir_fd=dir_fd)
        try:
            status = original(path)
        except (FileNotFoundError, NotADirectoryError):
            looks.absent(path)
            raise
        if modes.S_ISREG(status.st_mode) or modes.S_ISDIR(status.st_mode):
            looks.found(path)
        return status

    return lstat


def _access(looks: Looks, original: Callable[..., bool]) -> Callable[..., bool]:
    def access(path: Any, mode: int, **options: Any) -> bool:
        allowed = original(path, mode, **options)
        if looks.active and not options:
            (looks.found if allowed else looks.absent)(path)
        return allowed

    return access


def _moving(looks: Looks, original: Callable[[Any], None]) -> Callable[[Any], None]:
    def move(path: Any) -> None:
        original(path)
        looks.moved()

    return move


def _os_open(looks: Looks, original: Callable[..., int]) -> Callable[..., int]:
    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if dir_fd is not None or not looks.active or flags & os.O_DIRECTORY:
            return original(path, flags, mode, dir_fd=dir_fd)
        if flags & _WRITING:
            return int(_writing(looks, path, bool(flags & os.O_TRUNC), lambda: original(path, flags, mode)))
        return int(_reading(looks, path, lambda: original(path, flags, mode)))

    return open


def _open(looks: Looks, original: Callable[..., Any]) -> Callable[..., Any]:
    def open(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if not looks.active or isinstance(file, int):
            return original(file, mode, *arguments, **options)
        if mode in ("r", "rb", "rt") or not set(mode) & set("wxa+"):
            return _reading(looks, file, lambda: original(file, mode, *arguments, **options))
        return _writing(looks, file, "w" in mode, lambda: original(file, mode, *arguments, **options))

    return open


def _reading(looks: Looks, path: Any, call: Callable[[], Any]) -> Any:
    try:
        handle = call()
    except (FileNotFoundError, NotADirectoryError):
        looks.absent(path)
        raise
    looks.read(path)
    return handle


def _writing(looks: Looks, path: Any, truncates: bool, call: Callable[[], Any]) -> Any:
    existed = looks.exists(path)
    try:
        handle = call()
    except FileExistsError:
        looks.found(path)
        raise
    except FileNotFoundError:
        looks.absent(path)
        raise
    looks.written(path, existed=existed, truncated=truncates)
    return handle


def _listdir(looks: Looks, original: Callable[..., list[Any]]) -> Callable[..., list[Any]]:
    def listdir(path: Any = None) -> list[Any]:
        # The machinery looks for distributions, too, while nothing is recorded.
        if sys._getframe(1).f_globals.get("__name__") in _LOOK_FOR_DISTRIBUTIONS:
            folder = os.path.abspath(path or ".")
            if looks.inside(folder + "/"):
                return _unnoticed(folder, original)
        return original(path)

    return listdir


def _unnoticed(folder: str, listdir: Callable[..., list[Any]]) -> list[Any]:
    """List a folder without leaving an access time."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | getattr(os, "O_NOATIME", 0))
    except PermissionError:
        return listdir(folder)
    try:
        return listdir(handle)
    finally:
        os.close(handle)


# -- modules -------------------------------------------------------------------------------------------------------


class _LookingFinder(FileFinder):
    """Finds modules by asking for each possible file, and remembers which were not there."""

    _looks: Looks

    @classmethod
    def like(cls, usual: FileFinder, looks: Looks) -> _LookingFinder:
        """Return a finder for the same folder and the same kinds of files."""
        finder = cls(usual.path)
        finder.__dict__.update(usual.__dict__)
        finder._looks = looks
        return finder

    def _fill_cache(self) -> None:
        self._path_cache = self._relaxed_path_cache = _Everything()

    def find_spec(self, fullname: str, target: Any = None) -> ModuleSpec | None:
        """Look a module up."""
        found = super().find_spec(fullname, target)
        if self._looks.active and (found is None or found.loader is None):
            tail = os.path.join(self.path, fullname.rpartition(".")[2])
            self._looks.missed.update((tail + ".py", tail + "/__init__.py"))
        return found


class _Everything(frozenset[str]):
    def __contains__(self, name: object) -> bool:
        return True
