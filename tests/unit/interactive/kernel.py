"""Cells executed by a real kernel, as Jupyter would."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient


class Shown:
    """What one cell has shown."""

    def __init__(self, cell: Any) -> None:
        streams = [one for one in cell.outputs if one.output_type == "stream"]
        self.text = "".join(one.text for one in streams)
        self.values = [one.data["text/plain"] for one in cell.outputs if "data" in one]
        errors = [one for one in cell.outputs if one.output_type == "error"]
        self.error = f"{errors[0].ename}: {errors[0].evalue}" if errors else ""


class LiveKernel:
    """A kernel in a folder; each cell is executed when it is given."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def run(self, source: str) -> Shown:
        """Execute a cell and return what it has shown."""
        cell = nbformat.v4.new_code_cell(source)
        self._client.nb.cells.append(cell)
        self._client.execute_cell(cell, len(self._client.nb.cells) - 1)
        return Shown(cell)

    def run_well(self, source: str) -> Shown:
        """Execute a cell that must not fail."""
        shown = self.run(source)
        assert shown.error == "", shown.error + shown.text
        return shown

    def run_all(self, path: Path) -> list[Shown]:
        """Execute all code cells of a notebook file, also those after an error."""
        return [self.run(cell.source) for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


@contextmanager
def live_kernel(folder: Path) -> Iterator[LiveKernel]:
    """Start an ordinary Python kernel whose working directory is `folder`."""
    with TemporaryDirectory(prefix="kernel-") as private:
        manager = AsyncKernelManager(kernel_name="python3")
        manager.connection_file = f"{private}/connection.json"
        manager.transport, manager.ip = "ipc", f"{private}/ipc"
        client = NotebookClient(nbformat.v4.new_notebook(), km=manager, timeout=100, allow_errors=True)
        with client.setup_kernel(cleanup_kc=True, cwd=str(folder)):
            yield LiveKernel(client)


def sources(path: Path) -> Sequence[str]:
    """Return the code cells of a notebook file."""
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
