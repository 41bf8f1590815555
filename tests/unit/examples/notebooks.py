"""The example notebooks, and running one as what it is: a notebook."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[3] / "examples"


def notebook(name: str) -> Path:
    return EXAMPLES / name / f"{name}.ipynb"


def copy_of(name: str, folder: Path) -> Path:
    """Copy an example into an empty folder; return the notebook there."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(notebook(name), folder))


def with_parameters(path: Path, values: Mapping[str, Any]) -> nbformat.NotebookNode:
    """Read a notebook and set parameters as papermill does: in the cell that has the defaults, after them."""
    document = nbformat.read(path, as_version=4)
    (cell,) = (cell for cell in document.cells if "parameters" in cell.metadata.get("tags", []))
    cell.source += "".join(f"\n{name} = {value!r}" for name, value in values.items())
    return document


def run(path: Path, **parameters: Any) -> dict[str, str]:
    """Run a notebook in its folder; return what each cell printed, by cell id."""
    document = with_parameters(path, parameters)
    client = NotebookClient(document, timeout=300, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    client.execute()
    code = [cell for cell in document.cells if cell.cell_type == "code"]
    return {cell.id: "".join(o.text for o in cell.outputs if o.output_type == "stream") for cell in code}
