"""Steps forked from a run's template: they do what new interpreters do, and whatever cannot be forked is not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from nbkube.engines.local import LocalEngine
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.runtime.program import ReplayProgram
from nbkube.runtime.spawning import supported
from nbkube.runtime.template import shared_beginning
from nbkube.storage import open_store
from tests.building import CellText, write_notebook

pytestmark = [
    pytest.mark.skipif(not supported(), reason="steps are forked on Linux only"),
    pytest.mark.timeout(600),
]

FORKED = "open('/proc/self/cmdline').read().split(chr(0))[3:4] == ['template']"
"""An expression that tells whether the step was forked."""


class Run:
    """A run that has ended: its metrics, and each step's log."""

    def __init__(self, folder: Path, cells: Sequence[CellText], options: Mapping[str, Any] | None = None) -> None:
        project = folder / "project"
        notebook = write_notebook(project / "work.ipynb", cells)
        plan = Plan.of(build_pipeline(read_notebook(notebook), options=options), notebook)
        store = open_store(folder / "store")
        engine = LocalEngine(store, folder / "work", plan.files(folder / f"files-{time.time_ns()}"))
        self.events: list[Mapping[str, Any]] = []
        handle = engine.submit(plan.submission("run", parallel=2), self.events.append)
        assert handle.wait(550)
        ended = [event for event in self.events if event["event"] == "step-ended"]
        self.phase = self.events[-1]["phase"]
        self.failures = [event["failure"] for event in ended if event["failure"]]
        self.metrics: dict[str, Any] = self.events[-1]["metrics"]
        self.logs = {event["step"]: store.get(event["log"]).decode() for event in ended if event["log"]}

    def spawned(self) -> dict[str, str]:
        """Return why steps were not forked."""
        mark = "instead of a fork of a warm one: "
        lines = {step: [line for line in log.splitlines() if mark in line] for step, log in self.logs.items()}
        return {step: found[0].partition(mark)[2] for step, found in lines.items() if found}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    (folder / "project" / name).write_text(textwrap.dedent(text))


def good(folder: Path, *cells: CellText, **options: Any) -> Run:
    run = Run(folder, cells, **options)
    assert run.phase == "Succeeded", run.failures
    return run


def test_all_steps_are_forked(folder: Path) -> None:
    run = good(
        folder,
        ("imports", "import os, json\nimport numpy as np"),
        ("step:a", f"a = {FORKED}\nx = np.arange(3)"),
        ("step:b", f"b = {FORKED}\ny = x.sum()"),
        ("pipeline-metrics", f"c = {FORKED} and a and b\nprint(y, c)"),
    )
    assert run.metrics["c"] is True
    assert run.spawned() == {}


def test_a_forked_step_looks_like_a_new_process(folder: Path) -> None:
    look = textwrap.dedent("""
        import os, sys, signal, threading
        {0} = dict(
            path=[one for one in sys.path], cwd=os.getcwd(), argv=sys.argv, leader=os.getsid(0) == os.getpid(),
            threads=[one.name for one in threading.enumerate()], main=__name__,
            signals=[str(signal.getsignal(one)) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)],
            stdin=sys.stdin.read(), files=sorted(os.listdir()), environ=dict(os.environ),
            mask=os.umask(0o22), shell=type(get_ipython()).__name__, limit=sys.getrecursionlimit(),
            store=get_ipython().db.keys(),
        )
    """)
    run = good(
        folder,
        ("step:a", look.format("first") + "x = 1"),
        ("step:b", look.format("second") + "get_ipython().db['leak'] = 1\ny = x"),
        ("step:c", look.format("third") + "z = y"),
        ("pipeline-metrics", "different = [k for k in first if not first[k] == second[k] == third[k]]"),
    )
    assert run.metrics == {"different": []}
    assert run.spawned() == {}


