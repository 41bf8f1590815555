"""Requests are held against the machine, and steps are kept to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from nbkube.client import Client
from nbkube.engines.budget import Budget, Capacity, MemoryLimit, check, machine
from nbkube.engines.local import LocalEngine
from nbkube.engines.model import UnitPlan
from nbkube.errors import NotebookError
from nbkube.notebook import read_notebook
from nbkube.pipeline import build_pipeline
from nbkube.pipeline.model import StepOptions
from nbkube.plan import Plan
from nbkube.runs import StepRun
from nbkube.runs.usage import is_worth_telling, proposal
from nbkube.runtime import cgroups
from nbkube.runtime.cgroups import Hierarchy, MemoryGroup, cpu_limit, hierarchy, memory_limit
from nbkube.runtime.program import CellProgram, StepProgram
from nbkube.storage import open_store
from tests.building import CellText, write_notebook

GIB = 1 << 30


def unit(name: str = "train", **options: Any) -> UnitPlan:
    program = StepProgram(unit=name, digest="d", cells=(CellProgram(id="c", number=3, code_number=2, source=""),))
    return UnitPlan(program, StepOptions(**options), ())


def test_a_request_beyond_the_machine_is_named() -> None:
    capacity = Capacity(2.0, 4 * GIB, {"nvidia.com/gpu": 1})
    units = [
        unit("a", cpu="2", memory="4Gi"),
        unit("b", cpu="2500m"),
        unit("c", memory="5Gi"),
        unit("d", gpu={"nvidia.com/gpu": 2}),
    ]
    found = [str(one) for one in check(units, capacity, "nb.ipynb")]
    assert [one.partition(".")[0] for one in found] == ["nb"] * 3
    assert "step b asks for cpu 2500m; there is 2 on this machine" in found[0]
    assert "step c asks for memory 5Gi; there is 4.0Gi on this machine" in found[1]
    assert "step d asks for gpu nvidia.com/gpu 2; there is 1" in found[2]


def test_a_device_that_no_driver_tells_of_is_a_warning() -> None:
    (found,) = check([unit(gpu={"amd.com/gpu": 1})], Capacity(2.0, GIB), "nb.ipynb")
    assert found.severity == "warning"


def test_nothing_is_written_when_a_request_is_too_much(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path / "work.ipynb", [("step:a", "x = 1")])
    with pytest.raises(NotebookError, match="step a asks for memory 900Ti"):
        Client(tmp_path).run(notebook, options={"a": {"memory": "900Ti"}})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["work.ipynb"]


@pytest.mark.parametrize(
    ("needs", "running", "fits"),
    [
        ([{"cpu": "1"}, {"cpu": "1"}], [1], True),
        ([{"cpu": "1500m"}, {"cpu": "1"}], [1], False),
        ([{"memory": "3Gi"}, {"memory": "2Gi"}], [1], False),
        ([{"memory": "3Gi"}, {"memory": "1Gi"}], [1], True),
        ([{"memory": "3Gi"}, {}], [1], True),
        ([{"memory": "3Gi"}, {"memory": "2Gi"}], [], True),
        ([{"memory": "9Gi"}], [], True),
        ([{"gpu": {"nvidia.com/gpu": 1}}, {"gpu": {"nvidia.com/gpu": 1}}], [1], False),
        ([{"gpu": {"amd.com/gpu": 1}}, {"gpu": {"amd.com/gpu": 1}}], [1], True),
    ],
)
def test_what_fits(needs: list[dict[str, Any]], running: list[int], fits: bool) -> None:
    budget = Budget([unit(**one) for one in needs], Capacity(2.0, 4 * GIB, {"nvidia.com/gpu": 1}))
    assert budget.fits(0, 0, [(one, one) for one in running]) is fits


def run(folder: Path, cells: Sequence[CellText], options: dict[str, Any], parallel: int = 2) -> list[dict[str, Any]]:
    notebook = write_notebook(folder / "project" / "work.ipynb", cells)
    plan = Plan.of(build_pipeline(read_notebook(notebook), options=options), notebook)
    events: list[dict[str, Any]] = []
    engine = LocalEngine(open_store(folder / "store"), folder / "work", plan.files(folder / f"files-{time.time_ns()}"))
    run = engine.submit(plan.submission("run", parallel=parallel), lambda event: events.append(dict(event)))
    assert run.wait(100)
    return events


def test_steps_whose_requests_do_not_fit_together_run_one_after_the_other(tmp_path: Path) -> None:
    wait = "import time\nbegin_{0} = time.time()\ntime.sleep(1)\nend_{0} = time.time()"
    cells = [("step:a", wait.format("a")), ("step:b", wait.format("b"))]
    cells.append(("pipeline-metrics", "together = begin_b < end_a and begin_a < end_b"))
    most = f"{int(machine().memory * 0.6) >> 20}Mi"
    asked = {"a": {"memory": most}, "b": {"memory": most}}
    assert run(tmp_path / "1", cells, asked)[-1]["metrics"] == {"together": False}
    assert run(tmp_path / "2", cells, {"a": {"memory": most}})[-1]["metrics"] == {"together": True}


GREEDY = "import time\nheld = bytearray(400 << 20)\nfor at in range(0, len(held), 4096): held[at] = 1\ntime.sleep({})"
CAN_LIMIT = (made := MemoryGroup.make(GIB, "probe")) is not None
if made is not None:
    made.remove()
no_groups = pytest.mark.skipif(not CAN_LIMIT, reason="NOT TESTED: this process may not make control groups")


@no_groups
def test_a_step_beyond_its_memory_is_ended_by_the_system(tmp_path: Path) -> None:
    cells: list[CellText] = [("step:easy", "x = 1"), ("step:greedy", GREEDY.format(0))]
    events = run(tmp_path, cells, {"greedy": {"memory": "200Mi", "retries": 2}, "easy": {"memory": "200Mi"}})
    (failed,) = [one for one in events if one["event"] == "step-ended" and one["phase"] == "Failed"]
    failure = failed["failure"]
    assert (failure["type"], failure["kind"], failure["cell"]) == ("OOM", "oom", 2)
    assert failure["message"].startswith("step greedy used more than memory 200Mi")
    assert failed["peak_memory"] < 300 << 20, "it was ended before it had it all"
    assert not [one for one in events if one["event"] == "retry"]
    found = hierarchy("memory")
    assert found is not None
    assert list(found.own.glob(f"nbkube-{os.getpid()}-*")) == []


@no_groups
def test_children_count_as_well(tmp_path: Path) -> None:
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {GREEDY.format(0)!r}], check=True)"
    events = run(tmp_path, [("step:parent", child)], {"parent": {"memory": "200Mi"}})
    (failed,) = [one for one in events if one["event"] == "step-ended"]
    assert failed["failure"]["type"] == "OOM"


def test_where_groups_cannot_be_made_a_measurement_ends_the_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a machine whose groups are not this user's: there is no hierarchy in which one could be made.
    monkeypatch.setattr(cgroups, "hierarchy", lambda _: None)
    events = run(tmp_path, [("step:greedy", GREEDY.format(60))], {"greedy": {"memory": "200Mi"}})
    (failed,) = [one for one in events if one["event"] == "step-ended"]
    assert failed["failure"]["type"] == "OOM"
    assert failed["failure"]["cell"] == 1
    assert failed["seconds"] < 30


def test_a_step_within_its_memory_is_left_alone(tmp_path: Path) -> None:
    assert run(tmp_path, [("step:a", GREEDY.format(1))], {"a": {"memory": "1Gi"}})[-1]["phase"] == "Succeeded"


def test_only_a_process_all_of_whose_units_ask_is_limited() -> None:
    for units, limited in (([unit(memory="1Gi"), unit(memory="2Gi")], True), ([unit(memory="1Gi"), unit()], False)):
        with MemoryLimit(units) as limit:
            assert bool(limit.entrance) is (limited and CAN_LIMIT)


# -- limits of the machine, as files of both versions write them -----------------------------------------------------


def tree(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_limits_of_version_1(tmp_path: Path) -> None:
    tree(tmp_path, {
        "memory/memory.limit_in_bytes": "9223372036854771712", "memory/docker/x/memory.limit_in_bytes": str(2 * GIB),
        "memory/docker/memory.limit_in_bytes": str(3 * GIB), "cpu/docker/x/cpu.cfs_quota_us": "150000",
        "cpu/docker/x/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000",
        "self/cgroup": "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x",
        "self/mountinfo": f"35 31 0:32 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"32 31 0:29 / {tmp_path}/cpu rw - cgroup cgroup rw,cpu,cpuacct",
    })  # fmt: skip
    found = hierarchy("memory", tmp_path / "self")
    assert found == Hierarchy(tmp_path / "memory", tmp_path / "memory/docker/x", 1)
    assert memory_limit(found) == 2 * GIB
    assert cpu_limit(hierarchy("cpu", tmp_path / "self")) == 1.5


def test_limits_of_version_2(tmp_path: Path) -> None:
    tree(tmp_path, {
        "group/memory.max": "max", "group/user/memory.max": str(GIB), "group/user/app/memory.max": "max",
        "group/user/app/cgroup.controllers": "cpu memory", "group/user/app/cpu.max": "max 100000",
        "group/user/cpu.max": "50000 100000",
        "self/cgroup": "0::/user/app", "self/mountinfo": f"35 31 0:32 / {tmp_path}/group rw - cgroup2 cgroup2 rw",
    })  # fmt: skip
    found = hierarchy("memory", tmp_path / "self")
    assert found == Hierarchy(tmp_path / "group", tmp_path / "group/user/app", 2)
    assert memory_limit(found) == GIB
    assert cpu_limit(found) == 0.5


def test_a_group_of_version_2_is_asked_for_in_its_own_words(tmp_path: Path) -> None:
    # A folder is no control group, but the files that are written are those of the kernel's documentation.
    tree(tmp_path, {"cgroup.subtree_control": "", "memory.max": "max"})
    group = MemoryGroup.make(GIB, "x", Hierarchy(tmp_path, tmp_path, 2))
    assert group is not None
    folder = Path(group.entrance).parent
    assert (folder / "memory.max").read_text() == str(GIB)
    assert (folder / "memory.oom.group").read_text() == "1"
    assert not group.exceeded()
    (folder / "memory.events").write_text("low 0\nmax 12\noom 1\noom_kill 1\n")
    assert group.exceeded()


def test_a_group_of_version_2_is_made_beside_one_that_holds_processes(tmp_path: Path) -> None:
    (tmp_path / "app" / "cgroup.subtree_control").mkdir(parents=True)  # it takes no word, as the kernel then does
    group = MemoryGroup.make(GIB, "x", Hierarchy(tmp_path, tmp_path / "app", 2))
    assert group is not None
    assert Path(group.entrance).parent.parent == tmp_path


def unified() -> Path | None:
    """Return where this process may make groups of version 2; None where it may not."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines() if sys.platform == "linux" else ():
        fields = line.split()
        if fields[fields.index("-") + 1] == "cgroup2" and os.access(fields[4], os.W_OK):
            return Path(fields[4])
    return None


