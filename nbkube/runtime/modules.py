"""The modules a process has loaded since it began to be watched, and those of their files that no distribution owns.

A process forked from another shares its memory until one of them writes; to look at an object is to write, for the
reference is counted in it. Looking at each of two thousand modules would copy the pages of them all. So what had been
loaded at the fork is remembered, and looked at again only when some of it may be another: modules were removed, or code
was loaded that belongs to no distribution, perhaps in the place of a module that was there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nbkube.runtime.looks import Looks

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/"


@dataclass(frozen=True)
class Loaded:
    """What had been loaded at some moment.

    `count`, `last` and `module`: of all that `sys.modules` held, and its newest entry. `tops`: top-level names of what
    had been loaded; `files`: absolute paths of modules that belong to no distribution, whether or not they are there.
    """

    count: int
    last: str
    module: ModuleType
    tops: frozenset[str]
    files: frozenset[str]


class Modules:
    """Loaded modules from `watch` on; one per process.

    Args:
        looks: tells which paths belong to installed distributions, and whether a path is there.
    """

    def __init__(self, looks: Looks) -> None:
        self._looks = looks
        self._given: frozenset[str] = frozenset()
        self._given_tops: frozenset[str] = frozenset()
        self._before: Loaded | None = None

    def watch(self) -> None:
        """Count what is loaded from now on."""
        self._given = frozenset(sys.modules)
        self._given_tops = frozenset(_top(name) for name in self._given) | sys.stdlib_module_names | {"__mp_main__"}
        # The import system looks up these two each time: one opens Python files, the other loads compiled ones.
        for names, name in ((("_io", "io"), "open_code"), (("_imp",), "create_dynamic")):
            homes = [sys.modules[one] for one in names]
            noting = self._noting(getattr(homes[0], name))
            for home in homes:
                setattr(home, name, noting)

    def remember(self) -> None:
        """Spare processes that are now forked from this one to look at what it has loaded."""
        tops, files = self.tops(), self._all_files()
        last = next(reversed(sys.modules))
        self._before = Loaded(len(sys.modules), last, sys.modules[last], tops, files)

    def tops(self) -> frozenset[str]:
        """Return the top-level names of modules loaded, without those of Python itself."""
        before, news = self._news()
        return self._tops(news) if before is None else before.tops | self._tops(news)

    def files(self) -> list[str]:
        """Return the files that are there of modules loaded that belong to no installed distribution, sorted."""
        return sorted(path for path in self._all_files() if self._looks.exists(path))

    def _all_files(self) -> frozenset[str]:
        before, news = self._news()
        return self._files(news) if before is None else before.files | self._files(news)

    def _news(self) -> tuple[Loaded | None, list[str]]:
        """Return what is remembered and still holds, and the names beyond it."""
        before = self._before
        if before is not None:
            news = _newer(before.last)
            # New names come last. So the old ones are all there if there are as many as before.
            if len(sys.modules) == before.count + len(news) and sys.modules.get(before.last) is before.module:
                return before, news
        return None, list(sys.modules)

    def _tops(self, names: Any) -> frozenset[str]:
        return frozenset(_top(name) for name in set(names) - self._given) - self._given_tops

    def _files(self, names: Any) -> frozenset[str]:
        files = set()
        for name in set(names) - self._given:
            file = getattr(sys.modules.get(name), "__file__", None)
            if isinstance(file, str):
                path = os.path.abspath(file)
                if not self._looks.is_library(path):
                    files.add(path)
        return frozenset(files)

    def _noting(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """Forget what is remembered when a file of code is opened that belongs to no distribution."""

        def load(code: Any, *rest: Any) -> Any:
            path = getattr(code, "origin", code)
            if self._before is not None and not (
                isinstance(path, str) and (self._looks.is_library(path) or path.startswith(_PACKAGE))
            ):
                self._before = None
            return original(code, *rest)

        load.__name__ = load.__qualname__ = original.__name__
        load.__doc__, load.__module__ = original.__doc__, original.__module__
        return load


def _top(name: str) -> str:
    return name.partition(".")[0]


def _newer(last: str) -> list[str]:
    """Return the names that have come behind one into `sys.modules`; where that is gone, all."""
    news: list[str] = []
    try:
        for name in reversed(sys.modules):
            if name is last:
                break
            news.append(name)
    except RuntimeError:  # a thread has loaded one meanwhile
        return []
    return news
