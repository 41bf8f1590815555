"""Names that cells read, write and change; pure, never runs or imports user code.

The names below are loaded when first used: a process that only reads the types does not load the analysis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "analyze": "flow",
    "normalise": "normal",
    **dict.fromkeys(("AssignedLiteral", "assigned_literals", "substitute"), "parameters"),
    **dict.fromkeys(("Parsed", "parse_cell"), "parse"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'model')}"), name)
