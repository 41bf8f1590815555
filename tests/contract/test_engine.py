"""What every engine must do with a submission: order, results, failures, retries, fusing, validation, cancelling."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from nbkube.engines.argo.engine import ArgoEngine
from nbkube.engines.argo.target import Target
from nbkube.engines.local import LocalEngine
from nbkube.engines.model import Engine, RunHandle
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.plan import Plan
from nbkube.storage import open_store
from tests.building import CellText, write_notebook
from tests.walker import Walker

EngineMaker = Callable[[Path, Plan], Engine]


def local_engine(folder: Path, plan: Plan) -> Engine:
    return LocalEngine(open_store(folder / "store"), folder / "work", plan.files(folder / f"files-{time.time_ns()}"))


def walked_engine(folder: Path, plan: Plan) -> Engine:
    """Return the Argo engine with a walker of Workflows in place of a cluster: its pods are processes here."""
    store = open_store(folder / "store")
    files = plan.files(folder / f"files-{time.time_ns()}")
    return ArgoEngine(store, files, Target("image", store.url), Walker())


@pytest.fixture(params=[local_engine, walked_engine], ids=["local", "argo-walked"])
def make_engine(request: pytest.FixtureRequest) -> EngineMaker:
    maker: EngineMaker = request.param
    return maker


@dataclass
class Story:
    """A run as its listener saw it."""

    events: list[Mapping[str, Any]] = field(default_factory=list)

    def of(self, kind: str) -> list[Mapping[str, Any]]:
        return [event for event in self.events if event["event"] == kind]

    @property
    def phase(self) -> str:
        return str(self.of("run-ended")[-1]["phase"])

    @property
    def metrics(self) -> dict[str, Any]:
        return dict(self.of("run-ended")[-1]["metrics"])

    def last(self, step: str) -> Mapping[str, Any]:
        return [event for event in self.of("step-ended") if event["step"] == step][-1]

    def started(self) -> list[str]:
        return [event["step"] for event in self.of("started")]


class Bench:
    """A project in which notebooks are run on an engine.

    `shared` is a folder that all attempts at a step see that has the options `sharing`; `moment` is a time in seconds
    in which steps that start together have surely all begun, `patience` one in which a run has surely ended.
    """

    def __init__(self, folder: Path, make_engine: EngineMaker) -> None:
        self.folder = folder
        self.project = folder / "project"
        self.project.mkdir(exist_ok=True)
        self.shared = str(folder)
        self.sharing: dict[str, Any] = {}
        self.moment = 1.5
        self.patience = 90.0
        self._make_engine = make_engine
        self._numbers = 0

    def lives(self, process: int) -> bool:
        """Tell whether a process that a step has started is still there."""
        return Path(f"/proc/{process}").exists()

    def submit(
        self, cells: Sequence[CellText], options: Mapping[str, Mapping[str, Any]] | None = None, **how: Any
    ) -> tuple[RunHandle, Story]:
        notebook = write_notebook(self.project / "work.ipynb", cells)
        plan = Plan.of(build_pipeline(read_notebook(notebook), options=options), notebook)
        self._numbers += 1
        story = Story()
        submission = plan.submission(f"run-{self._numbers}", parallel=how.pop("parallel", 2), **how)
        return self._make_engine(self.folder, plan).submit(submission, story.events.append), story

    def run(self, cells: Sequence[CellText], options: Mapping[str, Any] | None = None, **how: Any) -> Story:
        handle, story = self.submit(cells, options, **how)
        assert handle.wait(self.patience)
        return story


@pytest.fixture
def on_engine(tmp_path: Path, make_engine: EngineMaker) -> Bench:
    return Bench(tmp_path, make_engine)


def test_values_go_from_step_to_step_and_metrics_come_out(on_engine: Bench) -> None:
    story = on_engine.run([("step:a", "x = [1]"), ("step:b", "x.append(2)"), ("pipeline-metrics", "total = sum(x)")])
    assert (story.phase, story.metrics) == ("Succeeded", {"total": 3})
    assert story.started() == ["a", "b", "metrics"]


def test_independent_steps_run_beside_each_other(on_engine: Bench) -> None:
    wait = f"import time\nstart_{{0}} = time.time()\ntime.sleep({on_engine.moment})\nend_{{0}} = time.time()"
    cells = [("step:a", wait.format("a")), ("step:b", wait.format("b"))]
    story = on_engine.run([*cells, ("pipeline-metrics", "together = start_b < end_a and start_a < end_b")])
    assert story.metrics == {"together": True}


def test_adversarial_order_gives_the_same(on_engine: Bench) -> None:
    cells: list[CellText] = [("step:a", "x = 1"), ("step:b", "y = 2"), ("pipeline-metrics", "total = x * 10 + y")]
    story = on_engine.run(cells, adversarial=True, parallel=4)
    assert story.metrics == {"total": 12}
    assert story.started() == ["b", "a", "metrics"]


def test_a_step_that_ran_too_early_runs_again(on_engine: Bench) -> None:
    # Nothing tells analysis that `spread` writes a file, or that `gather` looks for one.
    (on_engine.project / "quiet.py").write_text(
        "import time\nfrom pathlib import Path\n"
        f"def spread(): time.sleep({on_engine.moment + 0.5}); Path('made.txt').write_text('made')\n"
        "def gather(): return [one.name for one in Path('.').iterdir() if one.name == 'made.txt']\n"
    )
    cells: list[CellText] = [
        ("step:first", "import quiet\nquiet.spread()"),
        ("step:second", "import quiet\nfound = quiet.gather()"),
        ("pipeline-metrics", "print(found)"),
    ]
    story = on_engine.run(cells)
    assert story.metrics == {"found": ["made.txt"]}


def test_steps_that_an_earlier_run_has_shown_to_be_independent_run_beside_each_other(on_engine: Bench) -> None:
    work = (
        "import time\nstart_{0} = time.time()\nopen('{0}.txt', 'w').write('x')\n"
        f"while time.time() < start_{{0}} + {on_engine.moment}: time.sleep(0.01)\nend_{{0}} = time.time()"
    )
    cells: list[CellText] = [
        ("step:a", work.format("a")),
        ("step:b", work.format("b")),
        ("pipeline-metrics", "together = start_b < end_a and start_a < end_b"),
    ]
    assert on_engine.run(cells).metrics == {"together": False}
    assert on_engine.run(cells, use_cache=False).metrics == {"together": True}


def test_a_dependency_found_by_one_run_is_known_to_the_next(on_engine: Bench) -> None:
    # Analysis does not know that this makes a file.
    made = f"import time\nimport numpy as np\ntime.sleep({on_engine.moment - 0.5})\n"
    made += "np.lib.format.open_memmap('made.npy', 'w+', shape=(3,))"
    cells: list[CellText] = [
        ("step:first", made),
        ("step:second", "from pathlib import Path\nfound = Path('made.npy').exists()"),
        ("pipeline-metrics", "print(found)"),
    ]
    beside = []
    for _ in range(2):
        story = on_engine.run(cells, use_cache=False)
        assert story.metrics == {"found": True}
        kinds = [(event["event"], event.get("step")) for event in story.events]
        beside.append(kinds.index(("started", "second")) < kinds.index(("step-ended", "first")))
    assert beside == [True, False]


def test_a_failure_stops_what_follows_and_keeps_what_came_before(on_engine: Bench) -> None:
    cells: list[CellText] = [("step:a", "x = 1"), ("step:b", "y = x\ny / 0"), ("step:c", "z = y")]
    story = on_engine.run(cells)
    assert story.phase == "Failed"
    failure = story.last("b")["failure"]
    assert (failure["cell"], failure["line"], failure["type"]) == (2, 2, "ZeroDivisionError")
    assert story.started() == ["a", "b"]
    again = on_engine.run([cells[0], ("step:b", "y = x"), cells[2]])
    assert again.phase == "Succeeded"
    assert again.started() == ["b", "c"]


def test_a_later_failure_does_not_hide_an_earlier_one(on_engine: Bench) -> None:
    cells: list[CellText] = [
        ("step:slow", f"import time\ntime.sleep({on_engine.moment + 0.5})\nassert False, 'the first in the notebook'"),
        ("step:quick", "assert False, 'the first in time'"),
    ]
    handle, story = on_engine.submit(cells)
    assert handle.wait(on_engine.patience)
    assert story.last("slow")["failure"]["message"] == "the first in the notebook"


def test_retries(on_engine: Bench) -> None:
    source = f"from pathlib import Path\npath = Path({on_engine.shared!r}, 'count.txt')\n"
    source += "tries = len(path.read_text()) if path.exists() else 0\n"
    source += "path.write_text('x' * (tries + 1))\nassert tries >= 1, 'not yet'"
    story = on_engine.run([("step:a", source)], {"a": {"retries": 2, **on_engine.sharing}})
    assert story.phase == "Succeeded"
    assert [event["reason"] for event in story.of("retry")] == ["not yet"]


def test_timeout(on_engine: Bench) -> None:
    story = on_engine.run([("step:a", "import time\ntime.sleep(60)")], {"a": {"timeout": "2s"}})
    assert story.phase == "Failed"
    assert story.last("a")["failure"]["kind"] == "timeout"


def test_a_step_that_is_killed(on_engine: Bench) -> None:
    story = on_engine.run([("step:a", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")])
    assert story.phase == "Failed"
    assert story.last("a")["failure"]["kind"] == "killed"


def test_steps_joined_by_an_unstorable_value_share_a_process(on_engine: Bench) -> None:
    cells: list[CellText] = [
        ("step:make", "rows = (n * n for n in range(5))\nfirst = next(rows)"),
        ("step:between", "other = 7"),
        ("step:use", "rest = list(rows)"),
        ("pipeline-metrics", "total = sum(rest) + first + other"),
    ]
    story = on_engine.run(cells)
    assert story.metrics == {"total": 37}
    assert [(event["step"], event["with"]) for event in story.of("fused")] == [("make", ["between", "use"])]
    assert not story.last("use")["cached"]
    again = on_engine.run(cells)
    assert again.metrics == {"total": 37}
    assert again.started() == []
    assert {event["step"] for event in again.of("step-ended")} == {"make", "between", "use", "metrics"}
    # One of them edited: they run together from the start, as the record says.
    edited = on_engine.run([*cells[:2], ("step:use", "rest = list(rows)[1:]"), cells[3]])
    assert edited.metrics == {"total": 36}


def test_an_unstorable_value_that_nobody_was_expected_to_read(on_engine: Bench) -> None:
    cells: list[CellText] = [
        ("step:make", "rows = (n for n in range(3))"),
        ("step:use", "total = sum(globals()['ro' + 'ws'])"),
        ("pipeline-metrics", "print(total)"),
    ]
    story = on_engine.run(cells)
    assert story.metrics == {"total": 3}
    again = on_engine.run(cells)
    assert (again.metrics, again.started()) == ({"total": 3}, [])


def test_cancelling_ends_every_process_and_keeps_what_is_finished(on_engine: Bench) -> None:
    cells: list[CellText] = [
        ("step:a", "x = 1"),
        (
            "step:b",
            "import subprocess, time\nchild = subprocess.Popen(['sleep', '60'])\nprint(child.pid)\ntime.sleep(60)\nx",
        ),
    ]
    handle, story = on_engine.submit(cells)
    deadline = time.monotonic() + on_engine.patience
    while not story.of("log") and time.monotonic() < deadline:
        time.sleep(0.05)
    child = int(story.of("log")[0]["text"])
    threading.Thread(target=handle.cancel).start()
    assert handle.wait(on_engine.patience)
    assert story.phase == "Cancelled"
    assert not on_engine.lives(child)
    again = on_engine.run([cells[0], ("step:b", "y = x")])
    assert again.started() == ["b"]


CONDITIONAL: list[CellText] = [
    ("parameters", "rate = 0.5\nlimit = 0.9"),
    ("step:fit", "accuracy = rate + 0.25\nnote = 'fitted'"),
    ("step:tune", "accuracy = accuracy + 1\nnote = note + ' and tuned'"),
    ("pipeline-metrics", "print(accuracy)\nprint(note)"),
]


def test_a_step_whose_condition_does_not_hold_is_left_out(on_engine: Bench) -> None:
    story = on_engine.run(CONDITIONAL, {"tune": {"when": "accuracy > limit"}})
    assert (story.phase, story.metrics) == ("Succeeded", {"accuracy": 0.75, "note": "fitted"})
    tune = story.last("tune")
    assert (tune["phase"], tune["reason"]) == ("Skipped", "its condition does not hold: accuracy > limit")
    assert not story.of("cell") or all(event["step"] != "tune" for event in story.of("cell"))


def test_a_condition_is_decided_anew_where_its_values_have_changed(on_engine: Bench) -> None:
    options = {"tune": {"when": "accuracy > limit"}}
    on_engine.run(CONDITIONAL, options)
    known = on_engine.run(CONDITIONAL, options)
    assert (known.started(), known.last("tune")["phase"]) == ([], "Skipped")
    higher: list[CellText] = [("parameters", "rate = 0.7\nlimit = 0.9"), *CONDITIONAL[1:]]
    story = on_engine.run(higher, options)
    assert story.metrics["note"] == "fitted and tuned"
    assert story.last("tune")["phase"] == "Succeeded"
    assert on_engine.run(higher, options).started() == []


def test_a_condition_that_cannot_be_decided_fails_its_step(on_engine: Bench) -> None:
    cells: list[CellText] = [("step:a", "x = 'text'"), ("step:b", "y = x")]
    story = on_engine.run(cells, {"b": {"when": "x > 1"}})
    assert story.phase == "Failed"
    failure = story.last("b")["failure"]
    assert (failure["cell"], failure["type"]) == (2, "TypeError")
    assert failure["message"].startswith("the condition x > 1 cannot be decided: ")


FAILING: list[CellText] = [
    ("step:a", "x = 1"),
    ("step:b", "y = x\nx = 2\nassert False, 'broken'"),
    ("step:c", "x = y + 2"),
    ("step:d", "seen = x\nassert x == 1, x"),
    ("step:e", "late = seen + 10"),
    ("pipeline-metrics", "print(late)"),
]
ALWAYS = {"d": {"after-failure": True}, "e": {"after-failure": True}}


def test_steps_marked_for_it_run_after_a_failure_on_what_was_there_before_it(on_engine: Bench) -> None:
    story = on_engine.run(FAILING, ALWAYS)
    assert story.phase == "Failed"
    assert story.started() == ["a", "b", "d", "e"]
    assert [story.last(step)["phase"] for step in "abde"] == ["Succeeded", "Failed", "Succeeded", "Succeeded"]
    assert story.last("b")["failure"]["message"] == "broken"


def test_a_step_after_a_failure_that_fails_itself_stops_no_other(on_engine: Bench) -> None:
    cells = [*FAILING[:3], ("step:d", "1 / 0"), ("step:e", "late = x")]
    story = on_engine.run(cells, ALWAYS)
    assert story.phase == "Failed"
    assert [story.last(step)["phase"] for step in "bde"] == ["Failed", "Failed", "Succeeded"]


def test_steps_marked_for_failures_run_in_their_place_where_there_is_none(on_engine: Bench) -> None:
    cells = [FAILING[0], ("step:b", "y = x"), FAILING[2], ("step:d", "seen = x"), *FAILING[4:]]
    on_engine.run(FAILING, ALWAYS)
    story = on_engine.run(cells, ALWAYS)
    assert (story.phase, story.metrics) == ("Succeeded", {"late": 13})
    assert story.started() == ["b", "c", "d", "e", "metrics"]


def test_without_cache_everything_runs_and_nothing_is_offered_to_others(on_engine: Bench) -> None:
    cells: list[CellText] = [("step:a", "import time\nx = time.time()"), ("pipeline-metrics", "print(x)")]
    first = on_engine.run(cells)
    alone = on_engine.run(cells, use_cache=False)
    assert alone.started() == ["a", "metrics"]
    assert alone.metrics != first.metrics
    assert on_engine.run(cells).metrics == first.metrics


def test_a_step_after_known_ones_starts_at_once(on_engine: Bench) -> None:
    cells: list[CellText] = [
        ("imports", "import json\nimport csv"),
        ("step:a", "x = json.dumps(1)"),
        ("step:b", "y = x"),
    ]
    last: CellText = ("step:c", "z = csv.QUOTE_ALL")
    on_engine.run([*cells, last])
    began = time.monotonic()
    story = on_engine.run([cells[0], cells[1], ("step:b", "y = x + '2'"), last])
    assert (story.phase, story.started()) == ("Succeeded", ["b"])
    assert time.monotonic() - began < 60, "it waited for something that nobody does"
