"""Notebook files: read them, edit their tags and options back."""

from __future__ import annotations

from nbkube.notebook.edit import set_sources, set_tags
from nbkube.notebook.model import Cell, Notebook
from nbkube.notebook.read import parse_notebook, read_notebook

__all__ = ["Cell", "Notebook", "parse_notebook", "read_notebook", "set_sources", "set_tags"]
