"""Notebook files: read them, edit their tags and options back."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbkube.notebook.edit import set_tags
    from nbkube.notebook.model import Cell, Notebook
    from nbkube.notebook.read import parse_notebook, read_notebook

__all__ = [
    "Cell",
    "Notebook",
    "parse_notebook",
    "read_notebook",
    "set_tags",
]

# Imported when first used: a container needs the types of this stage and not what makes them.
_HOMES = {
    "Cell": "nbkube.notebook.model",
    "Notebook": "nbkube.notebook.model",
    "parse_notebook": "nbkube.notebook.read",
    "read_notebook": "nbkube.notebook.read",
    "set_tags": "nbkube.notebook.edit",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
