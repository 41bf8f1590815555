"""What had been loaded before a fork is not looked at again, and still the answer is that of looking at everything."""

from __future__ import annotations

import _heapq
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROLOGUE = """
import importlib, importlib.util, json, os, sys
from nbkube.runtime.looks import Looks
from nbkube.runtime.modules import Modules

place, other = sys.argv[1:]
sys.path.insert(0, place)
modules = Modules(Looks(place, (), lambda path: False))
modules.watch()


def load(name, path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


import colorsys, msgspec, _heapq, first, second
modules.remember()
"""

EPILOGUE = """
kept = modules._before is not None
told = modules.files(), sorted(modules.tops())
modules._before = None
looked = modules.files(), sorted(modules.tops())
print(json.dumps({"kept": kept, "told": told, "looked": looked}))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for where, names in (("place", ("first", "second", "third")), ("other", ("msgspec", "first"))):
        (tmp_path / where).mkdir()
        for name in names:
            (tmp_path / where / f"{name}.py").write_text("value = 1\n")
    return tmp_path


def look(folder: Path, code: str) -> tuple[bool, set[str], set[str]]:
    """Return whether what was remembered held, the files below the folder, and the top-level names."""
    program = PROLOGUE + textwrap.dedent(code) + EPILOGUE
    command = [sys.executable, "-c", program, str(folder / "place"), str(folder / "other")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    found = json.loads(done.stdout)
    assert found["told"] == found["looked"]
    files = {str(Path(one).relative_to(folder)) for one in found["told"][0] if Path(one).is_relative_to(folder)}
    return found["kept"], files, set(found["told"][1])


BEFORE = {"place/first.py", "place/second.py"}


@pytest.mark.parametrize(
    ("code", "kept"),
    [
        ("", True),
        ("import wave, xml.dom.minidom", True),
        ("import numpy", True),
        ("importlib.reload(msgspec)", True),
        ("sys.modules['made'] = type(sys)('made')", True),
        ("importlib.reload(first)", False),
        ("del sys.modules['second']\nimport second", False),
        ("del sys.modules['first']\nimport first", False),
    ],
)
def test_the_same_files(folder: Path, code: str, kept: bool) -> None:
    assert look(folder, code)[:2] == (kept, BEFORE)


@pytest.mark.parametrize(
    ("code", "files"),
    [
        ("import third", {*BEFORE, "place/third.py"}),
        ("del sys.modules['first']", {"place/second.py"}),
        ("del sys.modules['second']", {"place/first.py"}),
        ("del sys.modules['first'], sys.modules['second']\nimport third", {"place/third.py"}),
        ("load('first', other + '/first.py')", {"place/second.py", "other/first.py"}),
        ("load('msgspec', other + '/msgspec.py')", {*BEFORE, "other/msgspec.py"}),
        ("sys.path.insert(0, other)\nimportlib.reload(first)", {"place/second.py", "other/first.py"}),
        ("os.unlink(place + '/first.py')", {"place/second.py"}),
    ],
)
def test_other_files(folder: Path, code: str, files: set[str]) -> None:
    assert look(folder, code)[1] == files


@pytest.mark.skipif(not hasattr(_heapq, "__file__"), reason="_heapq is built into this interpreter")
def test_a_compiled_module_in_the_place_of_another(folder: Path) -> None:
    code = """
        import shutil
        copy = shutil.copy(_heapq.__file__, other)
        load('_heapq', copy)
    """
    kept, files, _ = look(folder, code)
    assert not kept
    assert {Path(one).name.partition(".")[0] for one in files} == {"_heapq", "first", "second"}


def test_names_of_distributions(folder: Path) -> None:
    assert {"msgspec", "first", "second"} <= look(folder, "")[2]
    _, _, names = look(folder, "import numpy, json.tool, third")
    assert {"numpy", "third"} <= names
    assert not names & {"json", "colorsys", "sys"}
    assert "third" not in look(folder, "import third\ndel sys.modules['third']")[2]
