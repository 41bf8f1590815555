"""One process writes, another reads: what was one object stays one object."""

from __future__ import annotations

from pathlib import Path

from tests.unit.state.units import Units


def test_shared_objects_across_names_and_units(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("cfg = {'a': 1}\nm = {'cfg': cfg}\nother = [1]")
    second = units.run("assert m['cfg'] is cfg\ncfg['a'] = 2")
    assert set(second.outputs) == {"cfg", "m"}
    assert set(second.reads) >= {"cfg", "m"}
    units.run("assert m == {'cfg': {'a': 2}} and m['cfg'] is cfg")


def test_functions_are_bound_late(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("def total(): return sum(df)\ndf = [1]\nn = 0\ndef count():\n    global n\n    n += 1")
    second = units.run("df = [1, 1]\nassert total() == 2\ncount()")
    assert {"df", "n"} <= set(second.outputs)
    units.run("count()\nassert n == 2 and total() == 2")


def test_class_state_and_instances_stored_earlier(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run(
        "class Node:\n    count = 0\n    registry = []\n    def __init__(self):\n        Node.count += 1\nn = Node()"
    )
    units.run("Node.registry.append(n)\nk = Node()")
    units.run("assert Node.registry[0] is n and n.count == 2 and type(k) is type(n) is Node and isinstance(k, Node)")


def test_unread_names_are_not_loaded(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("a = [1]\nb = [2]")
    answer = units.run("c = a[0]\ntry:\n    zz\nexcept NameError:\n    zz = 5")
    assert "b" not in answer.reads
    assert answer.reads["zz"] == ""
    assert set(answer.outputs) == {"c", "zz"}


def test_branches_that_each_wrap_one_object(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("cfg = {'k': {'deep': 0}}")
    before = dict(units.bindings)
    units.run("d = {'m': cfg}")
    first = dict(units.bindings)
    units.bindings = before
    units.run("e = [cfg['k']]")
    units.bindings = {**first, **units.bindings}
    units.run("d['m']['k']['deep'] = 1\nassert e[0]['deep'] == 1 and e[0] is cfg['k'] and d['m'] is cfg")
    units.run("assert e[0]['deep'] == 1 and e[0] is cfg['k'] is d['m']['k']")


def test_holes_tell_why(tmp_path: Path) -> None:
    units = Units(tmp_path)
    answer = units.run("import threading\ng = (i for i in range(3))\nlock = {'a': [threading.Lock()]}\nx = 1")
    assert answer.outputs["g"].kind == "hole"
    assert "generator" in answer.outputs["g"].reason
    assert "lock" in answer.outputs["lock"].reason
    assert answer.outputs["x"].kind == "blob"
    failed = units.run("next(g)", fails=True)
    assert "HoleError" in failed.error
    assert failed.reads["g"] == answer.outputs["g"].version
