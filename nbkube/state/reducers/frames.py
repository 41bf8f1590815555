"""pandas: the memory of a frame is its own, since copy-on-write keeps frames from seeing each other's changes."""

from __future__ import annotations

import io
import pickle
from typing import Any

from nbkube.state.reducers import exact, family, find_reducer
from nbkube.state.reducers.arrays import Detached
from nbkube.state.reducers.arrow import reduce_arrow, reduce_column


class _Isolated:
    """An immutable or wholly owned object: nothing inside it is shared with anything outside."""

    def __init__(self, value: Any) -> None:
        self.value = value


@exact("nbkube.state.reducers.frames._Isolated")
def reduce_isolated(dumper: Any, value: _Isolated) -> Any:
    """A pickle inside the pickle; its big buffers go with the others."""
    return load_isolated, isolated(dumper, value.value)


def isolated(dumper: Any, reduced: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """Pickle what a reducer returned, or an object, on its own; return the bytes and the big buffers."""
    buffers: list[pickle.PickleBuffer] = []

    def take(buffer: pickle.PickleBuffer) -> bool:
        if buffer.raw().nbytes < 1 << 16:
            return True
        buffers.append(buffer)
        return False

    file = io.BytesIO()
    _Pickler(file, 5, buffer_callback=take).dump(reduced)
    return file.getvalue(), buffers


class _Pickler(pickle.Pickler):
    """Knows of Arrow data only; all else goes the usual way."""

    odd = False

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._kept: list[Any] = []

    def reducer_override(self, value: Any) -> Any:
        """Return how to store an object that is no plain data (called by the C pickler)."""
        reducer = find_reducer(type(value))
        return reducer(self, value) if reducer in (reduce_arrow, reduce_column) else NotImplemented

    def keep(self, value: Any) -> Any:
        """Keep a temporary object alive, so that its id is not used again."""
        self._kept.append(value)
        return value


def load_isolated(data: bytes, buffers: list[Any]) -> Any:
    """Load a pickle inside the pickle."""
    return pickle.loads(data, buffers=buffers)


@family("pandas.Index", "pandas.core.indexes.base.Index")
def reduce_index(dumper: Any, value: Any) -> Any:
    """An index: immutable, so what it holds is nobody's business."""
    if type(value).__name__ == "RangeIndex":
        return NotImplemented
    if value.dtype == object:
        return NotImplemented
    dumper.odd = True
    return load_isolated, isolated(dumper, value)


@family("pandas._libs.internals.Block")
def reduce_block(dumper: Any, value: Any) -> Any:
    """A block of a frame: memory of its own; objects in it keep their identity."""
    import numpy as np

    dumper.odd = True
    make, (values, places, dimensions) = value.__reduce__()
    if isinstance(values, np.ndarray):
        held: Any = dumper.keep(Detached(values))
    else:
        held = dumper.keep(_Isolated(values))
    return make, (held, places, dimensions)
