"""One short line about a value, for people."""

from __future__ import annotations

from typing import Any

_LENGTH = 80
_CODE = frozenset({"module", "function", "builtin_function_or_method", "type", "abc.ABCMeta"})


def is_code(kind: str) -> bool:
    """Tell whether a type, as `type_of` names it, is that of modules, functions or classes: tools, not results."""
    return kind in _CODE


def type_of(value: object) -> str:
    """Return the qualified name of a value's type."""
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def summary_of(value: object) -> str:
    """Return type and shape, or the value itself where it is short; never runs code of the notebook."""
    kind = type(value)
    if kind in (bool, int, float, complex, type(None)) or (kind is str and len(str(value)) <= _LENGTH):
        text = repr(value)
        return text if len(text) <= _LENGTH else text[: _LENGTH - 1] + "…"
    name = kind.__name__
    if kind.__module__ == "builtins" and kind in (str, bytes, list, tuple, dict, set, frozenset, bytearray):
        return f"{name} of {len(value)}"  # type: ignore[arg-type]
    if isinstance(value, type) or kind.__name__ in ("function", "builtin_function_or_method", "module"):
        return f"{name} {getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
    if kind.__module__.split(".")[0] in ("numpy", "pandas", "tensorflow", "torch", "scipy", "pyarrow"):
        return _shaped(value, name)
    return name


def _shaped(value: Any, name: str) -> str:
    shape = getattr(value, "shape", None)
    if shape is None:
        return name
    size = "x".join(str(one) for one in tuple(shape)) or "scalar"
    dtype = getattr(value, "dtype", None)
    return f"{name} {size}" + (f" {dtype}" if dtype is not None and name != "DataFrame" else "")