def real(version: int) -> Hierarchy | str:
    """Return this machine's hierarchy of a version that limits memory; else what the machine offers instead."""
    found, top = hierarchy("memory"), unified()
    held = f"memory is held by version {found.version} at {found.top}" if found else "no hierarchy holds memory"
    if found is not None and found.version == version:
        return found if CAN_LIMIT else f"{held}, where this process may not make groups"
    if version == 1 or top is None:
        return f"{held}; no hierarchy of version {version} is mounted for this process to write to"
    offered = (top / "cgroup.controllers").read_text().split()
    return f"{held}; that of version 2 at {top} has only the controllers: {' '.join(offered) or 'none'}"


@pytest.mark.parametrize("version", [1, 2])
def test_the_kernel_ends_what_takes_more_than_its_group_may(version: int) -> None:
    """The kernel's own interface. It gives a controller to one version only, so one of the two is left out."""
    found = real(version)
    if isinstance(found, str):
        pytest.skip(f"NOT TESTED: memory limits of control groups, version {version}: {found}")
    group = MemoryGroup.make(100 << 20, f"real{version}", found)
    assert group is not None
    enter = f"from nbkube.runtime.cgroups import enter\nenter({group.entrance!r})\n"
    try:
        for code, killed in (("held = bytearray(1 << 20)", False), (GREEDY.format(0), True)):
            done = subprocess.run([sys.executable, "-c", enter + code], check=False)
            assert done.returncode == (-signal.SIGKILL if killed else 0)
            assert group.exceeded() is killed
    finally:
        group.remove()
    assert not Path(group.entrance).parent.exists()


