"""One row of the corpus of broken inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.unit.documents import document, written


class Broken(NamedTuple):
    """A faulty notebook, or a good one with faulty parameters, and what is to be said about it.

    `make` puts it into a folder and returns its path. `code`, `says` (part of message and fix) and `cell` are those of
    the one error; `others` counts further errors that the fault entails.
    """

    name: str
    make: Callable[[Path], Path]
    code: str
    says: str
    cell: int | None = None
    parameters: dict[str, Any] = {}
    others: int = 0


def raw(name: str, data: Any, code: str, says: str, cell: int | None = None, others: int = 0) -> Broken:
    """Return the row of a file with this content: bytes, or JSON."""
    return Broken(name, lambda folder: written(folder, data), code, says, cell, others=others)


def cells(name: str, rows: list[Any], code: str, says: str, cell: int | None = 1, others: int = 0) -> Broken:
    """Return the row of a notebook made of these cells."""
    return raw(name, document(*rows), code, says, cell, others)