def test_nothing_leaks_from_step_to_step(folder: Path) -> None:
    run = good(
        folder,
        ("imports", "import json, os, sys, logging, warnings"),
        (
            "step:a",
            "x = 1\nimport colorsys\ncolorsys.ONE_THIRD\nimport builtins\ndef leak():\n"
            "    json.leak = warnings.leak = builtins.leak = x\n"
            "    sys.modules['leak'] = json\n    logging.getLogger('x').setLevel(x)\nleak()",
        ),
        (
            "step:b",
            "import builtins\nfound = [hasattr(json, 'leak'), 'leak' in sys.modules, hasattr(builtins, 'leak'), "
            "hasattr(warnings, 'leak'), logging.getLogger('x').level == 1, 'color' + 'sys' in sys.modules]\ny = x",
        ),
        ("pipeline-metrics", "leaks = [*found, y != 1]"),
    )
    assert run.metrics == {"leaks": [False] * 7}
    assert run.spawned() == {}


def test_each_step_draws_numbers_of_its_own(folder: Path) -> None:
    draw = "drawn_{0} = (random.random(), float(np.random.rand()), float(np.random.default_rng().random()))"
    run = good(
        folder,
        ("imports", "import random\nimport numpy as np\nimport numpy.random"),
        ("step:a", draw.format("a")),
        ("step:b", draw.format("b") + "; drawn_a"),
        ("pipeline-metrics", "different = all(one != two for one, two in zip(drawn_a, drawn_b))"),
    )
    assert run.metrics == {"different": True}
    assert run.spawned() == {}


def test_a_module_that_sets_a_seed_sets_it_in_each_step(folder: Path) -> None:
    write(folder, "seeding.py", "import random\nimport numpy as np\nrandom.seed(5)\nnp.random.seed(5)\n")
    run = good(
        folder,
        ("imports", "import random\nimport numpy as np\nimport seeding"),
        ("step:a", "a = random.random(), float(np.random.rand())\nx = 1"),
        ("step:b", "b = random.random(), float(np.random.rand())\ny = x"),
        ("pipeline-metrics", "print(a, b, y)\nnext_in_order = a != b"),
    )
    assert run.metrics["next_in_order"] is True
    assert run.spawned() == {}


def test_a_module_that_a_step_changes_is_loaded_anew(folder: Path) -> None:
    write(folder, "part.py", "value = 1\n")
    run = good(
        folder,
        ("imports", "import part"),
        ("step:a", "x = part.value\nopen('part.py', 'w').write('value = 2\\n')"),
        ("step:b", "y = part.value\nprint(x)"),
        ("pipeline-metrics", "got = y"),
    )
    assert run.spawned()["b"] == "part.py has changed, which a statement that comes before the cells has looked at"
    assert "a" not in run.spawned()


def test_files_that_statements_read_beforehand_count_as_read(folder: Path) -> None:
    write(folder, "part.py", "from pathlib import Path\nvalue = int(Path('number.txt').read_text())\n")
    write(folder, "number.txt", "1")
    cells: list[CellText] = [
        ("imports", "import part"),
        ("step:a", "x = part.value"),
        ("step:b", "y = x + part.value"),
        ("pipeline-metrics", "got = y"),
    ]
    assert good(folder, *cells).metrics == {"got": 2}
    assert good(folder, *cells).logs  # all from the cache
    write(folder, "number.txt", "4")
    again = good(folder, *cells)
    assert again.metrics == {"got": 8}
    assert again.spawned() == {}


def test_a_module_made_by_an_earlier_step(folder: Path) -> None:
    run = good(
        folder,
        ("imports", "%%writefile made.py\nvalue = 7"),
        ("imports", "import made"),
        ("step:a", "x = made.value"),
        ("step:b", "y = made.value + x"),
        ("pipeline-metrics", "got = y"),
    )
    assert run.metrics == {"got": 14}
    assert all("ModuleNotFoundError" in reason or "comes before" in reason for reason in run.spawned().values())
    assert "b" in run.spawned()


def test_variables_of_a_step_s_options(folder: Path) -> None:
    run = good(
        folder,
        ("step:a", "import os\na = os.environ.get('MINE')\nx = 1"),
        ("step:b", "b = os.environ.get('MINE')\ny = x"),
        ("step:c", "c = os.environ.get('MINE')\nz = y"),
        ("pipeline-metrics", "got = str([a, b, c, z])"),
        options={"b": {"env": {"MINE": "yes"}}},
    )
    assert run.metrics == {"got": "[None, 'yes', None, 1]"}
    assert run.spawned() == {"b": "its environment variables are others"}


