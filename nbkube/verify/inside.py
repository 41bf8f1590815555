"""What runs in the notebook's own kernel: putting its variables out, and comparing them with the pipeline's."""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_plain
from nbkube.runtime.shell import variables_of
from nbkube.runtime.worker import plain
from nbkube.state.model import OutputRef
from nbkube.state.namespace import is_internal
from nbkube.storage import open_store
from nbkube.verify.varying import VALUE, Finding

_environment: dict[str, str | None] = {}


def answer(question: str, order: str, reply: str) -> None:
    """Answer a question of `Session.ask`: read the order's file, write the reply's."""
    asked = msgspec.json.decode(Path(order).read_bytes())
    result = _QUESTIONS[question](asked["request"], asked["root"])
    Path(reply).write_bytes(msgspec.json.encode(result))


def _set_environment(values: Mapping[str, str], _: str) -> None:
    """Set variables for the cells of one step; an empty set brings back what was there before."""
    for name, old in _environment.items():
        if old is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = old
    _environment.clear()
    for name, value in values.items():
        _environment[name] = os.environ.get(name)
        os.environ[name] = value


def _holds(condition: str, _: str) -> bool:
    """Tell whether the condition of a step holds for the notebook's variables as they are now."""
    return bool(eval(condition, {"__builtins__": {}}, _variables()))


def _variables() -> dict[str, Any]:
    from IPython import get_ipython

    return variables_of(get_ipython())


def _export(request: Mapping[str, Any], root: str) -> dict[str, Any]:
    from nbkube.state.namespace import Namespace
    from nbkube.state.publish import publish

    variables = _variables()
    namespace = Namespace({}, open_store(request["store"]), root=root)
    namespace.update(variables)
    metrics = {name: plain(variables[name]) for name in request["metrics"] if name in variables}
    return {"bindings": publish(namespace).outputs, "metrics": metrics}


def _compare(request: Mapping[str, Any], root: str) -> dict[str, Any]:
    bindings = from_plain(request["bindings"], dict[str, OutputRef])
    left = _variables()
    findings: list[Finding] = []
    unstored: list[str] = []
    own = {name: ref for name, ref in bindings.items() if ":" not in name and not is_internal(name)}
    known = {name: ref for name, ref in own.items() if ref.kind != "deleted"}
    for name in sorted({*left} - {*known} - {*request["replayed"]}):
        findings.append(Finding(name, name, "missing", _short(left[name]), "no such variable"))
    for name in sorted({*known} - {*left}):
        findings.append(Finding(name, name, "extra", "no such variable", known[name].summary or known[name].type))
    both = sorted({*known} & {*left})
    for name in both:
        if known[name].kind == "hole":
            unstored.append(name)
            kind = _type_name(left[name])
            if known[name].type and known[name].type != kind:
                findings.append(Finding(name, name, "type", kind, known[name].type))
    stored = [name for name in both if known[name].kind == "blob"]
    findings += _lockstep(left, bindings, stored, request, root)
    return {"findings": findings, "unstored": unstored}


def _lockstep(
    left: Mapping[str, Any], bindings: Mapping[str, OutputRef], names: list[str], request: Mapping[str, Any], root: str
) -> list[Finding]:
    """Load what was stored and walk through both sides at once."""
    from nbkube.state.compare import compare
    from nbkube.state.namespace import Namespace

    namespace = Namespace(bindings, open_store(request["store"]), root=root)
    right: dict[str, Any] = {}
    findings: list[Finding] = []
    for name in names:
        try:
            right[name] = namespace.load(name)
        except Exception as error:  # noqa: BLE001 - code of the notebook's classes runs here
            reason = f"cannot be loaded: {type(error).__name__}: {error}"
            findings.append(Finding(name, name, "missing", _short(left[name]), reason[:200]))
    found = compare({name: left[name] for name in right}, right)
    near = _within(request["tolerance"], left, right, {one.name for one in found})
    return findings + [
        Finding(one.name, one.path, one.kind, one.left, one.right)
        for one in found
        if one.kind != VALUE or one.name not in near
    ]


def _within(
    tolerance: Mapping[str, float], left: Mapping[str, Any], right: Mapping[str, Any], names: set[str]
) -> set[str]:
    """Return the names whose values differ no more than the notebook allows."""
    from nbkube.state.compare import compare

    near = set()
    for name in names:
        allowed = tolerance.get(name, tolerance.get("*"))
        if allowed is not None:
            rest = compare({name: left[name]}, {name: right[name]}, tolerance=allowed)
            if not any(one.kind == VALUE for one in rest):
                near.add(name)
    return near


def _same_pickles(request: Mapping[str, str], root: str) -> list[str]:
    """Return the paths, of a pickle here -> another copy of it, whose contents are equal although their bytes differ.

    The bytes of a pickle also tell which equal strings were one object, which is no part of what the notebook says.
    """
    from nbkube.state.compare import compare

    same = []
    for path, other in request.items():
        sides = [_unpickled(os.path.join(root, path)), _unpickled(other)]
        if None not in sides and not compare({path: sides[0]}, {path: sides[1]}):
            same.append(path)
    return same


def _unpickled(path: str) -> Any:
    """Return what a file of the notebook's own holds, wrapped; None if it is no pickle."""
    try:
        joblib = sys.modules.get("joblib")
        if joblib is not None:
            return (joblib.load(path),)
        with open(path, "rb") as file:
            return (pickle.load(file),)
    except Exception:  # noqa: BLE001 - anything may come out of a file that is no pickle
        return None


def _type_name(value: object) -> str:
    from nbkube.state.summary import type_of

    return type_of(value)


def _short(value: object) -> str:
    from nbkube.state.summary import summary_of

    return summary_of(value)


_QUESTIONS: dict[str, Callable[[Any, str], Any]] = {
    "environment": _set_environment,
    "holds": _holds,
    "export": _export,
    "compare": _compare,
    "pickles": _same_pickles,
}
