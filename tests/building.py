"""Notebooks written for a test, as people's tools write them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CellText = tuple[str, str]
"""Tags (space separated, "" for none) and source."""


def notebook(cells: Sequence[CellText], **metadata: Any) -> dict[str, Any]:
    """Return a version 4.5 notebook of code cells."""
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {
            "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
            "language_info": {"name": "python"},
            **metadata,
        },
        "cells": [
            {
                "cell_type": "code",
                "id": f"cell-{number}",
                "metadata": {"tags": tags.split()} if tags else {},
                "source": source.splitlines(keepends=True),
                "outputs": [],
                "execution_count": None,
            }
            for number, (tags, source) in enumerate(cells, 1)
        ],
    }


def write_notebook(path: Path, cells: Sequence[CellText], **metadata: Any) -> Path:
    """Write a notebook file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook(cells, **metadata), indent=1) + "\n")
    return path
