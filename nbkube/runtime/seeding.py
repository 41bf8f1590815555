"""Noticing that a cell sets the seed of a global random generator, wherever the call comes from."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, cast

_SEEDERS = {
    "random": ("seed", "setstate"),
    "numpy.random": ("seed", "set_state"),
    "torch.random": ("manual_seed", "set_rng_state"),
    "tensorflow.python.framework.random_seed": ("set_seed", "set_random_seed"),
}


class Seeding:
    """Wraps the functions that set a seed, in modules loaded now and in those loaded later."""

    def __init__(self) -> None:
        self.by: set[str] = set()
        """Modules whose generators have been given a seed."""

    @property
    def seeded(self) -> bool:
        """Whether a seed has been set."""
        return bool(self.by)

    def watch(self) -> None:
        """Begin to notice."""
        for name in _SEEDERS:
            if name in sys.modules:
                self._wrap(sys.modules[name])
        sys.meta_path.insert(0, self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find one of the modules as usual, and have its functions wrapped once it is loaded."""
        if fullname not in _SEEDERS:
            return None
        for finder in sys.meta_path:
            found = finder.find_spec(fullname, path, target) if finder is not self else None
            if found is not None:
                if found.loader is not None:
                    # Not derived from the abstract classes: importing those takes as long as a cell.
                    found.loader = cast("Any", _Wrapping(found.loader, self._wrap))
                return found
        return None

    def _wrap(self, module: ModuleType) -> None:
        for name in _SEEDERS[module.__name__]:
            function = getattr(module, name, None)
            if function is not None:
                setattr(module, name, self._wrapped(function, module.__name__))

    def _wrapped(self, function: Any, module: str) -> Any:
        @functools.wraps(function)
        def seeding(*arguments: Any, **options: Any) -> Any:
            # Without a seed these draw one from the system.
            if any(one is not None for one in (*arguments, *options.values())):
                self.by.add(module)
            return function(*arguments, **options)

        return seeding

    def before_fork(self) -> Any:
        """Return what `after_fork` needs to know."""
        random = sys.modules.get("random")
        return random.getstate() if random is not None and "random" in self.by else None

    def after_fork(self, python_state: Any) -> None:
        """Let this process draw numbers of its own, as if it had loaded the libraries itself.

        Generators that were seeded keep their state. Python's own draws a new seed in every forked process. torch
        starts from one and the same state in every process, and TensorFlow has no state before its first operation.
        """
        if python_state is not None:
            sys.modules["random"].setstate(python_state)
        numpy = sys.modules.get("numpy.random")
        if numpy is not None and "numpy.random" not in self.by:
            numpy.seed()


class _Wrapping:
    """A loader that does something more once the module has been loaded."""

    def __init__(self, usual: Any, then: Any) -> None:
        self._usual = usual
        self._then = then

    def __getattr__(self, name: str) -> Any:
        return getattr(self._usual, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Make the module as usual."""
        module: ModuleType | None = self._usual.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Load the module as usual, then go on."""
        self._usual.exec_module(module)
        self._then(module)
