"""Typed pipeline parameters: found as literals in `parameters` cells, given as text or as plain values."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from nbkube.dataflow.parameters import assigned_literals
from nbkube.errors import Diagnostic, NotebookError, Place
from nbkube.notebook.model import Cell
from nbkube.notebook.suggest import did_you_mean
from nbkube.pipeline.model import Parameter
from nbkube.pipeline.option_values import shown

_TYPES = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", tuple: "tuple"}
_ANNOTATION = re.compile(r"(?i)(?:typing\.)?(?:Optional\[)?(?:typing\.)?(int|float|str|bool|list|dict|tuple)\b")
_EXAMPLES = {
    "int": "a whole number such as 10",
    "float": "a number such as 0.5",
    "bool": "true or false",
    "list": "a list such as [1, 2]",
    "dict": 'an object such as {"a": 1}',
    "tuple": "a tuple such as (1, 2)",
    "str": "a text",
}
_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


class _WrongValueError(ValueError):
    """A value that does not fit its parameter; the message says what it is."""


def find_parameters(cells: Iterable[Cell], file: str) -> tuple[tuple[Parameter, ...], list[Diagnostic]]:
    """Return the parameters of the `parameters` cells, in order; of a name assigned twice the last value counts."""
    found: dict[str, Parameter] = {}
    notes: list[Diagnostic] = []
    for cell in cells:
        for literal in assigned_literals(cell):
            place = Place(file, cell.number, cell.id, literal.line)
            kind, default = _kind(literal.value)
            stated = _stated(literal.annotation)
            if stated and stated != kind:
                if default is None or (stated, kind) == ("float", "int"):
                    kind = stated
                elif stated not in ("list", "tuple", "dict") or kind != "any":
                    message = f"the parameter {literal.name} is annotated {literal.annotation} but is of type {kind}"
                    notes.append(Diagnostic("warning", "parameter-type", place, message, "correct one of the two"))
            earlier = found.pop(literal.name, None)
            text = literal.help or (earlier.help if earlier else "")
            found[literal.name] = Parameter(literal.name, kind, default, text, place)
    return tuple(found.values()), notes


def _kind(value: Any) -> tuple[str, Any]:
    """Return type and default of a literal; one that JSON cannot hold is kept as Python text."""
    if value is None:
        return "none", None
    kind = _TYPES.get(type(value), "any")
    return (kind, value) if kind != "any" and _is_json(value) else ("any", repr(value))


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, list | tuple):
        return all(_is_json(one) for one in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(one) for key, one in value.items())
    if isinstance(value, str):
        return value.isascii() or max(value) < "\ud800" or not any("\ud800" <= char <= "\udfff" for char in value)
    return value is None or isinstance(value, int)


def _stated(annotation: str) -> str:
    match = _ANNOTATION.match(annotation.strip("'\" "))
    return match.group(1).lower() if match else ""


def given_values(
    parameters: Iterable[Parameter], given: Mapping[str, Any], file: str, derived: Mapping[str, Place]
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """Return the values to put into the notebook and what is wrong with those given.

    Texts are read by the parameter's type, other values must be of it. `derived`: names that parameter cells compute.
    """
    known = {one.name: one for one in parameters}
    values: dict[str, Any] = {}
    faults: list[Diagnostic] = []
    for name, value in given.items():
        if name not in known:
            faults.append(_unknown(name, known, file, derived))
            continue
        try:
            values[name] = fit(known[name], value)
        except NotebookError as error:
            faults += error.diagnostics
    return values, faults


def _unknown(name: str, known: Mapping[str, Parameter], file: str, derived: Mapping[str, Place]) -> Diagnostic:
    if name in derived:
        message = f"{name} is computed in the notebook and cannot be given"
        hint = "give the parameters it is computed from, or assign a literal to it there"
        return Diagnostic("error", "derived-parameter", derived[name], message, hint)
    otherwise = "this notebook has no parameters: tag a cell `parameters`"
    if known:
        otherwise = f"it has {', '.join(list(known)[:10])}{' …' if len(known) > 10 else ''}"
    hint = did_you_mean(name, known, otherwise)
    return Diagnostic("error", "unknown-parameter", Place(file), f"there is no parameter {shown(name)}", hint)


def fit(parameter: Parameter, value: Any) -> Any:
    """Return a given value as the parameter's type: texts are read, other values must already fit.

    Raises:
        NotebookError: it does not fit; says what is wanted.
    """
    if isinstance(value, str):
        return parse_parameter(parameter, value)
    try:
        return _fitting(parameter, value)
    except _WrongValueError as error:
        _refuse(parameter, str(error))


def parse_parameter(parameter: Parameter, text: str) -> Any:
    """Return the value that a text means for a parameter; the text is data and never run.

    Raises:
        NotebookError: it does not fit the parameter's type.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(parameter, "the text is not UTF-8")
    try:
        return _read(parameter, text)
    except _WrongValueError as error:
        _refuse(parameter, str(error))


