"""Differences are found, equal graphs are equal, and sharing counts."""

from __future__ import annotations

import copy
import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from nbkube.state.compare import compare


def kinds(left: Any, right: Any, **options: Any) -> list[tuple[str, str]]:
    return [(one.path, one.kind) for one in compare({"x": left}, {"x": right}, **options)]


class Point:
    def __init__(self, x: float, tags: list[str]) -> None:
        self.x, self.tags = x, tags


def make_graph() -> Any:
    shared = [1, 2.5, "a"]
    base = np.arange(10.0)
    frame = pd.DataFrame({"a": [1.0, math.nan], "s": ["x", None], "o": [[1], {"k": 2}]})
    cycle: list[Any] = [shared]
    cycle.append(cycle)
    return {"s": shared, "t": (shared, {1, 2}), "v": base[2:5], "b": base, "f": frame, "p": Point(1.0, []), "c": cycle}


def test_equal_graphs_have_no_differences() -> None:
    assert compare({"x": make_graph()}, {"x": make_graph()}) == []


@pytest.mark.parametrize(
    ("change", "path", "kind"),
    [
        (lambda g: g["s"].append(1), "x['s']", "length"),
        (lambda g: g.update(s=list(g["s"])), "x['t'][0]", "identity"),
        (lambda g: g.update(v=g["v"].copy()), "x['b']", "memory"),
        (lambda g: g["b"].__setitem__(9, 0.5), "x['b']", "value"),
        (lambda g: g["f"].loc.__setitem__((0, "a"), 2.0), "x['f']['a']", "value"),
        (lambda g: g["f"]["o"].iloc[0].append(2), "x['f']['o'][0]", "length"),
        (lambda g: g["p"].tags.append("t"), "x['p'].tags", "length"),
        (lambda g: setattr(g["p"], "extra", 1), "x['p'].extra", "missing"),
        (lambda g: g["c"].__setitem__(1, [g["s"], g["c"]]), "x['c'][1]", "identity"),
        (lambda g: g.update(f=g["f"].astype({"a": "float32"})), "x['f']['a']", "type"),
        (lambda g: g.pop("v"), "x", "keys"),
    ],
)
def test_each_change_is_found(change: Callable[[Any], object], path: str, kind: str) -> None:
    right = make_graph()
    change(right)
    assert (path, kind) in kinds(make_graph(), right)
    assert kinds(right, make_graph())


def test_numbers() -> None:
    assert kinds(math.nan, math.nan) == []
    assert kinds(0.0, -0.0) == [("x", "value")]
    assert kinds(1, True) == [("x", "type")]
    assert kinds(np.array([1.0, np.nan]), np.array([1.0 + 1e-12, np.nan])) == [("x", "value")]
    assert kinds(np.array([1.0]), np.array([1.0 + 1e-12]), tolerance=1e-9) == []
    assert kinds([0.1 + 0.2], [0.3], tolerance=1e-9) == []


def test_functions_by_code_defaults_and_closure() -> None:
    def make(n: int, code: str = "lambda y: y + n") -> Any:
        return eval(f"(lambda n: {code})({n})")

    assert kinds(make(1), make(1)) == []
    assert kinds(make(1), make(2)) == [("x<n>", "value")]
    assert kinds(make(1), make(1, "lambda y: y - n")) == [("x", "code")]


def test_names_and_varying_values() -> None:
    found = compare({"a": 1, "b": np.zeros(3)}, {"b": np.ones(3), "c": 1}, varying=frozenset("b"))
    assert [(one.name, one.kind) for one in found] == [("a", "missing"), ("c", "missing")]
    assert [one.kind for one in compare({"b": np.zeros(3)}, {"b": np.ones(4)}, varying=frozenset("b"))] == ["shape"]


def test_sharing_between_variables_and_dict_order() -> None:
    one = [1]
    assert compare({"a": one, "b": one}, {"a": [1], "b": [1]})[0].kind == "identity"
    assert kinds({"a": 1, "b": 2}, {"b": 2, "a": 1}) == [("x", "order")]


def test_estimators_and_generators() -> None:
    from sklearn.neighbors import KNeighborsClassifier

    data = np.arange(20.0).reshape(10, 2)
    model = KNeighborsClassifier(2).fit(data, [0, 1] * 5)
    assert kinds(model, copy.deepcopy(model)) == []
    other = copy.deepcopy(model)
    other._fit_X[0, 0] = 7
    assert ("x._fit_X", "value") in kinds(model, other)
    assert kinds(np.random.default_rng(1), np.random.default_rng(1)) == []
    assert kinds(np.random.default_rng(1), np.random.default_rng(2)) != []


def test_an_array_is_the_place_and_its_first_other_element_is_named() -> None:
    found = compare({"x": np.zeros((2, 2))}, {"x": np.array([[0.0, 0.0], [1.0, 2.0]])})
    assert [(one.path, one.left, one.right) for one in found] == [
        ("x", "element [1, 0] np.float64(0.0) (and 1 more elements)", "np.float64(1.0)")
    ]


def test_weak_dictionaries_by_their_entries() -> None:
    keys = [Point(0.0, []), Point(1.0, [])]
    left, right = (weakref.WeakKeyDictionary({key: number for number, key in enumerate(keys)}) for _ in range(2))
    gone = Point(2.0, [])
    left[gone] = 3
    del gone
    assert kinds(left, right) == []
    right[keys[1]] = 7
    assert [kind for _, kind in kinds(left, right)] == ["value"]
