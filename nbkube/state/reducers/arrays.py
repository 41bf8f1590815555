"""numpy arrays: their memory beside the pickle, views as views of their base."""

from __future__ import annotations

import ctypes
import functools
import pickle
import sys
from typing import Any

from nbkube.state.reducers import exact, family

Array = Any
"""An ndarray, or what is like one; numpy is not imported for its types."""

_SMALL = 1 << 16
_MANY = 1000
"""Elements from which on it is worth looking at their types."""
_MOST_ROWS = 64


class Detached:
    """An array inside a frame: its memory is the frame's own, whatever it is a view of."""

    def __init__(self, array: Array) -> None:
        self.array = array


def _holds_objects(array: Array) -> bool:
    return bool(array.dtype.hasobject or array.dtype.kind == "T")


def base_of(array: Array) -> Any:
    """Return the array whose memory this one is a view of, or None."""
    base = array.base
    if type(base).__name__ == "DummyArray":
        base = base.base
    if base is None or not hasattr(base, "__array_interface__") or not hasattr(base, "strides"):
        return None
    return base


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


@exact("numpy.ndarray", "numpy.matrix", "numpy.recarray", "numpy.rec.recarray", "numpy.matrixlib.defmatrix.matrix")
def reduce_array(dumper: Any, array: Array) -> Any:
    """An array with its own memory by its bytes, a view by its base, offset, shape and strides."""
    base = base_of(array)
    if base is None or not _inside(array, base):
        return own_memory(dumper, array)
    # Nobody else holds the base (this view, the local name and the call's argument do): only the view's part counts.
    if not dumper.exact and sys.getrefcount(base) <= 3 and base.nbytes > 2 * array.nbytes:
        return own_memory(dumper, array)
    dumper.odd = True
    offset = _address(array) - _address(base)
    return make_view, (type(array), base, array.dtype, offset, array.shape, array.strides, array.flags.writeable)


def _inside(array: Array, base: Array) -> bool:
    import numpy as np

    if array.size == 0:
        return False
    low, high = np.lib.array_utils.byte_bounds(array)
    first, last = np.lib.array_utils.byte_bounds(base)
    return bool(first <= low and high <= last)


def make_view(
    kind: type, base: Array, dtype: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], writeable: bool
) -> Array:
    """Make a view of an array's memory."""
    import numpy as np

    if _holds_objects(base) or dtype.hasobject or dtype.kind == "T":
        start = np.lib.stride_tricks.as_strided(base, (1,), (0,)) if offset == 0 else _object_at(base, offset)
        view = np.lib.stride_tricks.as_strided(start, shape, strides)
    else:
        raw = base if base.flags.c_contiguous and base.dtype.kind not in "mMV" else _flat(base)
        view = np.ndarray(shape, dtype, buffer=raw, offset=offset, strides=strides)
    if not writeable:
        view.flags.writeable = False
    return view if kind is np.ndarray else view.view(kind)


def _flat(base: Array) -> Array:
    """Return the memory of an array as bytes."""
    import numpy as np

    low, high = np.lib.array_utils.byte_bounds(base)
    order = np.argsort([-abs(one) for one in base.strides], kind="stable")
    straight = base.transpose(order)
    if straight.flags.c_contiguous:
        return straight.reshape(-1).view(np.uint8)
    return np.lib.stride_tricks.as_strided(base.reshape(-1)[:1].view(np.uint8), (high - low,), (1,))


