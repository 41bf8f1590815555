"""Arrow data, and columns of frames made of it: buffers are stored as they lie in memory, and mapped on load."""

from __future__ import annotations

from typing import Any

from nbkube.state.reducers import family

_SMALL = 1 << 16


@family("pyarrow.lib.Array")
def reduce_arrow(dumper: Any, array: Any) -> Any:
    """An array by its buffers; a small part of a large one without the rest."""
    dumper.odd = True
    whole = array.get_total_buffer_size()
    if whole > max(2 * array.nbytes, _SMALL):
        import pyarrow as pa

        array = dumper.keep(pa.concat_arrays([array]))
    return array.__reduce__()


@family("pandas.arrays.ArrowExtensionArray", "pandas.core.arrays.arrow.array.ArrowExtensionArray")
def reduce_column(dumper: Any, column: Any) -> Any:
    """A column by its chunks; pandas itself would copy them into one."""
    dumper.odd = True
    state = {name: value for name, value in column.__dict__.items() if name not in ("_pa_array", "_cache")}
    chunked = column._pa_array
    return make_column, (type(column), chunked.chunks, chunked.type, state, hasattr(column, "_cache"))


def make_column(kind: type, chunks: list[Any], data_type: Any, state: dict[str, Any], caches: bool) -> Any:
    """Make a column over mapped memory."""
    import pyarrow as pa

    made: Any = object.__new__(kind)
    made.__dict__.update(state, _pa_array=pa.chunked_array(chunks, type=data_type))
    if caches:
        made.__dict__["_cache"] = {}
    return made
