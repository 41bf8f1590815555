"""Runs a notebook of the table in a real kernel, as nbclient and therefore JupyterLab would."""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
from nbclient.exceptions import CellExecutionError, DeadKernelError


def run_notebook(path: Path, *, timeout: float = 90) -> str:
    """Execute the notebook at `path` in a kernel of its own, `skip` cells left out.

    Returns "" when it ran to the end, else the name of the exception that stopped it ("DeadKernel" for a kernel that
    died) and its text.
    """
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [cell for cell in notebook.cells if "skip" not in cell.metadata.get("tags", [])]
    place = {"metadata": {"path": str(path.parent)}}
    client = nbclient.NotebookClient(notebook, timeout=timeout, kernel_name="python3", resources=place)
    try:
        client.execute()
    except CellExecutionError as error:
        return f"{error.ename}: {error.evalue}"
    except DeadKernelError:
        return "DeadKernel"
    return ""