def test_variables_set_by_cells(folder: Path) -> None:
    run = good(
        folder,
        ("imports", "import os\nos.environ['FIXED'] = '1'\nimport numpy as np"),
        ("step:a", "x = os.environ['FIXED']"),
        ("step:b", "os.environ['COMPUTED'] = x + '2'"),
        ("step:c", "got = os.environ['COMPUTED'] + os.environ['FIXED']"),
        ("pipeline-metrics", "result = got"),
    )
    assert run.metrics == {"result": "121"}
    reason = "an earlier step has set the environment variable COMPUTED"
    assert run.spawned() == {"c": reason, "metrics": reason}


@pytest.mark.parametrize(
    "work",
    [
        "from sklearn.cluster import KMeans\nKMeans(2).fit(np.random.rand(3000, 2))",
        "from sklearn.ensemble import HistGradientBoostingRegressor as H\nH(max_iter=5).fit(np.random.rand(3000, 2), "
        "np.random.rand(3000))",
        "import tensorflow as tf\ntf.constant(1) + 1",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ],
    ids=["kmeans", "boosting", "tensorflow", "thread"],
)
def test_threads_are_not_forked(folder: Path, work: str) -> None:
    write(folder, "worker.py", f"import numpy as np\n{work}\n")
    again = work.replace("threading.Thread", "None and threading.Thread") if "Thread" in work else work
    run = good(
        folder,
        ("imports", "import numpy as np\nimport worker"),
        ("step:a", "x = 1"),
        ("step:b", f"y = x\n{again}"),
        ("pipeline-metrics", "got = y"),
    )
    assert run.metrics == {"got": 1}
    assert "thread" in run.spawned()["b"]


def test_work_with_threads_in_set_up_and_in_steps(folder: Path) -> None:
    work = "KMeans(2, n_init=1).fit(np.random.rand(5000, 2)).n_iter_ > 0"
    run = good(
        folder,
        ("imports", f"import numpy as np\nfrom sklearn.cluster import KMeans\nfine = {work}"),
        ("step:a", f"fine = fine and {work}"),
        ("step:b", f"fine = fine and {work}"),
        ("pipeline-metrics", "result = bool(fine)"),
    )
    assert run.metrics == {"result": True}
    assert run.spawned() == {}


def test_a_process_started_by_a_module(folder: Path) -> None:
    write(folder, "server.py", "import subprocess\nprocess = subprocess.Popen(['sleep', '30'])\n")
    run = good(
        folder,
        ("imports", "import server"),
        ("step:a", "x = 1\nserver.process.kill()"),
        ("step:b", "y = x\nserver.process.kill()"),
        ("pipeline-metrics", "got = y"),
    )
    assert "has started a process" in run.spawned()["b"]


def test_a_module_that_writes_a_file_is_not_loaded_beforehand(folder: Path) -> None:
    write(folder, "writing.py", "open('log.txt', 'a').write('x')\n")
    run = good(
        folder,
        ("imports", "import writing"),
        ("step:a", "x = writing.__name__"),
        ("step:b", "y = x"),
        ("pipeline-metrics", "got = y"),
    )
    assert "changes log.txt" in run.spawned()["b"]


def test_output_of_statements_run_beforehand_belongs_to_no_step(folder: Path) -> None:
    write(folder, "loud.py", "import sys, logging\nprint('loud')\nlogging.basicConfig(level='INFO')\n")
    run = good(
        folder,
        ("imports", "import logging\nimport loud"),
        ("step:a", "print('of a'); logging.info('logged by a'); x = 1"),
        ("step:b", "print('of b', x); logging.info('logged by b')"),
        ("pipeline-metrics", "got = x"),
    )
    assert run.logs["setup"].count("loud") == 1
    assert run.logs["a"].splitlines() == ["of a", "INFO:root:logged by a"]
    assert run.logs["b"].splitlines() == ["of b 1", "INFO:root:logged by b"]
    assert run.spawned() == {}


