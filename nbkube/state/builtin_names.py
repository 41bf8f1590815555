"""The builtins that the notebook's code sees in a step process."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any


class BuiltinNames(dict[str, Any]):
    """Builtins that know the notebook's names, too.

    The body of a class looks a name up in its own scope, then in the plain storage of the globals, which holds only
    what has been loaded, then here. `find` gives a name of the notebook that is still to be loaded or raises KeyError.
    """

    def __init__(self, scope: dict[str, Any], find: Callable[[str], Any]) -> None:
        super().__init__(vars(builtins))
        self._scope = scope
        self._find = find

    def __getitem__(self, name: str) -> Any:
        # Code that brings globals of its own (`exec(text, {})`) has inherited these builtins: it sees no more.
        if sys._getframe(1).f_globals is self._scope:
            try:
                return self._find(name)
            except KeyError:
                pass
        return vars(builtins)[name]

    def __getattr__(self, name: str) -> Any:
        """In a kernel `__builtins__` is the module: its attributes are there, too."""
        return getattr(builtins, name)