def _refuse(parameter: Parameter, reason: str) -> NoReturn:
    wanted = _EXAMPLES.get(parameter.type, f"a Python literal such as {shown(parameter.default)}")
    message = f"parameter {parameter.name}: {reason}"
    hint = f"give {wanted} (default: {shown(parameter.default)})"
    raise NotebookError(diagnostics=[Diagnostic("error", "bad-parameter", parameter.place, message, hint)]) from None


def _read(parameter: Parameter, text: str) -> Any:
    kind = parameter.type
    if kind == "str":
        return text
    stripped = text.strip()
    if parameter.default is None and (kind == "none" or stripped in ("null", "None")):
        return _literal(stripped, text)
    if kind == "bool":
        return _bool(stripped)
    if kind == "int":
        return _int(stripped)
    if kind == "float":
        return _float(stripped)
    return _fitting(parameter, _literal(stripped))


def _bool(text: str) -> bool:
    folded = text.casefold()
    if folded not in _TRUE + _FALSE:
        raise _WrongValueError(f"{shown(text)} is neither true nor false")
    return folded in _TRUE


def _int(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+(_[0-9]+)*", text):
        raise _WrongValueError(f"{shown(text)} is not a whole number")
    try:
        return int(text)
    except ValueError:
        raise _WrongValueError(f"a number of {len(text)} digits is too long") from None


def _float(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9][0-9_]*\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise _WrongValueError(f"{shown(text)} is not a number")
    value = float(text.replace("_", ""))
    if not math.isfinite(value):
        raise _WrongValueError(f"{shown(text)} is too large")
    return value


def _literal(text: str, otherwise: str | None = None) -> Any:
    """Return the value of a JSON or Python literal; `otherwise` for a text that is neither, if given."""
    try:
        return json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        if otherwise is None:
            raise _WrongValueError(f"{shown(text)} is neither JSON nor a Python literal") from None
        return otherwise


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _fitting(parameter: Parameter, value: Any) -> Any:
    kind, found = parameter.type, "null" if value is None else type(value).__name__
    if kind == "none" or (value is None and parameter.default is None):
        return value
    if kind == "any":
        default = ast.literal_eval(parameter.default) if parameter.default is not None else value
        if isinstance(default, set) and isinstance(value, list):
            return set(value)
        wanted = type(default).__name__
        fits = isinstance(value, type(default)) or (isinstance(default, complex) and isinstance(value, int | float))
    else:
        fits = _TYPES.get(type(value)) == kind
        if kind == "tuple" and isinstance(value, list):
            return tuple(value)
        if kind == "float" and type(value) is int:
            return float(value)
        wanted = kind
    if not fits or (kind == "float" and not math.isfinite(value)):
        raise _WrongValueError(f"{shown(value)} is of type {found}, wanted is {wanted}")
    return value