def test_a_real_hierarchy_of_version_2() -> None:
    """Where it has no memory controller, no group is made, and none is left behind; processes enter plain groups."""
    top = unified()
    if top is None:
        pytest.skip("NOT TESTED: no hierarchy of version 2 is mounted in which this process may make groups")
    group = MemoryGroup.make(1 << 30, "real", Hierarchy(top, top, 2))
    has_memory = "memory" in (top / "cgroup.controllers").read_text().split()
    assert (group is not None) is has_memory
    assert has_memory or not list(top.glob(f"nbkube-{os.getpid()}-*"))
    folder = Path(group.entrance).parent if group else top / f"nbkube-{os.getpid()}-plain"
    folder.mkdir(exist_ok=True)
    code = f"""
from nbkube.runtime.cgroups import enter
enter({str(folder / "cgroup.procs")!r})
print([one for one in open("/proc/self/cgroup") if one.startswith("0::")][0])
"""
    try:
        inside = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert folder.name in inside.stdout
    finally:
        MemoryGroup(folder, 2).remove()
    assert not folder.exists()


@no_groups
def test_groups_of_the_dead_are_removed() -> None:
    made = "from nbkube.runtime.cgroups import MemoryGroup\nprint(MemoryGroup.make(1 << 30, 'x').entrance, flush=True)"
    code = f"import os\n{made}\nos.kill(os.getpid(), 9)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    left = Path(done.stdout.strip()).parent
    assert left.is_dir()
    group = MemoryGroup.make(GIB, "y")
    assert group is not None
    assert not left.exists()
    group.remove()
    assert not Path(group.entrance).parent.exists()


# -- proposals -------------------------------------------------------------------------------------------------------


def test_requests_are_proposed_from_what_was_used() -> None:
    step = StepRun("train", peak_memory=int(1.2 * GIB), seconds=10.0, cpu_seconds=18.0)
    found = proposal(step)
    assert found is not None
    assert str(found) == "train used 1.2Gi, 1.8 cpu: ask for memory 1536Mi, cpu 1.8"
    assert is_worth_telling(found)
    small = proposal(StepRun("load", peak_memory=40 << 20, seconds=1.0, cpu_seconds=0.3))
    assert small is not None
    assert (small.memory, small.cpu) == ("64Mi", "0.3")
    assert not is_worth_telling(small)
    assert proposal(StepRun("known", cached=True)) is None
