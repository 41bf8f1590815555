"""One real server for the tests of the interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.building import write_notebook
from tests.jupyter import Server, running_server

CELLS = [
    ("imports", "import math"),
    ("parameters", "radius = 2.0  # of the circle"),
    ("step:area", "area = math.pi * radius**2\nprint('computing')"),
    ("step:volume", "volume = area * 3"),
    ("pipeline-metrics", "print(volume)"),
]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "nbkube.toml").touch()
    write_notebook(folder / "circle.ipynb", CELLS)
    with running_server(folder, tmp_path_factory.mktemp("settings")) as found:
        yield found
