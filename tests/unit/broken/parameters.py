"""Values that do not fit the parameters of a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.broken.row import Broken
from tests.unit.documents import code, document, written

_SOURCE = """\
epochs = 10  # rounds
rate: float = 0.1
name = "model"
deep = True
sizes = [1, 2]
table = {"a": 1}
pair = (1, 2)
empty = None
kinds = {"a"}
derived = epochs * 2
"""


def _make(folder: Path) -> Path:
    return written(folder, document(code(_SOURCE, "parameters"), code("print(epochs)", "step:a")))


def _value(name: str, value: Any, says: str) -> Broken:
    return Broken(f"{name}-{str(value)[:20]!r}", _make, "bad-parameter", says, 1, {name: value})


def _name(name: str, code_: str, says: str, cell: int | None = None) -> Broken:
    return Broken(f"no-{name!r}", _make, code_, says, cell, {name: "1"})


ROWS: list[Broken] = [
    _value("epochs", "ten", "give a whole number such as 10"),
    _value("epochs", "1.5", "not a whole number"),
    _value("epochs", "", "not a whole number"),
    _value("epochs", "1e3", "not a whole number"),
    _value("epochs", "٣", "not a whole number"),
    _value("epochs", "9" * 5000, "too long"),
    _value("epochs", "{{workflow.name}}", "not a whole number"),
    _value("epochs", "10; rm -rf /", "not a whole number"),
    _value("epochs", "x" * 2**16, "not a whole number"),
    _value("epochs", [1], "is of type list, wanted is int"),
    _value("epochs", None, "is of type null"),
    _value("epochs", True, "is of type bool"),
    _value("epochs", 2.5, "is of type float"),
    _value("rate", "fast", "give a number such as 0.5"),
    _value("rate", "nan", "not a number"),
    _value("rate", "1e999", "too large"),
    _value("rate", "0,1", "not a number"),
    _value("name", 5, "wanted is str"),
    _value("name", ["a"], "wanted is str"),
    _value("deep", "maybe", "neither true nor false"),
    _value("deep", 1, "wanted is bool"),
    _value("sizes", "5", "wanted is list"),
    _value("sizes", "[1, 2", "neither JSON nor a Python literal"),
    _value("sizes", "__import__('os')", "neither JSON nor a Python literal"),
    _value("sizes", "[" * 3000, "neither JSON nor a Python literal"),
    _value("sizes", {"a": 1}, "wanted is list"),
    _value("table", "[]", "wanted is dict"),
    _value("table", '{"a": NaN}', "neither JSON nor a Python literal"),
    _value("pair", "7", "wanted is tuple"),
    _value("kinds", "3", "wanted is set"),
    _name("epoch", "unknown-parameter", "did you mean epochs?"),
    _name("Rate", "unknown-parameter", "did you mean rate?"),
    _name("import", "unknown-parameter", "it has epochs, rate"),
    _name("a b", "unknown-parameter", "there is no parameter 'a b'"),
    _name("__class__", "unknown-parameter", "there is no parameter"),
    _name("derived", "derived-parameter", "computed in the notebook", 1),
]
