"""Parsing, parameters and canonical text of cells."""

from __future__ import annotations

import ast
import math
from typing import Any

import pytest

from nbkube.dataflow import assigned_literals, normalise, parse_cell, substitute
from tests.unit.dataflow.notebooks import cell


@pytest.mark.parametrize(
    ("source", "python"),
    [
        ("x = 1", "x = 1"),
        ("!ls", "__nbkube_escape__(0)"),
        ("x = 1\n%time y\nz = 2", "x = 1\n__nbkube_escape__(0)\nz = 2"),
        ("y = !ls -l", "y = __nbkube_escape__(0)"),
        ("a, b = %magic x", "a, b = __nbkube_escape__(0)"),
        ("d['x'] = !ls", "d['x'] = __nbkube_escape__(0)"),
        ("if x:\n    !ls\n    y = 1", "if x:\n    __nbkube_escape__(0)\n    y = 1"),
        ("%%time\nx = 1", "\nx = 1"),
        ("\n\n%%time\nx = 1", "\n\n\nx = 1"),
        ("%%bash\nx = (", "__nbkube_escape__(0)"),
        ("!ls \\\n  -l\nx = 1", "__nbkube_escape__(0)\n\nx = 1"),
        ("x = (a\n% b)\n!ls", "x = (a\n% b)\n__nbkube_escape__(0)"),
        ("x = a \\\n% b\n!ls", "x = a \\\n% b\n__nbkube_escape__(0)"),
        ("s = '''\n%time\n!x\n'''\n!ls", "s = '''\n%time\n!x\n'''\n__nbkube_escape__(0)"),
        ("s = 'a(' # (\n!ls", "s = 'a(' # (\n__nbkube_escape__(0)"),
        ("s = r'\\'\n!ls", None),
        ("  x = 1\n  y = 2", "x = 1\ny = 2"),
        ("x.y?", "__nbkube_escape__(0)"),
        ("?x", "__nbkube_escape__(0)"),
        ("x??\ny = 1", "__nbkube_escape__(0)\ny = 1"),
        ("pip install x", "__nbkube_escape__(0)"),
        ("cd ..", "__nbkube_escape__(0)"),
        ("/f 1 2", "__nbkube_escape__(0)"),
        (">>> x = 1", "x = 1"),
        ("x != y", "x != y"),
        ("x %= 2", "x %= 2"),
        ("f(a=!b)", None),
        ("def f(:", None),
        ("print 'x'", None),
        ("x = 'abc", None),
        ("", ""),
        ("# only\n", ""),
        ("x = '\x00'", None),
    ],
)
def test_parse(source: str, python: str | None) -> None:
    tree = parse_cell(cell(source)).tree
    if python is None:
        assert tree is None
    else:
        assert tree is not None
        assert ast.dump(tree) == ast.dump(ast.parse(python))


def test_lines_stay_in_place() -> None:
    tree = parse_cell(cell("%matplotlib inline\n!ls \\\n  -l\n\nx = 1\ny = !ls\nz = (1\n     % 2)")).tree
    assert tree is not None
    assert [one.lineno for one in tree.body] == [1, 2, 5, 6, 7]


PARAMETERS = """\
# learning rate
lr: float = -1e-3
n = 100  # how many
m = n * 2
sizes = [
    1,
    2,
]  # layers
name, flag = 'a"b', True
nothing = None; point = (1,)
a = b = 3
table = {'x': [1], 2: None}
lr2 = lr
!ls
n2 = n if n else 0
"""


def test_literals() -> None:
    found = {one.name: (one.value, one.annotation, one.help, one.line) for one in assigned_literals(cell(PARAMETERS))}
    assert found == {
        "lr": (-1e-3, "float", "learning rate", 2),
        "n": (100, "", "how many", 3),
        "sizes": ([1, 2], "", "layers", 5),
        "name": ('a"b', "", "", 9),
        "flag": (True, "", "", 9),
        "nothing": (None, "", "", 10),
        "point": ((1,), "", "", 10),
        "a": (3, "", "", 11),
        "b": (3, "", "", 11),
        "table": ({"x": [1], 2: None}, "", "", 12),
    }


def test_literals_count_lines_below_a_step_magic() -> None:
    assert assigned_literals(cell("x = 1", first_line=2))[0].line == 2


def test_last_value_counts() -> None:
    (found,) = assigned_literals(cell("x = 1  # first\nx = 2"))
    assert (found.value, found.help, found.line) == (2, "first", 2)


VALUES: dict[str, Any] = {
    "lr": float("inf"),
    "n": -7,
    "sizes": [float("-inf"), "a'b\n"],
    "flag": False,
    "nothing": {"k": (1, 2)},
    "point": (5,),
    "b": "é",
    "table": {},
}


def test_substitution() -> None:
    given = substitute(cell(PARAMETERS), VALUES)
    assert len(given.source.split("\n")) == len(PARAMETERS.split("\n"))
    namespace: dict[str, Any] = {}
    exec(given.source.replace("!ls", ""), namespace)
    assert {name: namespace[name] for name in VALUES} == VALUES
    assert (namespace["name"], namespace["a"], namespace["m"], namespace["lr2"]) == ('a"b', 3, -14, math.inf)
    before, now = PARAMETERS.split("\n"), given.source.split("\n")
    assert [before[at] for at in (0, 3, 12, 13, 14)] == [now[at] for at in (0, 3, 12, 13, 14)]


@pytest.mark.parametrize(
    "value", [1, -1, 0.5, float("nan"), "", "\"'\\", None, True, [], (), [[1]], {"a": {1: 2}}, {1, 2}]
)
def test_any_plain_value_can_be_given(value: Any) -> None:
    namespace: dict[str, Any] = {}
    exec(substitute(cell("x = 1"), {"x": [value, value]}).source, namespace)
    assert repr(namespace["x"]) == repr([value, value])


def test_what_is_not_assigned_literally_stays() -> None:
    source = cell("x = f()\nif y:\n    z = 1")
    assert substitute(source, {"x": 1, "z": 2, "q": 3}) is source


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x=1", "x  =  1 # comment"),
        ("# a\n\nx = 1", "x = (1)"),
        ("f(a,\n  b)", "f(a, b)"),
        ("x = 'a'", 'x = "a"'),
        ("!ls", "\n!ls"),
        ("%time x = 1 # a", "%time x = 1 # a\n\n# b"),
    ],
)
def test_layout_does_not_count(left: str, right: str) -> None:
    assert normalise(cell(left)) == normalise(cell(right))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("x = 1", "x = 2"),
        ("'''a'''", "'''b'''"),
        ("!ls", "!ls -l"),
        ("%%bash\n# a\nls", "%%bash\nls"),
        ("%%writefile a.py\nx = 1", "%%writefile a.py\nx  = 1"),
        ("%%time\nx = 1", "x = 1"),
        ("%%capture a\nx = 1", "%%capture b\nx = 1"),
        ("import inspect\n# a\nx", "import inspect\nx"),
        ("@njit\ndef f():\n    pass # a", "@njit\ndef f():\n    pass"),
        ("x = 1.0", "x = 1"),
        ("x = (", "x = ( "),
        ("if a:\n    b\n    c", "if a:\n    b\nc"),
    ],
)
def test_what_counts(left: str, right: str) -> None:
    assert normalise(cell(left)) != normalise(cell(right))


def test_exact_text_on_request() -> None:
    assert normalise(cell("x=1 # a"), exact=True) == "x=1 # a"
