"""Values, definitions and process state from one step process to the next."""

from __future__ import annotations

import tempfile

import pytest

from nbkube.runtime.program import CellProgram, ReplayProgram, StepProgram
from nbkube.state.model import OutputRef
from tests.unit.runtime.trial import Outcome, Trial


class Chain:
    """Units run one after the other, each in a process of its own, as an engine without parallel work would."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.bindings: dict[str, OutputRef] = {}
        self.replay: list[ReplayProgram] = []
        self.cells = 0

    def unit(self, source: str, **options: object) -> Outcome:
        done = self.failing(source, **options)
        assert done.executed.failure is None, done.executed.failure
        outputs = done.finished.result.outputs
        self.bindings |= outputs
        self.bindings = {name: ref for name, ref in self.bindings.items() if ref.kind != "deleted"}
        return done

    def failing(self, source: str, **options: object) -> Outcome:
        self.cells += 1
        cell = CellProgram(self.cells, self.cells, f"id{self.cells}", source)
        return self.trial.run(cell, bindings=dict(self.bindings), replay=tuple(self.replay), **options)  # type: ignore[arg-type]


def test_values_travel_and_reads_are_exact(trial: Trial) -> None:
    chain = Chain(trial)
    first = chain.unit("a = [1, 2]\nb = {'same': a}\nc = 'unused'\nd = 4")
    assert {"a", "b", "c", "d"} <= set(first.finished.result.outputs)
    second = chain.unit("b['same'].append(3)\ntry:\n    nothing\nexcept NameError:\n    pass")
    reads = second.finished.result.reads
    assert reads["b"] == first.finished.result.outputs["b"].version
    assert reads["nothing"] == ""
    assert "c" not in reads
    assert set(second.finished.result.outputs) == {"a", "b"}
    assert second.finished.result.touched
    third = chain.unit("a is b['same'], a, 'c' in globals()")
    assert third.value() == "(True, [1, 2, 3], True)"


def test_functions_see_the_living_names_and_show_their_source(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("n = 1\ndef f(x):\n    # counts\n    global n\n    n += x\n    return n / (10 - n)")
    chain.unit("f(4)")
    done = chain.unit("import inspect\nprint(n, inspect.getsource(f).splitlines()[1])")
    assert done.text() == "5     # counts\n"
    failure = chain.failing("f(5)").failure
    assert (failure.cell, failure.line, failure.type) == (4, 1, "ZeroDivisionError")
    assert "cell 1, line 6" in failure.traceback
    assert "return n / (10 - n)" in failure.traceback


def test_imports_are_replayed_and_no_work_of_the_unit(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("import math as m")
    chain.replay.append(ReplayProgram("import math as m", cell=1, line=1))
    done = chain.unit("x = m.floor(2.5)")
    assert set(done.finished.result.outputs) == {"x"}


def test_environment_folder_and_search_path_travel(trial: Trial) -> None:
    (trial.project / "lib").mkdir()
    (trial.project / "lib" / "deep.py").write_text("value = 6\n")
    chain = Chain(trial)
    first = chain.unit(
        "import os, sys\nos.environ['MODE'] = 'fast'\nos.environ.pop('PAGER')\nsys.path.append('lib')\nos.chdir('lib')"
    )
    assert {"process:environ", "process:cwd", "process:path"} <= set(first.finished.result.outputs)
    chain.replay += [
        ReplayProgram("import os, sys", cell=1, line=1),
        ReplayProgram("sys.path.append('lib')", "config", cell=1, line=4),
        ReplayProgram("os.chdir('lib')", "config", cell=1, line=5),
    ]
    second = chain.unit(
        "os.chdir('..')\nimport deep\n"
        "print(deep.value, os.environ['MODE'], 'PAGER' in os.environ, sys.path.count('lib'))"
    )
    assert second.text() == "6 fast False 1\n"
    assert "process:path" not in second.finished.result.outputs
    assert "process:environ" not in second.finished.result.outputs
    chain.replay.append(ReplayProgram("os.chdir('..')", "config", cell=2, line=1))
    third = chain.unit("print(os.getcwd())")
    assert third.text() == f"{trial.project}\n"
    assert set(third.finished.result.outputs) == set()


def test_random_state_travels_once_a_seed_is_set(trial: Trial) -> None:
    chain = Chain(trial)
    before = chain.unit("import random\nx = random.random()")
    assert not before.finished.result.seeded
    assert before.finished.result.draws == ("process:random",)
    assert "process:random" not in before.finished.result.outputs
    chain.unit("random.seed(7)", seeded=True)
    done = chain.unit("y = [random.random() for _ in range(3)]", seeded=True)
    assert "process:random" in done.finished.result.reads
    last = chain.unit(
        "z = random.random()\nr = random.Random(7)\n[r.random() for _ in range(4)] == [*y, z]", seeded=True
    )
    assert last.value() == "True"


def test_a_seed_set_where_analysis_does_not_see_it(trial: Trial) -> None:
    (trial.project / "setup_all.py").write_text(
        "import numpy as np\ndef fix(n):\n    np.random.seed(n)\n    import random\n    random.seed(n)\n"
    )
    chain = Chain(trial)
    first = chain.unit("import setup_all\nsetup_all.fix(3)")
    assert first.finished.result.seeded
    chain.unit("import numpy as np\na = np.random.rand(2)")
    last = chain.unit(
        "import numpy as np\nb = np.random.rand()\nr = np.random.RandomState(3)\n"
        "(list(r.rand(2)), r.rand()) == (list(a), b)"
    )
    assert last.value() == "True"


def test_history_travels(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("20 + 1", history=True)
    done = chain.unit("_ * 2, Out[1], In[1], _1, len(In)", history=True)
    assert done.value() == "(42, 21, '20 + 1', 21, 3)"
    again = chain.unit("Out[2][0], _[0], _2[0], ___", history=True)
    assert again.value() == "(42, 42, 42, '')"


def test_annotations_travel(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("a: int = 1", history=True)
    chain.unit("b: str", history=True)
    assert chain.unit("__annotations__", history=True).value() == "{'a': int, 'b': str}"


def test_metrics_are_plain_values(trial: Trial) -> None:
    done = trial.good(
        "import numpy as np\nacc = np.float32(0.5)\nok = True\nper = {'a': np.int64(3), 1: np.arange(2)}",
        metrics=("acc", "ok", "per", "none"),
    )
    assert done.finished.result.metrics == {"acc": 0.5, "ok": True, "per": {"a": 3, "1": [0, 1]}}


def test_holes_are_reported_and_fused_over(trial: Trial) -> None:
    first = trial.program("gen = (i for i in range(5))\nnext(gen)\nbase = 10")
    cell = CellProgram(2, 2, "b", "total = next(gen) + base\ndel gen")
    second = StepProgram("two", "d2", (cell,), filename="note.ipynb")
    attempt = trial.attempt(first)
    executed = attempt.execute(60)
    assert executed.failure is None
    assert set(executed.holes) == {"gen"}
    assert "generator" in executed.holes["gen"]
    after = attempt.extend(second, {}, 60)
    assert (after.failure, after.holes) == (None, {})
    outputs = attempt.finish().result.outputs
    assert outputs["total"].summary == "11"
    assert "gen" not in outputs or outputs["gen"].kind == "deleted"


def test_a_hole_met_by_surprise_is_an_unstorable_failure(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("gen = (i for i in range(5))")
    failure = chain.failing("print(next(gen))").failure
    assert (failure.kind, failure.cell) == ("unstorable", 2)
    assert "`gen`" in failure.message


def test_a_failed_unit_puts_out_nothing_and_tells_its_reads(trial: Trial) -> None:
    chain = Chain(trial)
    chain.unit("a = 1")
    done = chain.failing("b = a\n1/0")
    assert done.finished.result.outputs == {}
    assert "a" in done.finished.result.reads


def test_paths_in_values_hold_in_other_places(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a mount every process has another root."""
    (trial.project / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(trial.project / "tmp"))
    (trial.project / "x.txt").write_text("content")
    chain = Chain(trial)
    first = chain.unit("from pathlib import Path\nhere = Path.cwd() / 'x.txt'\ntext = str(here)\nprint(text)")
    done = chain.unit("print(here, text, here.read_text())")
    assert not done.finished.mounted
    assert "/work1/" in first.text()
    assert done.text() == "{0} {0} content\n".format(f"{trial.folder}/work2/project/x.txt")
