"""Process state, paths, the IPython shell, fused units."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.state.namespace import HoleError, Namespace, load_values
from nbkube.state.publish import publish
from nbkube.storage import open_store
from tests.unit.state.units import Units


def test_environment_directory_and_search_path_travel(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "mine_here.py").write_text("A = 5\n")
    units = Units(tmp_path)
    root = str(tmp_path)
    first = units.run(
        "import os, sys\nos.environ['K'] = 'v'\nos.chdir('sub')\nsys.path.append(os.path.abspath('../lib'))", root=root
    )
    assert {"process:environ", "process:cwd", "process:path"} <= set(first.outputs)
    second = units.run(
        "import os\nassert os.environ['K'] == 'v' and os.path.basename(os.getcwd()) == 'sub'\nfrom mine_here import A",
        root=root,
    )
    assert not [name for name in second.outputs if name.startswith("process:")]
    assert second.reads["process:cwd"] == first.outputs["process:cwd"].version


def test_seeded_random_state_goes_on(tmp_path: Path) -> None:
    units = Units(tmp_path)
    expected = units.run(
        "import random, numpy as np\nrandom.seed(1); np.random.seed(2)\n"
        "print([random.random() for _ in range(3)], np.random.rand(3))"
    ).stdout
    units = Units(tmp_path / "other")
    (tmp_path / "other").mkdir()
    units.run(
        "import random, numpy as np\nrandom.seed(1); np.random.seed(2)\na, b = [random.random()], [np.random.rand()]",
        seeded=True,
    )
    quiet = units.run("z = 1", seeded=True)
    assert not {"process:random", "process:numpy"} & ({*quiet.outputs} | {*quiet.reads})
    drawing = units.run("a.append(random.random()); b.append(np.random.rand())", seeded=True)
    assert {"process:random", "process:numpy"} <= set(drawing.outputs) & set(drawing.reads)
    last = units.run("a.append(random.random()); b.append(np.random.rand())\nprint(a, np.array(b))", seeded=True).stdout
    assert last == expected


def test_unseeded_processes_draw_different_numbers(tmp_path: Path) -> None:
    units = Units(tmp_path)
    draws = {units.run("import random, numpy as np\nprint(random.random(), np.random.rand())").stdout for _ in range(2)}
    assert len(draws) == 2


def test_paths_follow_the_workspace(tmp_path: Path) -> None:
    units = Units(tmp_path)
    first = units.run(
        """
        from pathlib import Path
        base = Path('/old/place/data')
        text = '/old/place/a.csv'
        deep = {'k': ['/old/place/b', '/old/placeless', base], 'top': '/old/place'}
        """,
        root="/old/place",
    )
    units.run(
        """
        assert str(base) == '/new/place/data' and text == '/new/place/a.csv'
        assert deep == {'k': ['/new/place/b', '/old/placeless', base], 'top': '/new/place'} and deep['k'][2] == base
        """,
        root="/new/place",
    )
    again = Units(tmp_path)
    moved = again.run(
        """
        from pathlib import Path
        base = Path('/third/data')
        text = '/third/a.csv'
        deep = {'k': ['/third/b', '/old/placeless', base], 'top': '/third'}
        """,
        root="/third",
    )
    for name in ("base", "text", "deep"):
        assert moved.outputs[name].version == first.outputs[name].version


def test_versions_do_not_depend_on_places_or_runs(tmp_path: Path) -> None:
    source = (
        "def f(x, k=[1]):\n    return [x, k]\nclass C:\n    l = []\n    def m(self): return self.l\nc = C()\n"
        "d = {'g': lambda v: v + 1, 's': {'a', 'b'}}\nimport numpy as np\na = np.arange(5.)[1:3]"
    )
    first = Units(tmp_path).run(source, filename="one")
    second = Units(tmp_path).run("\n\n# moved\n" + source, filename="two")
    assert {name: ref.version for name, ref in first.outputs.items()} == {
        name: ref.version for name, ref in second.outputs.items()
    }


def test_tracebacks_and_source_of_stored_functions(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("def f(x):\n    # why\n    return 1 / x")
    failed = units.run("import inspect\nprint(inspect.getsource(f))\nf(0)", fails=True)
    assert "# why" in failed.stdout
    assert "return 1 / x" in failed.error


def test_in_the_shell(tmp_path: Path) -> None:
    units = Units(tmp_path, shell=True, replay="import math")
    units.run(
        "import math\nx = 5\ndef f():\n    return x + math.floor(1.5) + len(str(x))\nfor i in range(500): len('')"
    )
    second = units.run("y = f()\nx = 10\ny", "z = f()\n[name for name in ('x', 'nothing') if name in globals()]")
    assert set(second.outputs) >= {"x", "y", "z", "name"} - {"name"}
    assert not {"_", "Out", "In", "len", "get_ipython"} & set(second.outputs)
    assert second.reads["nothing"] == ""
    units.run("assert (y, z, x) == (7, 13, 10)")


def test_user_pickles_find_notebook_definitions(tmp_path: Path) -> None:
    units = Units(tmp_path)
    units.run("import pickle\nclass A:\n    pass\ndef f(): return 7\nopen('p.pkl', 'wb').write(pickle.dumps((A(), f)))")
    second = units.run("import pickle\na, g = pickle.load(open('p.pkl', 'rb'))\nassert g() == 7")
    assert {"A", "f"} <= set(second.reads)
    units.run("assert type(a) is A and g is f")


def test_unit_goes_on_in_the_same_process(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    earlier = Namespace({}, store)
    exec("a = [1]\nb = {'a': a}\nn = 1", earlier)
    bindings = publish(earlier).outputs
    space = Namespace(bindings, store)
    space.settle()
    exec("g = (i for i in a)\nnext(g)\nm = n + 1", space)
    first = publish(space)
    assert "generator" in first.holes["g"]
    newer = Namespace({}, store)
    exec("n = 5\nk = 7", newer)
    space.rebind({**bindings, **first.outputs, **publish(newer).outputs})
    exec("rest = list(g)\nm2 = n + k\na.append(rest)\ndel g", space)
    second = publish(space)
    assert space["m2"] == 12
    assert set(second.outputs) >= {"a", "b", "m", "m2", "rest"}
    values = load_values({**bindings, **second.outputs}, store, ["a", "b"])
    assert values["b"] == {"a": [1, []]}
    assert values["b"]["a"] is values["a"]


def test_a_change_reaches_holes_that_share_the_object(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    first = Namespace({}, store)
    exec("import threading\nx = [1]\nh = {'x': x, 'lock': threading.Lock()}", first)
    bindings = publish(first).outputs
    assert bindings["h"].kind == "hole"
    assert bindings["x"].blob in bindings["h"].refs
    second = Namespace(bindings, store)
    exec("x.append(2)", second)
    published = publish(second)
    assert second.reads["h"] == bindings["h"].version
    assert set(published.outputs) == {"x"}
    with pytest.raises(HoleError, match="lock"):
        second["h"]


def test_namespace_is_a_dict_that_knows_unloaded_names(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store")
    first = Namespace({}, store)
    exec("a = 1\nb = [2]", first)
    space = Namespace(publish(first).outputs, store)
    assert "a" in space
    assert "nope" not in space
    assert {**space}["b"] == [2]
    assert space.get("nope", 3) == 3
    assert sorted(name for name in space if name in "ab") == ["a", "b"]
    assert space.pop("a") == 1
    assert "a" not in space
    with pytest.raises(KeyError):
        space["a"]
    assert space.reads["nope"] == ""
    assert publish(space).outputs["a"].kind == "deleted"