def _object_at(base: Array, offset: int) -> Array:
    flat = base.reshape(-1) if base.flags.c_contiguous else base.transpose().reshape(-1)
    return flat[offset // base.itemsize :]


def own_memory(dumper: Any, array: Array) -> Any:
    """Store an array by its own bytes, in the order they have in memory."""
    if _holds_objects(array):
        return _leaves(dumper, array) if array.dtype.kind == "O" and array.size >= _MANY else array.__reduce__()
    straight, kept = array, None
    if not array.flags.c_contiguous:
        order = tuple(sorted(range(array.ndim), key=lambda axis: -abs(array.strides[axis])))
        straight, kept = array.transpose(order), order
        if not straight.flags.c_contiguous:
            straight, kept = array.copy(order="C"), None
    writeable = array.flags.writeable
    if array.nbytes < _SMALL:
        return make_small, (type(array), array.dtype, straight.shape, kept, straight.tobytes(), writeable)
    raw = straight.reshape(-1).view("u1")
    return make_large, (type(array), array.dtype, straight.shape, kept, pickle.PickleBuffer(raw), writeable)


def _leaves(dumper: Any, array: Array) -> Any:
    """Store an array of objects; one of dates, texts and the like at the speed of a plain pickle.

    Such objects never change and nothing is known by their identity. So it is also enough to see which objects the
    array holds to tell later whether it was changed, as long as they are kept.
    """
    kinds = set(map(type, array.reshape(-1).tolist()))
    if not kinds <= _leaf_kinds():
        if array.ndim != 2 or len(array) > _MOST_ROWS or not kinds & _leaf_kinds():
            return array.__reduce__()
        # The columns of a frame that hold objects are the rows of one array.
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        return make_rows, ([dumper.keep(Detached(row)) for row in array], "F" if fortran else "C")
    if dumper.exact:
        held = array.copy(order="K")
        dumper.pins.append(held)
        return _leaves, (held.shape, held.strides, ctypes.string_at(_address(held), held.nbytes))
    return pickle.loads, (pickle.dumps(array, 5),)


def make_rows(rows: list[Array], order: Any) -> Array:
    """Make an array of objects out of its rows."""
    import numpy as np

    made = np.empty((len(rows), len(rows[0])), object, order)
    for number, row in enumerate(rows):
        made[number] = row
    return made


@functools.cache
def _leaf_kinds() -> frozenset[type]:
    import datetime
    import decimal
    import uuid

    dates = (datetime.date, datetime.datetime, datetime.time, datetime.timedelta)
    return frozenset((type(None), bool, int, float, complex, str, bytes, *dates, decimal.Decimal, uuid.UUID))


def make_small(
    kind: type, dtype: Any, shape: tuple[int, ...], order: tuple[int, ...] | None, data: bytes, writeable: bool
) -> Array:
    """Make an array that owns its memory."""
    import numpy as np

    made = np.ndarray(shape, dtype, buffer=data).copy() if data else np.empty(shape, dtype)
    return _finish(made, kind, order, writeable, None)


def make_large(
    kind: type, dtype: Any, shape: tuple[int, ...], order: tuple[int, ...] | None, data: Any, writeable: bool
) -> Array:
    """Make an array over mapped memory."""
    import numpy as np

    return _finish(np.ndarray(shape, dtype, buffer=data), kind, order, writeable, data)


def _finish(made: Array, kind: type, order: tuple[int, ...] | None, writeable: bool, data: Any) -> Array:
    import numpy as np

    if order is not None:
        back = tuple(order.index(axis) for axis in range(len(order)))
        turned = made.transpose(back)
        if data is None:
            made = np.empty_like(turned, order="K")
            made[...] = turned
        else:
            made = np.ndarray(turned.shape, made.dtype, buffer=data, strides=turned.strides)
    if kind is not np.ndarray:
        made = made.view(kind)
    if not writeable:
        made.flags.writeable = False
    return made


@exact("nbkube.state.reducers.arrays.Detached")
def reduce_detached(dumper: Any, value: Detached) -> Any:
    """The memory of an array that is nobody else's."""
    return own_memory(dumper, value.array)


@family("numpy.dtype")
def reduce_dtype(dumper: Any, value: Any) -> Any:
    """The dtypes of which numpy has just one object by their letter: a copy makes `asarray` return views of arrays."""
    import numpy as np

    dumper.odd = True
    if value.char in np.typecodes["All"] and np.dtype(value.char) is value:
        return np.dtype, (value.char,)
    return NotImplemented


@exact("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray")
def reduce_masked(dumper: Any, array: Any) -> Any:
    """A masked array by its data, mask and fill value."""
    import numpy as np

    dumper.odd = True
    state = (array._mask, array._fill_value, array._hardmask, array._sharedmask, dict(array._optinfo))
    base = base_of(array)
    if base is not None and type(base) is np.ndarray and _inside(array, base):
        data: Any = dumper.keep(base if _same(array, base) else array.view(np.ndarray))
    else:
        data = dumper.keep(Detached(array.view(np.ndarray)))
    return make_masked, (data, *state)


def _same(array: Any, base: Array) -> bool:
    return bool(
        array.shape == base.shape
        and array.dtype == base.dtype
        and array.strides == base.strides
        and _address(array) == _address(base)
    )


def make_masked(data: Array, mask: Any, fill: Any, hard: bool, shared: bool, info: dict[str, Any]) -> Any:
    """Make a masked array over the data's memory."""
    import numpy as np

    made: Any = data.view(np.ma.MaskedArray)
    made._mask = mask if mask is np.ma.nomask or mask.shape == data.shape else mask.reshape(data.shape)
    made._fill_value, made._hardmask, made._sharedmask = fill, hard, shared
    made._optinfo.update(info)
    return made


@exact("numpy.memmap")
def reduce_memmap(dumper: Any, array: Any) -> Any:
    """A mapped file is mapped again; without a file's name its content is stored."""
    dumper.odd = True
    if not isinstance(array.base, type(array)) and array._mmap is not None and array.filename is not None:
        mode = "r+" if array.mode == "w+" else array.mode
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        array.flush()
        return make_memmap, (str(array.filename), array.dtype, mode, array.offset, array.shape, order)
    base = base_of(array)
    if base is not None and type(base) is type(array) and _inside(array, base):
        offset = _address(array) - _address(base)
        return make_view, (type(array), base, array.dtype, offset, array.shape, array.strides, array.flags.writeable)
    return own_memory(dumper, array.view(_ndarray()))


def _ndarray() -> type:
    return sys.modules["numpy"].ndarray  # type: ignore[no-any-return]


def make_memmap(name: str, dtype: Any, mode: Any, offset: int, shape: tuple[int, ...], order: Any) -> Any:
    """Map a file of the workspace."""
    import numpy as np

    return np.memmap(name, dtype, mode, offset, shape, order)


@family("numpy.random.mtrand.RandomState")
def reduce_random_state(dumper: Any, value: Any) -> Any:
    """numpy's own generator by name, others by their state."""
    shared = sys.modules["numpy.random.mtrand"]._rand
    if value is shared:
        return global_random_state, ()
    return NotImplemented


def global_random_state() -> Any:
    """Return numpy's own generator."""
    import numpy as np

    return np.random.mtrand._rand
