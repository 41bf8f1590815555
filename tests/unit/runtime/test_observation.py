"""What a step was seen to look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.runtime.program import ReplayProgram
from tests.unit.runtime.trial import Outcome, Trial


@pytest.fixture
def filled(trial: Trial) -> Trial:
    (trial.project / "data").mkdir()
    for name in ("a.csv", "b.csv"):
        (trial.project / "data" / name).write_text("x,y\n1,2\n")
    (trial.project / "tool.py").write_text("from part import inner\ndef f():\n    return inner.value\n")
    (trial.project / "part").mkdir()
    (trial.project / "part" / "__init__.py").write_text("")
    (trial.project / "part" / "inner.py").write_text("value = 3\n")
    return trial


def reads(done: Outcome) -> set[str]:
    return set(done.finished.reads.read)


def listed(done: Outcome) -> set[str]:
    return set(done.finished.reads.listed)


def missed(done: Outcome) -> set[str]:
    return set(done.finished.reads.missed)


@pytest.mark.parametrize(
    "code",
    [
        "open('data/a.csv').read()",
        "import os\nos.close(os.open('data/a.csv', os.O_RDONLY))",
        "!cat data/a.csv",
        "import pandas as pd\npd.read_csv('data/a.csv')",
        "import numpy as np\nnp.fromfile('data/a.csv', dtype='u1')",
        "import os\nos.path.exists('data/a.csv')",
        "import os\nos.access('data/a.csv', os.R_OK)",
        "from pathlib import Path\nPath('data/a.csv').stat().st_size",
        "open('data/a.csv', 'a').write('more')",
        "import shutil\nshutil.copy('data/a.csv', 'copy.csv')",
    ],
)
def test_a_file_that_is_looked_at_is_read(filled: Trial, code: str) -> None:
    done = filled.good(code)
    assert reads(done) == {"data/a.csv"}
    assert not listed(done)


def test_a_file_that_is_replaced_is_not_read(filled: Trial) -> None:
    done = filled.good("open('data/a.csv', 'w').write('new')\nopen('data/a.csv').read()")
    assert reads(done) == set()
    assert [entry.path for entry in done.finished.diff.changed] == ["data/a.csv"]


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.path.exists('gone.txt')",
        "from pathlib import Path\nPath('gone.txt').is_file()",
        "try:\n    open('gone.txt')\nexcept FileNotFoundError:\n    pass",
        "import os\nos.access('gone.txt', os.F_OK)",
        "import os\nos.path.lexists('gone.txt')",
    ],
)
def test_a_file_that_is_not_there_is_missed(filled: Trial, code: str) -> None:
    done = filled.good(code)
    assert missed(done) == {"gone.txt"}
    assert not reads(done)
    assert not listed(done)


@pytest.mark.parametrize("code", ["import os\nos.listdir('data')", "import glob\nglob.glob('data/*.csv')", "!ls data"])
def test_a_folder_that_is_listed(filled: Trial, code: str) -> None:
    done = filled.good(code)
    assert listed(done) == {"data"}
    assert not reads(done)


def test_imports_read_modules_and_list_no_folder(filled: Trial) -> None:
    done = filled.good(
        "import tool, json, colorsys\ntool.f()\ntry:\n    import not_there\nexcept ImportError:\n    pass"
    )
    assert reads(done) == {"tool.py", "part/__init__.py", "part/inner.py"}
    assert not listed(done)
    assert {"not_there.py", "not_there/__init__.py", "colorsys.py"} <= missed(done)
    assert {Path(one).name for one in done.finished.result.module_files} == {"tool.py", "__init__.py", "inner.py"}
    assert set(done.finished.result.modules) == {"tool", "part"}


def test_a_module_written_by_the_step_can_be_imported(filled: Trial) -> None:
    done = filled.good("%%writefile fresh.py\nvalue = 8", "import fresh\nprint(fresh.value)")
    assert done.text(2) == "8\n"


def test_installed_libraries_count_as_modules_and_not_as_files(filled: Trial) -> None:
    done = filled.good("import sklearn.svm")
    assert {"sklearn", "numpy", "scipy", "joblib"} <= set(done.finished.result.modules)
    assert not reads(done)
    assert not done.finished.reads.outside
    assert not listed(done)


def test_what_is_replayed_counts(filled: Trial) -> None:
    done = filled.good("tool.f()", replay=(ReplayProgram("import tool"),))
    assert "tool.py" in reads(done)


def test_files_beyond_the_project(filled: Trial) -> None:
    other = filled.folder / "elsewhere.txt"
    other.write_text("far away")
    written = filled.folder / "written.txt"
    done = filled.good(
        f"import os, tempfile\nopen({str(other)!r}).read()\nopen({str(written)!r}, 'w').write('x')\n"
        "with tempfile.NamedTemporaryFile('w+') as f:\n    f.write('scratch')\nopen(os.devnull, 'w').write('')"
    )
    assert set(done.finished.reads.outside) == {str(other)}
    assert done.finished.result.wrote_outside == (str(written),)


def test_modules_beyond_the_project_count_by_content(filled: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of an editable install do."""
    other = filled.folder / "other"
    other.mkdir()
    (other / "shared_code.py").write_text("import shared_more")
    (other / "shared_more.py").write_text("value = 1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(other), *filter(None, [os.environ.get("PYTHONPATH")])]))
    done = filled.good("import shared_code")
    assert set(done.finished.reads.outside) == {str(other / "shared_code.py"), str(other / "shared_more.py")}
    assert set(done.finished.result.modules) == {"shared_code", "shared_more"}


def test_a_cell_that_does_nothing_reads_nothing(filled: Trial) -> None:
    done = filled.good("1 + 1", "print('x')\n!true", "1/1")
    found = done.finished.reads
    assert (found.read, found.listed, found.missed, found.outside) == ({}, {}, (), {})
    assert done.finished.result.modules == ()
    assert done.finished.result.wrote_outside == ()


def test_a_failed_unit_tells_what_it_read(filled: Trial) -> None:
    done = filled.run("open('data/a.csv').read()\nopen('data/late.csv')")
    assert done.failure.type == "FileNotFoundError"
    assert reads(done) == {"data/a.csv"}
    assert missed(done) == {"data/late.csv"}


def test_patched_look_ups_behave_as_before(filled: Trial) -> None:
    done = filled.good(
        "import os, shutil, pickle\nprint(os.stat in os.supports_follow_symlinks)\n"
        "print(shutil.rmtree.avoids_symlink_attacks)\n"
        "print(pickle.loads(pickle.dumps(os.stat)) is os.stat)\nos.symlink('nowhere', 'dangling')\n"
        "print(os.path.lexists('dangling'), os.path.exists('dangling'), os.stat('tool.py').st_size > 0)\n"
        "fd = os.open('.', os.O_RDONLY)\nprint(os.stat('tool.py', dir_fd=fd).st_size > 0, os.stat(fd).st_mode > 0)\n"
        "try:\n    os.stat('a\\0b')\nexcept ValueError as error:\n    print(error)\nos.path.exists(b'tool.py')"
    )
    assert done.text(1).split() == [
        "True",
        "True",
        "True",
        "True",
        "False",
        "True",
        "True",
        "True",
        *["embedded", "null", "byte"],
    ]
    assert done.value(1) == "True"
