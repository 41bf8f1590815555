"""Arrow data, columns of dates and texts, and types of other distributions: stored, mapped, and seen to change."""

from __future__ import annotations

import datetime
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nbkube.state import reducers
from nbkube.state.memory import address_of
from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace
from nbkube.state.publish import publish
from nbkube.storage import LocalStore


def stored(value: object, folder: Path) -> tuple[LocalStore, dict[str, OutputRef]]:
    store = LocalStore(folder / "store")
    space = Namespace({}, store)
    space["value"] = value
    published = publish(space)
    assert not published.holes
    return store, published.outputs


def loaded(value: object, folder: Path) -> tuple[Namespace, Any]:
    store, outputs = stored(value, folder)
    space = Namespace(outputs, store)
    return space, space.load("value")


def mapped(space: Namespace, buffer: pa.Buffer) -> bool:
    """Tell whether a buffer lies in the map of a stored blob."""
    maps = [stream.blob.map for stream in space.loader.streams.values() if stream.blob.map is not None]
    return any(address_of(one) <= buffer.address < address_of(one) + len(one) for one in maps)


def test_arrow_columns_are_mapped(tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"text {number}" for number in range(50_000)], "number": np.arange(50_000)})
    arrow = frame.convert_dtypes(dtype_backend="pyarrow")
    space, back = loaded(arrow, tmp_path)
    pd.testing.assert_frame_equal(back, arrow)
    for name in ("text", "number"):
        buffers = back[name].array._pa_array.chunk(0).buffers()
        assert mapped(space, buffers[-1])
    assert publish(space).outputs == {}
    back.loc[3, "text"] = "changed"
    assert set(publish(space).outputs) == {"value"}


def test_chunks_and_empty_columns(tmp_path: Path) -> None:
    column = pd.Series(["a", "b"] * 50, dtype=pd.ArrowDtype(pa.string()))
    frame = pd.concat([column, column], ignore_index=True).to_frame("x")
    empty = frame[:0]
    _, back = loaded([frame, empty, pd.Series([], dtype="str")], tmp_path)
    pd.testing.assert_frame_equal(back[0], frame)
    pd.testing.assert_frame_equal(back[1], empty)
    assert list(back[2]) == []


def test_an_arrow_table_is_mapped_and_a_slice_is_small(tmp_path: Path) -> None:
    table = pa.table({"a": np.arange(100_000.0), "b": [str(number) for number in range(100_000)]})
    space, back = loaded(table, tmp_path)
    assert back.equals(table)
    assert mapped(space, back["a"].chunk(0).buffers()[1])
    part = table.slice(10, 5)
    store, outputs = stored(part, tmp_path / "part")
    assert outputs["value"].size < 10_000
    assert Namespace(outputs, store).load("value").equals(part)


MANY = 3000


def mixed() -> pd.DataFrame:
    days = [datetime.date(2020, 1, 1 + number % 28) for number in range(MANY)]
    lists = [[number] for number in range(MANY)]
    texts = pd.Series([f"text {number}" for number in range(MANY)], dtype=object)
    return pd.DataFrame({"day": days, "list": lists, "text": texts, "none": pd.Series([None] * MANY, dtype=object)})


def test_columns_of_objects(tmp_path: Path) -> None:
    frame = mixed()
    space, back = loaded(frame, tmp_path)
    pd.testing.assert_frame_equal(back, frame)
    assert publish(space).outputs == {}


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame["list"][5].append(1),
        lambda frame: frame.__setitem__("day", frame["day"][::-1].to_numpy()),
        lambda frame: frame.loc.__setitem__((7, "text"), "other"),
        lambda frame: frame._mgr.blocks[0].values.__setitem__((0, 9), datetime.date(1999, 1, 1)),
    ],
)
def test_changes_in_columns_of_objects_are_seen(tmp_path: Path, change: Any) -> None:
    space, back = loaded(mixed(), tmp_path)
    change(back)
    assert set(publish(space).outputs) == {"value"}


def test_an_array_of_texts(tmp_path: Path) -> None:
    array = np.array([f"text {number % 7}" for number in range(MANY)], dtype=object)
    space, back = loaded({"a": array, "same": array, "turned": array.reshape(60, 50).T}, tmp_path)
    assert back["a"] is back["same"]
    assert (back["a"] == array).all()
    assert (back["turned"] == array.reshape(60, 50).T).all()
    assert publish(space).outputs == {}
    back["a"][3] = "text 4"
    assert set(publish(space).outputs) == {"value"}


def test_reducers_of_other_distributions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "site"
    (place / "grids-1.0.dist-info").mkdir(parents=True)
    (place / "grids-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: grids\nVersion: 1.0\n")
    (place / "grids-1.0.dist-info" / "entry_points.txt").write_text(
        "[nbkube.reducers]\ngrids.Grid = grids:reduce_grid\n"
    )
    (place / "grids.py").write_text(
        "import threading\nclass Grid:\n    def __init__(self, size): self.size = size; self.lock = threading.Lock()\n"
        "def reduce_grid(dumper, grid): return type(grid), (grid.size,)\n"
    )
    monkeypatch.syspath_prepend(str(place))
    reducers.plugins.cache_clear()
    try:
        import grids  # type: ignore[import-not-found]

        class Fine(grids.Grid):
            pass

        _, back = loaded(grids.Grid(3), tmp_path)
        assert back.size == 3
        assert reducers.find_reducer(Fine) is grids.reduce_grid
    finally:
        reducers.plugins.cache_clear()
        sys.modules.pop("grids", None)
