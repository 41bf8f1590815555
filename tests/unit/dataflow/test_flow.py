"""Edges, order and diagnostics over several units."""

from __future__ import annotations

import pytest

from nbkube.dataflow import Unit, analyze
from tests.unit.dataflow.notebooks import after, cell, edges, flow


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["x = 1", "y = x", "z = x + y"], "1>2 x, 1>3 x, 2>3 y"),
        (["x = 1", "x = 2", "print(x)"], "2>3 x"),
        (["x = 1", "if c:\n    x = 2", "print(x)"], "1>3 x, 2>3 x"),
        (["c = 1", "if c:\n    x = 2", "print(x)"], "1>2 c, 2>3 x"),
        (["d = {}", "d['k'] = 1", "print(d)"], "1>2 d, 1>3 d, 2>3 d"),
        (["d = {}", "d['k'] = 1", "d = []", "print(d)"], "1>2 d, 3>4 d"),
        (["import os\nx = 1", "print(os.sep, x)"], "1>2 x"),
        (["x = 1", "import x", "print(x)"], ""),
        (["import x", "x = 1", "print(x)"], "2>3 x"),
        (["k = 1", "def f():\n    return k", "k = 2", "f()"], "2>4 f, 3>4 k"),
        (["n = 0\ndef f():\n    global n\n    n += 1", "f()", "print(n)"], "1>2 f, 1>2 n, 2>3 n"),
        (["a = []\nb = a", "b.append(1)", "print(a)"], "1>2 b, 1>2 a, 1>3 a, 2>3 a"),
        (["list = print", "list(1)"], "1>2 list"),
        (["list(1)", "list = print"], ""),
        (["x = 1", "del x", "x = 2", "print(x)"], "1>2 x, 3>4 x"),
        (["from m import CFG", "CFG.append(f())", "print(CFG)", "def f(): pass"], "2>3 CFG"),
        (["xs = [1]", "for i in range(9): xs.append(i)", "for i in range(9): print(xs)"], "1>2 xs, 1>3 xs, 2>3 xs"),
        (["x = 1", "%%capture out\nprint(x)", "out.show()"], "1>2 x, 2>3 out"),
        (["t = {'a': 1}", "def g(): return t\ndef f(): return g()", "f()"], "2>3 f, 2>3 g, 1>3 t"),
    ],
)
def test_edges(texts: list[str], expected: str) -> None:
    assert edges(flow(*texts)) == {edge for edge in expected.split(", ") if edge}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        pytest.param(["x = 1", "y = 2", "z = 3"], ["", "", ""], id="nothing shared"),
        pytest.param(["x = 1", "a = x", "b = x", "a + b"], ["", "1", "1", "2 3"], id="diamond"),
        pytest.param(["x = 1", "y = x", "z = y"], ["", "1", "2"], id="chain"),
        pytest.param(["open('a', 'w')", "x = 1", "open('a')"], ["", "", "1"], id="files wait for files"),
        pytest.param(["!ls", "import numpy as np\nnp.zeros(3)", "!ls"], ["", "", "1"], id="shell and computing"),
        pytest.param(["x = 1", "exec(code)", "y = 2"], ["", "1", "2"], id="dynamic code is a barrier"),
        pytest.param(["x = 1", "import os\nos.chdir(f(x))", "y = 2"], ["", "1", "2"], id="process state is a barrier"),
        pytest.param(["x = 1", "import os\nos.environ['A'] = '1'", "y = 2"], ["", "", ""], id="replayed is none"),
        pytest.param(["import random", "random.random()", "random.random()"], ["", "", ""], id="unseeded"),
        pytest.param(
            ["import random\nrandom.seed(1)", "random.random()", "x = 1", "random.random()"],
            ["", "1", "", "2"],
            id="seeded",
        ),
        pytest.param(["1 + 1", "x = 2", "print(_)"], ["", "1", "2"], id="history keeps all in line"),
        pytest.param(["x: int = 1", "y: int", "print(__annotations__)"], ["", "1", "2"], id="so do annotations"),
        pytest.param(
            [
                "from sklearn.svm import SVC\nfrom sklearn.model_selection import train_test_split\nX, y = 1, 2",
                "X1, X2, y1, y2 = train_test_split(X, y, random_state=0)",
                "a = SVC()\na.fit(X1, y1)",
                "b = SVC()\nb.fit(X1, y1)",
                "print(a.score(X2, y2), b.score(X2, y2))",
            ],
            ["", "1", "2", "2", "2 3 4"],
            id="parallel models",
        ),
    ],
)
def test_order(texts: list[str], expected: list[str]) -> None:
    assert after(flow(*texts)) == expected


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["print(dff)", "df = 1"], ["error undefined-name 1:1"]),
        (["df = 1", "print(dff)"], ["error undefined-name 2:1"]),
        (["print(x)", "x = 1"], ["error undefined-name 1:1"]),
        (["if c:\n    print(x)\nc = 1"], ["error undefined-name 1:1", "warning undefined-name 1:2"]),
        (["from m import *\nprint(x)"], ["warning undefined-name 1:2"]),
        (["exec(code)"], ["warning undefined-name 1:1"]),
        (["%run other.py", "print(x)"], ["warning undefined-name 2:1"]),
        (["%load_ext unknown", "print(x)"], ["warning undefined-name 2:1"]),
        (["%load_ext autoreload\n%autoreload 2", "print(x)"], ["error undefined-name 2:1"]),
        (["%%sql\nselect 1", "print(x)"], ["warning undefined-name 2:1"]),
        (["x = 1\ndel x", "print(x)"], ["error deleted-name 2:1"]),
        (["x = 1\ndel x\nprint(x)"], ["error deleted-name 1:3"]),
        (["def f():\n    return nowhere", "f()"], ["error undefined-name 1:2"]),
        (["def f():\n    return nowhere"], []),
        (["try:\n    unicode\nexcept NameError:\n    unicode = str", "unicode"], []),
        (["def f(:\n    pass", "x ="], ["error syntax-error 1:1", "error syntax-error 2:1"]),
        (["x = input('name')"], ["error input 1:1"]),
        (["from getpass import getpass\np = getpass()"], ["error input 1:2"]),
        (["def ask():\n    return input()", "ask()"], ["error input 1:2"]),
        (["c = 1\nif c:\n    input()"], ["warning input 1:3"]),
        (["def input():\n    return 1\ninput()"], []),
        (["exit()"], ["warning exit 1:1"]),
        (["import pandas as pd\npd.read_csv('/data/x.csv')"], ["info absolute-path 1:2"]),
        (["import pandas as pd\npd.read_csv('https://host/x.csv')"], []),
        (["import m\nm.X = f()\ndef f(): pass"], ["warning module-state 1:2", "error undefined-name 1:2"]),
        (["import os\nos.environ['A'] = str(1 + 1)"], []),
        (["from os import environ\nenviron['A'] = str([1])\ndel environ['B']"], []),
        (["from sys import path\nfor k in 'ab':\n    path.append(k)"], []),
        (["ls"], []),
        (["from contextlib import suppress\nwith suppress(NameError):\n    del x"], []),
        (["import builtins\nbuiltins.shared = 1", "print(shared)"], ["warning undefined-name 2:1"]),
        (["get_ipython().user_ns['x'] = 1", "print(x)"], ["warning undefined-name 2:1"]),
        (["for i in range(3):\n    if i:\n        print(prev)\n    prev = i"], []),
        (["x + 1\nx = 1"], ["error undefined-name 1:1"]),
        (["def f():\n    return k", "list(map(f, [1]))", "k = 1"], []),
        (["print(k) if f else 0", "k = f = 1"], ["error undefined-name 1:1", "warning undefined-name 1:1"]),
        (["f(1)\ndef f(x): pass"], ["error undefined-name 1:1"]),
        (["print(__file__)"], ["error undefined-name 1:1"]),
        (["for _ in range(3): pass", "print(_, _1, Out, In)"], []),
        (["x = y = z", "x"], ["error undefined-name 1:1"]),
        (["class A:\n    x = missing"], ["error undefined-name 1:2"]),
        (["print(a, b)"], ["error undefined-name 1:1", "error undefined-name 1:1"]),
    ],
)
def test_diagnostics(texts: list[str], expected: list[str]) -> None:
    found = flow(*texts).diagnostics
    assert [f"{one.severity} {one.code} {one.place.cell}:{one.place.line}" for one in found] == expected
    assert all(one.hint and one.message for one in found)


