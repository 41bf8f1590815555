"""Pods as ordinary processes: what they do when things go wrong, and Workflows that nobody follows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nbkube.engines.argo.control import ArgoControl
from nbkube.engines.argo.engine import ArgoEngine
from nbkube.engines.argo.graph import Graph
from nbkube.engines.argo.launch import Launch, freeze, run_id
from nbkube.engines.argo.place import VARIABLE
from nbkube.engines.argo.prepare import exported, plain_run
from nbkube.engines.argo.target import Target
from nbkube.plan import Plan
from nbkube.runs import Phase, RunState, RunStore
from nbkube.storage import ObjectStore, open_store
from tests.building import CellText
from tests.unit.engines.argo.submissions import planned
from tests.walker import Walk, Walker


class Project:
    """A notebook's project with a store and Workflows beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.store: ObjectStore = open_store(folder / "store")
        self.walker = Walker()
        self.target = Target("image", self.store.url)
        self.runs = RunStore(self.store)
        self.place = folder / "place"

    def plan(self, cells: list[CellText], options: dict[str, dict[str, Any]] | None = None) -> Plan:
        return planned(self.folder, cells, options)

    def run(self, plan: Plan, name: str = "run-1", **how: Any) -> tuple[Walk, RunState]:
        """Send a run, each step in a pod of its own unless `fuse` says otherwise, and wait for the Workflow's end."""
        submission = plan.submission(name, **{"fuse": False, **how})
        ArgoEngine(self.store, plan.files(self.place / name), self.target, self.walker).start(submission)
        return self.ended(name), self.runs.load(name)

    def control(self) -> ArgoControl:
        return ArgoControl(self.store, self.walker, self.target)

    def ended(self, name: str, seconds: float = 60) -> Walk:
        until = time.monotonic() + seconds
        while self.walker.walks[name].phase == "Running":
            assert time.monotonic() < until, "the Workflow does not end"
            time.sleep(0.05)
        return self.walker.walks[name]

    def pod(
        self, what: str, submission: str, run: str, *more: str, store: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Start one pod's process."""
        command = [
            sys.executable,
            "-m",
            "nbkube.engines.argo.pod",
            what,
            "--run",
            run,
            "--submission",
            submission,
            *more,
        ]
        own = {"NBKUBE_STORE": store or self.store.url, VARIABLE: str(self.place / "pod")}
        return subprocess.run(
            command, env={**os.environ, **own}, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_an_exported_workflow_makes_its_own_run_each_time(project: Project) -> None:
    plan = project.plan([("step:a", "x = 20"), ("step:b", "y = x + 1"), ("pipeline-metrics", "print(y)")])
    submission = plan.submission("")
    files = plan.files(project.place / "files")
    manifest = exported(
        submission, plain_run(submission), files, project.store, project.target, lambda *_: None, "work"
    )
    for _ in range(2):
        project.walker.send(manifest)
    walks = [project.ended(name) for name in project.walker.walks]
    assert [walk.phase for walk in walks] == ["Succeeded", "Succeeded"]
    states = project.runs.list()
    assert [(state.phase, state.metrics, state.run.engine) for state in states] == [
        (Phase.SUCCEEDED, {"y": 21}, "argo")
    ] * 2
    assert {state.run.workflow for state in states} == set(project.walker.walks)


def test_ids_of_exported_runs_sort_by_time() -> None:
    assert run_id("digits-x7k2p", "2026-11-27T13:05:09Z") == "20261127-130509-digits-x7k2p"
    assert run_id("digits-x7k2p", "") == "digits-x7k2p"


def test_a_pod_that_comes_again_after_its_commit_does_nothing(project: Project) -> None:
    plan = project.plan([("step:a", "import time\nx = time.time_ns()")])
    _, state = project.run(plan, use_cache=False)
    before = project.runs.events("run-1")
    given = ("--unit", "0", "--turn", "0", "--attempt", "1")
    assert project.pod("unit", state.run.submission, "run-1", *given).returncode == 0
    assert project.runs.events("run-1") == before


def test_a_pod_that_is_killed_tells_nothing_and_the_report_does(project: Project) -> None:
    # The cell kills the pod's first process, as the kernel does when memory runs out.
    source = "import os, signal, time\nwatcher = open(f'/proc/{os.getppid()}/stat').read().split()\n"
    source += "os.kill(int(watcher[3]), signal.SIGKILL)\ntime.sleep(20)"
    plan = project.plan([("step:a", "x = 1"), ("step:b", f"x\n{source}")])
    walk, state = project.run(plan)
    assert (walk.phase, state.phase) == ("Failed", Phase.FAILED)
    assert walk.pods == ["a(0)", "b(0)", "report(0)"]
    assert state.reason.startswith("step b: its pod ended without a word")
    assert state.steps[0].phase is Phase.SUCCEEDED


def test_a_failure_that_nobody_could_judge_is_not_told_as_the_notebooks(project: Project) -> None:
    cells = [
        (
            "step:base",
            "class Kind:\n    all = []\n    def __init_subclass__(cls):\n        Kind.all.append(cls.__name__)",
        ),
        ("step:one", "class One(Kind): pass"),
        ("step:two", "class Two(Kind): pass"),
        ("step:last", "assert (One.all, Two.all) == (['One', 'Two'],) * 2"),
    ]
    plan = project.plan(cells)
    submission = plan.submission("run-1", fuse=False)
    graph, files = Graph.of(submission), plan.files(project.place / "run-1")
    launch, _ = freeze(submission, plain_run(submission), files, project.store, chain=graph.chain, tell=lambda *_: None)

    def status(what: str, *more: str) -> int:
        return project.pod(what, launch, "run-1", *more).returncode

    # The steps in the middle ran beside each other: the second has not seen what the first did.
    ran = [status("unit", "--unit", str(one), "--turn", "0", "--attempt", "0") for one in (0, 2, 1, 3)]
    assert ran == [0, 0, 0, 1]
    assert status("report", "--status", "Failed") == 0
    state = project.runs.load("run-1")
    assert state.phase is Phase.FAILED
    assert state.reason.startswith("step two: it was to run again after steps beside it, and its pod ended without a")


def test_a_store_out_of_reach_is_to_be_tried_again(project: Project, tmp_path: Path) -> None:
    blocked = tmp_path / "a file"
    blocked.write_text("no folder")
    given = ("--unit", "0", "--turn", "0", "--attempt", "0")
    ended = project.pod("unit", "0" * 64, "run-1", *given, store=str(blocked))
    assert (ended.returncode, ended.stdout) == (75, "")
    assert "to be tried again" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_steps_that_must_share_a_pod_and_cannot(project: Project) -> None:
    cells = [("step:make", "rows = (n for n in range(5))"), ("step:use", "rest = list(rows)")]
    plan = project.plan(cells, {"use": {"memory": "1Gi"}})
    _, state = project.run(plan)
    failure = state.steps[0].failure
    assert failure is not None
    assert failure.cell == 1
    assert failure.message == (
        "rows holds a running generator, which lives only in its process. Steps make and use would have to share a pod "
        "for it, and this pod does not give all that they ask for. Give steps make, use the same options, or make the "
        "value in use."
    )


def test_steps_that_shared_a_process_before_share_a_pod_from_the_start(project: Project) -> None:
    cells: list[CellText] = [("step:make", "rows = (n for n in range(5))"), ("step:use", "rest = list(rows)")]
    first, _ = project.run(project.plan(cells), "run-1", use_cache=False)
    second, state = project.run(project.plan(cells), "run-2", use_cache=False)
    assert first.pods == ["make(0)", "use(0)"]
    assert second.pods == ["make(0)"]
    assert [(step.name, step.phase) for step in state.steps] == [("make", "Succeeded"), ("use", "Succeeded")]


def test_a_known_beginning_needs_no_pods(project: Project) -> None:
    cells: list[CellText] = [("step:a", "x = 1"), ("step:b", "y = x"), ("step:c", "z = y")]
    project.run(project.plan(cells), "run-1")
    walk, state = project.run(project.plan([*cells[:2], ("step:c", "z = y + 1")]), "run-2")
    assert walk.pods == ["c(0)"]
    assert [step.phase for step in state.steps] == ["Cached", "Cached", "Succeeded"]


def test_a_failed_run_goes_on_from_where_it_failed(project: Project, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    source = f"import pathlib\nassert pathlib.Path({str(mark)!r}).exists(), 'not yet'\ny = x"
    plan = project.plan([("step:a", "import time\nx = time.time_ns()"), ("step:b", source), ("step:c", "z = y")])
    _, failed = project.run(plan, use_cache=False)
    assert failed.phase is Phase.FAILED
    mark.touch()
    project.control().resume("run-1")
    walk = project.ended("run-1-r2")
    state = project.runs.load("run-1")
    assert walk.pods == ["b(0)", "c(0)"], walk.logs
    assert (state.phase, [step.phase for step in state.steps]) == (Phase.SUCCEEDED, ["Succeeded"] * 3)


def test_stopping_is_not_failing(project: Project) -> None:
    plan = project.plan([("step:a", "x = 1"), ("step:b", "import time\ntime.sleep(60)\nx")])
    engine = ArgoEngine(project.store, plan.files(project.place / "files"), project.target, project.walker)
    engine.start(plan.submission("run-1", fuse=False))
    until = time.monotonic() + 60
    while project.runs.load("run-1").steps[1].phase is not Phase.RUNNING and time.monotonic() < until:
        time.sleep(0.05)
    state = project.control().stop("run-1")
    assert state.phase is Phase.CANCELLED
    assert [step.phase for step in state.steps] == [Phase.SUCCEEDED, Phase.CANCELLED]
    assert project.control().stop("run-1").phase is Phase.CANCELLED


def test_a_paused_run_starts_nothing_and_goes_on(project: Project) -> None:
    plan = project.plan([("step:a", "import time\ntime.sleep(2)\nx = 1"), ("step:b", "y = x")])
    engine = ArgoEngine(project.store, plan.files(project.place / "files"), project.target, project.walker)
    engine.start(plan.submission("run-1", fuse=False))
    assert project.control().pause("run-1").phase is Phase.PAUSED
    time.sleep(6)
    assert project.walker.walks["run-1"].pods == ["a(0)"]
    project.control().resume("run-1")
    project.ended("run-1")
    assert project.runs.load("run-1").phase is Phase.SUCCEEDED


def test_a_launch_depends_on_nothing_but_what_is_run(project: Project) -> None:
    plan = project.plan([("step:a", "x = 1")])
    one = project.run(plan, "run-1", use_cache=False)[1].run.submission
    other = project.run(plan, "run-2", use_cache=False)[1].run.submission
    assert one == other
    assert Launch.load(project.store, one).run.id == ""


def test_a_chain_shares_a_pod_and_each_step_keeps_its_own_result(project: Project) -> None:
    cells = [("step:a", "x = 1"), ("step:b", "print('b says', x)\ny = x + 1"), ("step:c", "z = y + 1")]
    walk, state = project.run(project.plan(cells), fuse=True)
    assert walk.pods == ["a(0)"]
    assert [(one.name, one.phase) for one in state.steps] == [(one, Phase.SUCCEEDED) for one in "abc"]
    assert len({one.manifest for one in state.steps}) == 3
    logs = [project.store.get(one.log) if one.log else b"" for one in state.steps]
    assert [b"b says 1" in one for one in logs] == [False, True, False]
    # The same results as with a pod each: nothing is left to run, whoever asks.
    plan = project.plan(cells)
    engine = ArgoEngine(project.store, plan.files(project.place / "again"), project.target, project.walker)
    engine.start(plan.submission("run-2", fuse=False))
    assert [one.phase for one in project.runs.load("run-2").steps] == [Phase.CACHED] * 3
    assert list(project.walker.walks) == ["run-1"]


def test_fused_and_unfused_make_the_same_cache_entries(project: Project) -> None:
    cells = [
        ("step:a", "x = [1, 2]"),
        ("step:b", "x.append(3)\nopen('made.txt', 'w').write('b')"),
        ("step:c", "y = sum(x)"),
    ]
    _, fused = project.run(project.plan(cells), fuse=True)
    kept = {one.name: one.manifest for one in fused.steps}
    for name in list(project.store.list("steps/")):
        project.store.remove(name)
    _, alone = project.run(project.plan(cells), "run-2")
    assert {one.name: one.phase for one in alone.steps} == dict.fromkeys("abc", Phase.SUCCEEDED)
    assert {one.name: one.manifest for one in alone.steps} == kept


def test_a_step_that_fails_in_a_chain_is_tried_again_alone(project: Project) -> None:
    flaky = "import os\nif not os.path.exists(MARK):\n    open(MARK, 'w').close()\n    raise ValueError('first time')\n"
    mark = str(project.folder.parent / "mark")
    cells = [
        ("step:a", "import time\nx = time.time_ns()"),
        ("step:b", f"MARK = {mark!r}\n{flaky}y = x"),
        ("step:c", "z = y"),
    ]
    walk, state = project.run(project.plan(cells, {"b": {"retries": 1}}), fuse=True)
    assert walk.pods == ["a(0)", "a(1)"]
    assert state.phase is Phase.SUCCEEDED
    assert {one.name: one.attempts for one in state.steps} == {"a": 1, "b": 2, "c": 1}


def test_a_step_that_fails_for_good_ends_its_chain(project: Project) -> None:
    cells = [("step:a", "x = 1"), ("step:b", "y = x\nraise ValueError('no')"), ("step:c", "z = y")]
    walk, state = project.run(project.plan(cells), fuse=True)
    assert walk.pods[0] == "a(0)"
    assert state.phase is Phase.FAILED
    phases = {one.name: one.phase for one in state.steps}
    assert (phases["a"], phases["b"]) == (Phase.SUCCEEDED, Phase.FAILED)
    assert phases["c"] is not Phase.SUCCEEDED
