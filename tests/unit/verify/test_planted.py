"""Differences planted into the pipeline are found, each by its name; what varies by itself is told apart.

One notebook holds something of every kind, and one tampered pipeline does all of it a little differently: running
them takes seconds, looking at what was found does not.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from nbkube.verify import Verification, VerifyDifference
from tests.building import CellText
from tests.unit.verify.proof import verdict

MAKE = """\
config = {'depth': 3}
model = {'uses': config}
base = np.arange(10.0)
view = base[2:5]
numbers = [1.5, 2.5]
table = {'rows': 3, 'deep': [1, [2, {'x': 3}]]}
frozen = np.array([1, 2, 3])
stamp = time.time()
token = uuid.uuid4().hex
draw = random.random()
run = {'id': uuid.uuid4().hex, 'name': 'fixed'}
noise = np.random.rand(4)

def scale(value, by=[2]):
    return value * by[0]

class Model:
    kinds = ['tree']
    def fit(self):
        return 1

fitted = Model()
"""
FILES = """\
_ = open('kept.txt', 'w').write('kept')
_ = open('stamp.txt', 'w').write(str(time.time()))
os.makedirs('out/deep')
os.remove('old.txt')
os.chmod('run.sh', 0o755)
temporary = 1
del temporary
"""
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TAMPERED = {
    "'uses': config": "'uses': dict(config)",
    "view = base[2:5]": "view = base[2:5].copy()",
    "numbers = [1.5, 2.5]": "numbers = [1.5, 2.75]",
    "{'x': 3}": "{'x': 4}",
    "frozen = np.array([1, 2, 3])\n": "",
    "stamp = time.time()": "stamp = str(time.time())",
    "'name': 'fixed'": "'name': 'other'",
    "np.random.rand(4)": "np.random.rand(5)",
    "by=[2]": "by=[3]",
    "return 1": "return 2",
    "'kept')": "'keqt')",
    "os.makedirs('out/deep')": "os.makedirs('out/other')",
    "os.remove('old.txt')\n": "",
    "0o755": "0o700",
    "del temporary\n": "",
    "rows = 3": "rows = 4",
}
CELLS: list[CellText] = [
    ("imports", "import os, random, time, uuid\nimport numpy as np"),
    ("step:make", MAKE),
    ("step:files", FILES),
    ("pipeline-metrics", "rows = 3\nmoment = time.time()"),
]


def tampered(cells: list[CellText], changes: dict[str, str]) -> list[CellText]:
    found = []
    for tags, source in cells:
        for old, new in changes.items():
            source = source.replace(old, new)
        found.append((tags, source))
    return found


def project(folder: Path) -> Path:
    folder.mkdir()
    (folder / "nbkube.toml").touch()
    (folder / "old.txt").write_text("old")
    (folder / "run.sh").write_text("true")
    (folder / "run.sh").chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    return verdict(project(tmp_path_factory.mktemp("honest") / "project"), CELLS)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Verification:
    folder = project(tmp_path_factory.mktemp("tampered") / "project")
    return verdict(folder, CELLS, pipeline=tampered(CELLS, TAMPERED))


def of(found: Verification, aspect: str, name: str) -> list[VerifyDifference]:
    return [one for one in found.differences if one.aspect == aspect and one.name == name]


def test_an_honest_pipeline_is_equal(honest: Verification) -> None:
    assert honest.differences == ()
    assert honest.equal


def test_what_varies_by_itself_is_named(honest: Verification) -> None:
    assert set(honest.varying) == {"draw", "moment", "noise", "run", "stamp", "stamp.txt", "token"}


def test_what_varies_by_itself_is_no_difference(found: Verification) -> None:
    names = {one.name for one in found.differences}
    assert names.isdisjoint({"token", "draw", "stamp.txt", "moment"})
    assert not any(one.path == "run['id']" for one in found.differences)


def test_a_value(found: Verification) -> None:
    (one,) = of(found, "variable", "numbers")
    assert (one.path, one.left, one.right, one.run) == ("numbers[1]", "2.5", "2.75", "both")


def test_a_value_deep_inside(found: Verification) -> None:
    assert [one.path for one in of(found, "variable", "table")] == ["table['deep'][1][1]['x']"]


def test_a_value_beside_one_that_varies(found: Verification) -> None:
    assert [one.path for one in of(found, "variable", "run")] == ["run['name']"]


def test_a_lost_alias(found: Verification) -> None:
    (one,) = of(found, "variable", "model")
    assert "config" in one.left
    assert "own" in one.right


def test_a_copied_view(found: Verification) -> None:
    (one,) = of(found, "variable", "view")
    assert "memory" in one.left + one.right


def test_a_missing_name(found: Verification) -> None:
    (one,) = of(found, "variable", "frozen")
    assert one.right == "no such variable"


def test_a_name_that_should_not_exist(found: Verification) -> None:
    (one,) = of(found, "variable", "temporary")
    assert one.left == "no such variable"


def test_another_type_of_what_varies(found: Verification) -> None:
    (one,) = of(found, "variable", "stamp")
    assert (one.left, one.right) == ("float", "str")


def test_another_shape_of_what_varies(found: Verification) -> None:
    assert len(of(found, "variable", "noise")) == 1


def test_the_state_of_a_function(found: Verification) -> None:
    assert len(of(found, "variable", "scale")) == 1


def test_the_code_of_a_class(found: Verification) -> None:
    assert len(of(found, "variable", "Model")) == 1


def test_a_file(found: Verification) -> None:
    (one,) = of(found, "file", "kept.txt")
    assert "4 bytes" in one.left
    assert one.left != one.right


def test_a_deletion(found: Verification) -> None:
    (one,) = of(found, "file", "old.txt")
    assert one.left == "no such file"


def test_a_folder(found: Verification) -> None:
    assert len(of(found, "file", "out/deep")) == len(of(found, "file", "out/other")) == 1


def test_a_mode(found: Verification) -> None:
    (one,) = of(found, "file", "run.sh")
    assert "mode 755" in one.left
    assert "mode 700" in one.right


def test_a_metric(found: Verification) -> None:
    (one,) = of(found, "metric", "rows")
    assert (one.left, one.right) == ("3", "4")


def test_nothing_else_is_found(found: Verification) -> None:
    assert not found.equal
    names = {(one.aspect, one.name) for one in found.differences}
    variables = "model view numbers table frozen stamp run noise scale Model temporary rows"
    expected = {("variable", name) for name in variables.split()}
    expected |= {("file", name) for name in ("kept.txt", "old.txt", "run.sh", "out/deep", "out/other")}
    # An instance of a class with other code is of another class.
    assert names - {("variable", "fitted")} == expected | {("metric", "rows")}