def test_a_template_that_is_killed(folder: Path) -> None:
    run = good(
        folder,
        ("step:a", f"import os, signal\nassert {FORKED}\nparent = open(f'/proc/{{os.getppid()}}/stat').read()\n"
         "os.kill(int(parent.rpartition(')')[2].split()[1]), signal.SIGKILL)\nx = 1"),
        ("step:b", "import time\ntime.sleep(0.2)\ny = x"),
        ("pipeline-metrics", "got = y"),
    )  # fmt: skip
    assert run.metrics == {"got": 1}
    assert run.spawned()["b"] == "the template process has ended"


ENGINE = """
import sys
from pathlib import Path
from nbkube.engines.local import LocalEngine
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.storage import open_store
notebook, folder = map(Path, sys.argv[1:])
plan = Plan.of(build_pipeline(read_notebook(notebook)), notebook)
engine = LocalEngine(open_store(folder / "store"), folder / "work", plan.files(folder / "files"))
engine.submit(plan.submission("run"), lambda _: None).wait()
"""


def processes_of(folder: Path) -> list[str]:
    """Return the command lines of all processes of this package whose environment names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
                if b"nbkube.runtime" in command and str(folder).encode() in (entry / "environ").read_bytes():
                    found.append(command.decode().replace("\0", " "))
            except OSError:
                continue
    return found


def test_a_template_ends_with_its_run_whatever_dies(folder: Path) -> None:
    notebook = write_notebook(
        folder / "project" / "work.ipynb",
        [("step:a", "open('started', 'w')\nimport time\ntime.sleep(60)\nx = 1"), ("step:b", "x"), ("step:c", "x")],
    )
    environment = {**os.environ, "MARK": str(folder)}
    run = subprocess.Popen([sys.executable, "-c", ENGINE, str(notebook), str(folder)], env=environment)
    try:
        deadline = time.monotonic() + 60
        while len(processes_of(folder)) < 3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert any("template" in one for one in processes_of(folder))
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    deadline = time.monotonic() + 20
    while processes_of(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_of(folder) == []


def test_cancelling_while_a_module_is_being_loaded(folder: Path) -> None:
    write(folder, "slow.py", "import time\ntime.sleep(100)\n")
    notebook = write_notebook(
        folder / "project" / "work.ipynb", [("imports", "import slow"), ("step:a", "x = 1"), ("step:b", "y = x")]
    )
    plan = Plan.of(build_pipeline(read_notebook(notebook)), notebook)
    engine = LocalEngine(open_store(folder / "store"), folder / "work", plan.files(folder / "files"))
    run = engine.submit(plan.submission("run"), lambda _: None)
    threading.Timer(3, run.cancel).start()
    assert run.wait(30)


def test_the_beginning_that_steps_share() -> None:
    one, two, three = (ReplayProgram(f"import {name}") for name in ("a", "b", "c"))
    needing = ReplayProgram("configure(f)", needs=("f",))
    assert shared_beginning([(), (one,), (one, two, three), (one, two)]) == [(), (one,), (one, two), (one, two)]
    assert shared_beginning([(one, two), (one, three)]) == [(one,), (one, three)]
    assert shared_beginning([(one, needing, two)]) == [(one,)]
    assert shared_beginning([]) == []


@pytest.mark.timeout(100)  # less than a step waits for a template that was never told what to run
def test_steps_after_known_results_do_not_wait_for_a_template(folder: Path) -> None:
    """The template starts when all steps before have results already, and the first it serves begins with imports."""
    start: list[CellText] = [("imports", "import json\nimport decimal"), ("step:known", "x = 1")]
    Run(folder, [*start, ("step:one", "y = json.dumps(x)"), ("step:two", "z = decimal.Decimal(y)")])
    again = Run(folder, [*start, ("step:one", "y = json.dumps(x + 1)"), ("step:two", "z = decimal.Decimal(y) + 1")])
    assert again.phase == "Succeeded"
    assert [event["cached"] for event in again.events if event["event"] == "step-ended"] == [True, True, False, False]
    assert again.spawned() == {}
