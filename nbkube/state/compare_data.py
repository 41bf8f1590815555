"""Comparing arrays, frames, models and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbkube.state.compare import Handler, _Walk


def array(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Arrays: dtype, shape, all elements (NaN equals NaN), and whether memory is shared."""
    if left.dtype != right.dtype or left.shape != right.shape:
        walk.note(path, "shape", f"{left.dtype} {left.shape}", f"{right.dtype} {right.shape}")
        return
    if left.flags.writeable != right.flags.writeable:
        words = ["writable" if one.flags.writeable else "read-only" for one in (left, right)]
        walk.note(path, "value", *words)
    if left.size:
        walk.same_memory(path, _owner(left), _owner(right))
    _elements(walk, path, left, right)


def _owner(one: Any) -> Any:
    """Return the array that holds the memory."""
    from nbkube.state.reducers.arrays import base_of

    base = base_of(one)
    while base is not None:
        one, base = base, base_of(base)
    return one


def _elements(walk: _Walk, path: str, left: Any, right: Any) -> None:
    import numpy as np

    if left.dtype.hasobject and left.dtype.kind != "T":
        if left.dtype.kind == "O":
            for index, first, second in zip(np.ndindex(left.shape), left.flat, right.flat, strict=True):
                walk.push(f"{path}[{', '.join(map(str, index))}]", first, second)
        else:
            walk.push(path, left.tolist(), right.tolist(), fresh=True)
        return
    if left.dtype.names is not None:
        # Field by field: the padding between them may hold anything.
        for field in left.dtype.names:
            _elements(walk, f"{path}[{field!r}]", np.asarray(left[field]), np.asarray(right[field]))
        return
    same = np.asarray(left == right)
    if left.dtype.kind in "fcmM" and not same.all():
        nans = np.isnan if left.dtype.kind in "fc" else np.isnat
        same |= nans(left) & nans(right)
        if walk.tolerance is not None and left.dtype.kind in "fc" and not same.all():
            same |= np.isclose(left, right, rtol=walk.tolerance, atol=walk.tolerance, equal_nan=True)
    if same.all():
        return
    where = tuple(int(one[0]) for one in np.nonzero(~same)) if same.ndim else ()
    count = int((~same).sum())
    more = f" (and {count - 1} more elements)" if count > 1 else ""
    # The place is the array, not the element: which one differs first is chance where the array varies by itself.
    place = f"element [{', '.join(map(str, where))}] " if where else ""
    walk.note(path, "value", f"{place}{left[where]!r}{more}", repr(right[where]))


