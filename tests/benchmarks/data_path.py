"""What it costs to store and to load large values: `python -m tests.benchmarks.data_path`.

Writing is compared with hashing and writing the same bytes at the same time and syncing them, in turn, from memory that
is warm; values with Python objects in them with a plain pickle of protocol 5, written and synced. NBKUBE_BENCH_BYTES
sets the size of the large values (1 GiB), NBKUBE_BENCH_FOLDER where files are written.
"""

from __future__ import annotations

import datetime
import hashlib
import os
import pickle
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace
from nbkube.state.publish import publish
from nbkube.storage import LocalStore
from tests.benchmarks.measure import Line, show

REPEAT = 5
PIECE = 4 << 20
Make = Callable[[int], Any]


def bare_write(buffers: list[memoryview], path: Path) -> None:
    """Hash and write bytes side by side, in as few lines as that takes, and sync them."""
    digest = hashlib.sha256()

    def hash_all() -> None:
        for buffer in buffers:
            digest.update(buffer)

    with path.open("wb", buffering=0) as file:
        beside = threading.Thread(target=hash_all)
        beside.start()
        for buffer in buffers:
            for start in range(0, buffer.nbytes, PIECE):
                file.write(buffer[start : start + PIECE])
        os.fsync(file.fileno())
        beside.join()


def pickle_write(value: Any, path: Path) -> None:
    """Write a plain pickle and sync it."""
    with path.open("wb") as file:
        pickle.dump(value, file, protocol=5)
        file.flush()
        os.fsync(file.fileno())


def store_value(value: Any, folder: Path) -> tuple[LocalStore, dict[str, OutputRef]]:
    """Store a value as a step does."""
    store = LocalStore(folder)
    space = Namespace({}, store)
    space["value"] = value
    return store, publish(space).outputs


def load_value(store: LocalStore, outputs: dict[str, OutputRef]) -> Any:
    """Load a value as a step does."""
    return Namespace(outputs, store).load("value")


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long a call takes, and what it returns."""
    started = time.perf_counter()
    result = call()
    return time.perf_counter() - started, result


def array(size: int) -> Any:
    """Floats, `size` bytes of them."""
    return np.random.default_rng(0).random(size // 8)


def numeric(size: int) -> Any:
    """A frame of eight columns of floats."""
    return pd.DataFrame(array(size).reshape(-1, 8), columns=list("abcdefgh"))


def arrow_table(size: int) -> Any:
    """An Arrow table of floats."""
    return pa.table({"a": array(size // 2), "b": array(size // 2)})


def arrow_frame(size: int) -> Any:
    """A frame of Arrow columns: floats and texts."""
    count = size // 16
    texts = pa.array([f"text {number % 1000}" for number in range(1000)])
    taken = pa.concat_arrays([texts] * max(count // 1000, 1))
    columns = {"number": pd.ArrowDtype(pa.float64()), "text": pd.ArrowDtype(pa.string())}
    return pa.table({"number": array(8 * len(taken)), "text": taken}).to_pandas(
        types_mapper={pa.float64(): columns["number"], pa.string(): columns["text"]}.get
    )


def mixed(size: int) -> Any:
    """A frame of texts, dates, objects and numbers."""
    count = size // 200
    return pd.DataFrame(
        {
            "text": [f"review number {number}" for number in range(count)],
            "date": pd.date_range("2020-01-01", periods=count, freq="s"),
            "day": [datetime.date(2020, 1, 1 + number % 28) for number in range(count)],
            "kind": pd.Categorical(["good", "bad"] * (count // 2) + ["bad"] * (count % 2)),
            "value": np.arange(count) / 7,
            "list": [[number] for number in range(count)],
        }
    )


def measure(make: Make, size: int, folder: Path) -> tuple[float, float, float]:
    """Return median seconds of storing, of the bare write of the same bytes, and of loading."""
    value = make(size)
    buffers: list[memoryview] = []
    pickle.dumps(value, 5, buffer_callback=lambda one: buffers.append(one.raw()))
    ours, theirs, loads = [], [], []
    for turn in range(REPEAT + 1):
        bare, _ = seconds(lambda: bare_write(buffers, folder / "bare"))
        (folder / "bare").unlink()
        stored, (store, outputs) = seconds(lambda: store_value(value, folder / "store"))
        loaded, _ = seconds(lambda: load_value(store, outputs))  # noqa: B023
        shutil.rmtree(folder / "store")
        if turn:
            ours.append(stored)
            theirs.append(bare)
            loads.append(loaded)
    return statistics.median(ours), statistics.median(theirs), statistics.median(loads)


def measure_pickle(size: int, folder: Path) -> tuple[float, float]:
    """Return how often as long storing and loading a mixed frame take as with a plain pickle, medians in turn."""
    value = mixed(size)
    stores, loads = [], []
    for turn in range(REPEAT + 1):
        plain, _ = seconds(lambda: pickle_write(value, folder / "plain"))
        stored, (store, outputs) = seconds(lambda: store_value(value, folder / "store"))
        back, _ = seconds(lambda: pickle.loads((folder / "plain").read_bytes()))
        loaded, _ = seconds(lambda: load_value(store, outputs))  # noqa: B023
        shutil.rmtree(folder / "store")
        if turn:
            stores.append(stored / plain)
            loads.append(loaded / back)
    return statistics.median(stores), statistics.median(loads)


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    size = int(os.environ.get("NBKUBE_BENCH_BYTES", 1 << 30))
    lines = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("NBKUBE_BENCH_FOLDER")) as name:
        folder = Path(name)
        for what, make in (
            ("numpy array", array),
            ("numeric frame", numeric),
            ("Arrow table", arrow_table),
            ("Arrow frame", arrow_frame),
        ):
            ours, theirs, load = measure(make, size, folder)
            lines += [
                Line(f"{what}, stored", ours, "s"),
                Line(f"{what}, speed beside a bare write", theirs / ours, "x", 0.8, at_least=True),
                Line(f"{what}, loaded", load * 1000, "ms", 20),
            ]
        store, load = measure_pickle(size // 4, folder)
        lines += [
            Line("mixed frame, stored, beside a pickle", store, "x", 1.2),
            Line("mixed frame, loaded, beside a pickle", load, "x", 1.2),
        ]
    return show(f"Large values ({size >> 20} MiB, median of {REPEAT})", lines)


if __name__ == "__main__":
    sys.exit(not main())
