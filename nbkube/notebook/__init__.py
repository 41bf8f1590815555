"""Notebook files: read them, edit their tags and options back. The names below are loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbkube.notebook.edit import set_sources, set_tags
    from nbkube.notebook.model import Cell, Notebook
    from nbkube.notebook.read import parse_notebook, read_notebook

__all__ = ["Cell", "Notebook", "parse_notebook", "read_notebook", "set_sources", "set_tags"]

_MODULES = {"set_sources": "edit", "set_tags": "edit", "parse_notebook": "read", "read_notebook": "read"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'model')}"), name)