def masked(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Masked arrays: data, mask and fill value."""
    import numpy as np

    mask = np.ma.getmaskarray(left)
    if left.shape != right.shape or (mask != np.ma.getmaskarray(right)).any():
        walk.note(path, "value", "its mask", "another mask")
        return
    _elements(walk, path, np.where(mask, 0, left.data), np.where(mask, 0, right.data))
    walk.push(f"{path}.fill_value", left.fill_value, right.fill_value, fresh=True)


def scalar(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """numpy scalars."""
    import numpy as np

    _elements(walk, path, np.asarray(left), np.asarray(right))


def index(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Indexes: type, dtype, names, elements."""
    if left.dtype != right.dtype or list(left.names) != list(right.names):
        walk.note(path, "type", f"{left.dtype} {list(left.names)}", f"{right.dtype} {list(right.names)}")
    elif not left.equals(right):
        walk.note(path, "value", str(left[:5].tolist()), str(right[:5].tolist()))


def series(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Series: index, dtype, elements; objects in them one by one."""
    walk.push(f"{path}.index", left.index, right.index)
    walk.push(f"{path}.name", left.name, right.name)
    walk.push(f"{path}.attrs", left.attrs, right.attrs, fresh=True)
    _column(walk, path, left, right)


def _column(walk: _Walk, path: str, left: Any, right: Any) -> None:
    if left.dtype != right.dtype or len(left) != len(right):
        walk.note(path, "type", f"{left.dtype} x {len(left)}", f"{right.dtype} x {len(right)}")
        return
    if left.dtype == object:
        for number, (first, second) in enumerate(zip(left.array, right.array, strict=True)):
            walk.push(f"{path}[{number}]", first, second)
        return
    import numpy as np

    first, second = left.array, right.array
    if left.dtype.kind == "f" and isinstance(left.dtype, np.dtype):
        _elements(walk, path, np.asarray(first), np.asarray(second))
    elif not first.equals(second):
        unequal = (left.reset_index(drop=True) != right.reset_index(drop=True)).fillna(False)
        where = int(np.argmax(np.asarray(unequal, dtype=bool)))
        walk.note(path, "value", f"element [{where}] {left.iloc[where]!r}", repr(right.iloc[where]))


def frame(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Frames: columns, index, and each column."""
    walk.push(f"{path}.columns", left.columns, right.columns)
    walk.push(f"{path}.index", left.index, right.index)
    walk.push(f"{path}.attrs", left.attrs, right.attrs, fresh=True)
    if left.shape != right.shape:
        walk.note(path, "shape", str(left.shape), str(right.shape))
        return
    if not left.columns.equals(right.columns):
        return
    for number, name in enumerate(left.columns):
        _column(walk, f"{path}[{name!r}]", left.iloc[:, number], right.iloc[:, number])


def extension(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """pandas' own arrays."""
    if left.dtype != right.dtype or len(left) != len(right) or not left.equals(right):
        walk.note(path, "value", left, right)


def tensor(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Tensors and variables by their numbers."""
    walk.push(path, left.numpy(), right.numpy(), fresh=True)


def keras(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Keras objects by configuration and variables, the optimizer's included."""
    from nbkube.state.reducers.models import outline_of

    first, second = outline_of(left), outline_of(right)
    for name in first:
        walk.push(f"{path}<{name}>", first[name], second.get(name), fresh=True)


def figure(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Figures by what they look like."""
    import io

    pictures = []
    for one in (left, right):
        out = io.BytesIO()
        one.savefig(out, format="rgba")
        pictures.append(out.getvalue())
    if pictures[0] != pictures[1]:
        walk.note(path, "value", "the figure", "a figure that looks different")


def nothing(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """What is compared by type alone."""


def equal(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Values that know whether they are equal."""
    if left != right:
        walk.note(path, "value", repr(left)[:80], repr(right)[:80])


def member(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Members of enumerations by name."""
    walk.push(f"{path}.name", getattr(left, "name", None), getattr(right, "name", None))
    walk.push(f"{path}.value", left._value_, right._value_, fresh=True)


def weak(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Weak dictionaries by the entries that are alive; what they keep besides is their own affair."""
    walk.push(path, dict(left), dict(right), fresh=True)


def weak_set(walk: _Walk, path: str, left: Any, right: Any) -> None:
    """Weak sets by the number of members alive; they come in no order."""
    if len(left) != len(right):
        walk.note(path, "length", str(len(left)), str(len(right)))


_BY_NAME: dict[str, Handler] = {
    "numpy.ma.MaskedArray": masked,
    "numpy.ma.core.MaskedArray": masked,
    "numpy.ndarray": array,
    "numpy.generic": scalar,
    "numpy.dtype": equal,
    "pandas.DataFrame": frame,
    "pandas.core.frame.DataFrame": frame,
    "pandas.Series": series,
    "pandas.core.series.Series": series,
    "pandas.Index": index,
    "pandas.core.indexes.base.Index": index,
    "pandas.api.extensions.ExtensionArray": extension,
    "pandas.core.arrays.base.ExtensionArray": extension,
    "keras.src.saving.keras_saveable.KerasSaveable": keras,
    "tensorflow.python.framework.tensor.Tensor": tensor,
    "tensorflow.python.ops.variables.Variable": tensor,
    "torch.Tensor": tensor,
    "matplotlib.figure.FigureBase": figure,
    "matplotlib.artist.Artist": nothing,
    "matplotlib.axes._base._AxesBase": nothing,
    "enum.Enum": member,
    "pathlib.PurePath": equal,
    "pathlib._local.PurePath": equal,
    "datetime.date": equal,
    "datetime.time": equal,
    "datetime.timedelta": equal,
    "decimal.Decimal": lambda walk, path, left, right: equal(walk, path, str(left), str(right)),
    "re.Pattern": equal,
    "logging.Logger": lambda walk, path, left, right: walk.named(path, left, right),
    "types.GenericAlias": equal,
    "typing._GenericAlias": lambda walk, path, left, right: equal(walk, path, repr(left), repr(right)),
    "typing.TypeVar": lambda walk, path, left, right: walk.named(path, left, right),
    "weakref.WeakKeyDictionary": weak,
    "weakref.WeakValueDictionary": weak,
    "_weakrefset.WeakSet": weak_set,
    "builtins.range": equal,
    "builtins.slice": equal,
}
_found: dict[type, Any] = {}


def data_handler(kind: type) -> Handler | None:
    """Return how objects of a type are compared, or None for the general way."""
    if kind not in _found:
        names = (f"{base.__module__}.{base.__qualname__}" for base in kind.__mro__)
        _found[kind] = next((_BY_NAME[name] for name in names if name in _BY_NAME), None)
    found: Handler | None = _found[kind]
    return found
