"""Names that cells read, write and change; pure, never runs or imports user code."""

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
