"""Names that cells read, write and change; pure, never runs or imports user code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbkube.dataflow.flow import analyze
    from nbkube.dataflow.model import Dependency, Effects, Flow, NameUse, Replay, Unit, UnitFlow
    from nbkube.dataflow.normal import normalise
    from nbkube.dataflow.parameters import AssignedLiteral, assigned_literals, substitute
    from nbkube.dataflow.parse import Parsed, parse_cell

__all__ = [
    "AssignedLiteral",
    "Dependency",
    "Effects",
    "Flow",
    "NameUse",
    "Parsed",
    "Replay",
    "Unit",
    "UnitFlow",
    "analyze",
    "assigned_literals",
    "normalise",
    "parse_cell",
    "substitute",
]

# Imported when first used: a container needs the types of this stage and not what makes them.
_HOMES = {
    "AssignedLiteral": "nbkube.dataflow.parameters",
    "Dependency": "nbkube.dataflow.model",
    "Effects": "nbkube.dataflow.model",
    "Flow": "nbkube.dataflow.model",
    "NameUse": "nbkube.dataflow.model",
    "Parsed": "nbkube.dataflow.parse",
    "Replay": "nbkube.dataflow.model",
    "Unit": "nbkube.dataflow.model",
    "UnitFlow": "nbkube.dataflow.model",
    "analyze": "nbkube.dataflow.flow",
    "assigned_literals": "nbkube.dataflow.parameters",
    "normalise": "nbkube.dataflow.normal",
    "parse_cell": "nbkube.dataflow.parse",
    "substitute": "nbkube.dataflow.parameters",
}


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