def test_messages_name_the_way_out() -> None:
    (typo,) = flow("frame = 1", "print(frane)").diagnostics
    assert "`frane`" in typo.message
    assert "`frame`" in typo.hint
    (late,) = flow("print(x)", "a = 1", "x = 1").diagnostics
    assert "cell 3" in late.message


def test_places_count_lines_of_the_cell() -> None:
    below_magic = cell("x = 1\nprint(missing)", first_line=3)
    (found,) = analyze([Unit("u", (below_magic,))], file="nb.ipynb").diagnostics
    assert str(found.place) == "nb.ipynb:cell 1 (c1):line 4"


def test_first_use_is_remembered() -> None:
    found = flow("x = 1", "y = 2\nprint(x)\nprint(x)").units[1]
    assert [(use.name, use.place.cell, use.place.line) for use in found.uses] == [("x", 2, 2)]


def test_cells_of_a_unit_are_one() -> None:
    unit = Unit("u", (cell("x = 1", 1), cell("y = x", 2)))
    found = analyze([unit], file="nb.ipynb").units[0]
    assert found.reads == ()
    assert found.writes == ("x", "y")


def test_expected_exceptions_make_all_uncertain() -> None:
    unit = Unit("u", (cell("x = 1 / 0\ny = z", 1, tags=("raises-exception",)),))
    found = analyze([unit], file="nb.ipynb")
    assert found.units[0].may_writes == ("x", "y")
    assert found.units[0].optional_reads == ("z",)
    assert found.diagnostics == ()


def test_mutual_recursion_is_complete_from_every_side() -> None:
    definitions = "def f(n):\n    return g(n) + a\ndef g(n):\n    return f(n) + b"
    found = flow("a = b = 1", definitions, "f(1)", "g(1)")
    assert set(found.units[2].reads) == set(found.units[3].reads) == {"f", "g", "a", "b"}


def test_no_time_is_lost_on_functions_that_all_call_each_other() -> None:
    names = [f"f{at}" for at in range(14)]
    calls = "; ".join(f"{name}()" for name in names)
    found = flow("\n".join(f"def {name}(): {calls}; k{name}" for name in names), "f0()")
    assert {f"k{name}" for name in names} <= set(found.units[1].reads)
