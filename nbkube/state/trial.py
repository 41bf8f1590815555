"""Loading a value once right after its dump: some types can be pickled but not loaded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nbkube.state import loading
from nbkube.state.code import decode
from nbkube.state.dump import Dumped
from nbkube.state.errors import CannotLoadError
from nbkube.state.load import Unpickler, run
from nbkube.state.paths import expand_root

if TYPE_CHECKING:
    from nbkube.state.namespace import Namespace

_tried: set[type] = set()
_TRUSTED = ("builtins", "collections", "datetime", "numpy", "pandas", "pyarrow", "decimal", "pathlib", "nbkube", "re")


class _Aside:
    """A resolver whose new definitions stay apart from those of the process."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        self._made: dict[str, object] = {}

    @property
    def globals(self) -> dict[str, Any]:
        return self._namespace

    def named(self, name: str) -> object:
        return self._namespace[name]

    def definition(self, key: str) -> object:
        return self._made[key] if key in self._made else self._namespace.definition(key)

    def adopt(self, key: str, value: object) -> None:
        self._made[key] = value


def trial_load(dumped: Dumped, namespace: Namespace, refs: Sequence[object]) -> None:
    """Load a stream aside if it holds objects of types not tried before; raises `CannotLoadError` where that fails."""
    new = {kind for kind in dumped.dumper.kinds if kind not in _tried}
    # What Cython calls a function goes by its name, as all functions of libraries do.
    if all(kind.__module__.split(".")[0] in _TRUSTED or kind.__module__.startswith("_cython_") for kind in new):
        return
    stream = dumped.stream
    resolver = _Aside(namespace)
    data = expand_root(stream.data, namespace.root) if stream.marked else stream.data
    try:
        unpickler = Unpickler(io.BytesIO(data), stream.buffers, resolver)
        run(unpickler, loading.Loading(resolver, decode(stream.places), list(refs)), stream)
    except Exception as error:
        text = str(error).strip().splitlines()
        raise CannotLoadError(
            f"can be stored but not loaded again: {text[0] if text else type(error).__name__}"
        ) from error
    _tried.update(new)
