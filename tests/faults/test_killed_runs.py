"""SIGKILL of steps, of the process that has the run, and of commands, at random moments.

A run that was interrupted is resumed, and killed again, until it has ended; then the next one begins. What was
finished at a kill never runs again, nothing half-made is ever used, and every run computes the right thing.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nbkube.engines.detached import clean_work
from nbkube.runs import Phase
from tests.faults.project import Project, children, kill, last_line, sized, wait_until_gone

pytestmark = [pytest.mark.faults, pytest.mark.timeout(sized(300, 600, 7200))]

KILLS = sized(10, 35, 350)
KILLS_IN_COMMITS = sized(10, 30, 300)


class Ordeal:
    """One project, run after run, with a count of how often something was killed."""

    def __init__(self, folder: Path, seed: str) -> None:
        self.project = Project(folder)
        self.chance = random.Random(seed)
        self.salt = 0
        self.kills = 0
        self.run = ""
        self.late: set[str] = set()
        """Runs whose process was killed between its last word and its tidying up: what they leave goes after days."""

    def begin(self) -> None:
        """Have a run going: the one that was interrupted, or a new one."""
        if self.run and self.project.client.status(self.run).phase is Phase.SUCCEEDED:
            self.project.check(self.run, self.salt, self.late)
            self.run = ""
        if self.run:
            self.project.client.resume(self.run)
        else:
            self.salt += 1
            self.run = self.project.submit(self.salt)

    def killed(self, victims: list[int], family: list[int]) -> None:
        """Kill, wait for the end of everything, and hold that what is finished from now on stays so."""
        for pid in victims:
            kill(pid)
        self.kills += 1
        if self.project.end(self.run).phase is Phase.SUCCEEDED:
            self.late.add(self.run)
        wait_until_gone(family)

    def finish(self) -> None:
        """Let the last run come to its end; no step has been run again after it was finished."""
        before = len(self.project.traced())
        kept = self.project.steps_of(self.project.committed())
        self.begin()
        self.project.end(self.run)
        self.project.check(self.run, self.salt, self.late)
        done = self.project.steps_of(self.project.committed())
        assert len(done) == 4 * self.salt, "each step of each run has one result"
        assert len(self.project.traced()) - before == len(done) - len(kept)


@pytest.mark.parametrize("victim", ["supervisor", "step"])
def test_killed_at_random_moments(tmp_path: Path, victim: str) -> None:
    ordeal = Ordeal(tmp_path, victim)
    while ordeal.kills < KILLS:
        before, kept = ordeal.project.traced(), ordeal.project.committed()
        ordeal.begin()
        time.sleep(ordeal.chance.uniform(0.0, 1.5))
        supervisor = ordeal.project.supervisor(ordeal.run)
        family = children(supervisor)
        victims = [supervisor] if victim == "supervisor" else family and [ordeal.chance.choice(family)]
        ordeal.killed(victims, [supervisor, *family])
        assert_nothing_again(ordeal.project, kept, before)
    ordeal.finish()


@pytest.mark.parametrize("steps_too", [False, True])
def test_killed_inside_a_commit(tmp_path: Path, steps_too: bool) -> None:
    ordeal = Ordeal(tmp_path, f"commit {steps_too}")
    while ordeal.kills < KILLS_IN_COMMITS // 2:
        before, kept = ordeal.project.traced(), ordeal.project.committed()
        ordeal.begin()
        supervisor = ordeal.project.supervisor(ordeal.run)
        wait_for_writing(ordeal.project, ordeal.chance.randint(1, 6))
        family = children(supervisor)
        ordeal.killed([supervisor, *family] if steps_too else [supervisor], [supervisor, *family])
        assert_nothing_again(ordeal.project, kept, before)
    ordeal.finish()


def wait_for_writing(project: Project, times: int) -> None:
    """Wait until the store has been written to so many times, and return while it is."""
    deadline = time.monotonic() + 5
    for _ in range(times):
        while not project.writing() and time.monotonic() < deadline:
            time.sleep(0.0002)
        if _ < times - 1:
            while project.writing() and time.monotonic() < deadline:
                time.sleep(0.0002)


def assert_nothing_again(project: Project, kept: set[str], before: list[str]) -> None:
    """Every result is there still; a step of this run was traced only if it had none."""
    now = project.committed()
    assert kept <= now
    again = project.traced()[len(before) :]
    finished = project.steps_of(kept)
    runs = finished.count("last")  # runs that came to their end: their steps are all finished
    current = [step for step in finished if finished.count(step) > runs]
    assert not set(current).intersection(again), f"finished steps ran again: {set(current).intersection(again)}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_run_does_not_need_the_command_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    project = Project(tmp_path)
    chance = random.Random(number)
    for salt in range(1, sized(2, 4, 12)):
        command = project.command("run", str(project.notebook), "-p", f"salt={salt}", "--json")
        assert command.stdout is not None
        run = last_line(command.stdout.readline())["run"]
        time.sleep(chance.uniform(0.0, 0.3))
        command.send_signal(number)
        command.communicate(timeout=20)
        assert command.returncode in (-number, 0), "ended by the signal, unless the run was faster"
        assert project.end(run).phase is Phase.SUCCEEDED
        project.check(run, salt)
        assert project.traced().count("last") == salt


def test_a_kill_before_the_run_has_begun_leaves_no_process(tmp_path: Path) -> None:
    project = Project(tmp_path)
    chance = random.Random(3)
    for salt in range(1, sized(5, 8, 30)):
        command = project.command("run", str(project.notebook), "-p", f"salt={salt}", "--json")
        # Begin to count from where the process is started, or from where the run is recorded.
        sign = ("work/*.log", "runs/*/run.json")[salt % 2]
        before, deadline = set(project.store.path.glob(sign)), time.monotonic() + 60
        while set(project.store.path.glob(sign)) <= before and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.1))
        command.kill()
        command.communicate(timeout=20)
        for state in project.client.runs(limit=1):
            project.end(state.id) if state.process else None
    for state in project.client.runs():
        # Recorded, and perhaps begun: if so it goes on, else it can be.
        if project.client.status(state.id).process is None:
            project.client.resume(state.id)
        assert project.end(state.id).phase is Phase.SUCCEEDED
        project.check_result(state.id, state.run.parameters["salt"])
    recorded = {state.id for state in project.client.runs()}
    assert recorded
    # What was killed before its run was recorded has left files that later runs remove in time; no other has.
    wait_until_gone([state.process.pid for state in project.client.runs() if state.process])
    assert not {name.partition(".")[0] for name in project.leftovers()} & recorded
    clean_work(project.work, older_than=0.0)
    assert project.leftovers() == []


def test_a_result_that_was_lost_would_be_seen(tmp_path: Path) -> None:
    """The look at what ran again, where a finished result of an interrupted run is not kept."""
    project = Project(tmp_path)
    project.end(project.submit(1))
    for lost in ("last", "second"):
        kept, before = project.committed(), project.traced()
        (name,) = [one for one in kept if lost in project.steps_of({one})]
        project.store.remove(name)
    project.end(project.submit(1))
    assert project.traced()[len(before) :] == ["second", "last"]
    with pytest.raises(AssertionError, match="ran again"):
        assert_nothing_again(project, kept, before)


def test_what_is_looked_for_would_be_found() -> None:
    """A child that nothing ends outlives its parent, and `wait_until_gone` says so."""
    code = "import subprocess, time\nprint(subprocess.Popen(['sleep', '30'], stdout=2).pid, flush=True)\ntime.sleep(30)"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.communicate()
    with pytest.raises(pytest.fail.Exception, match="outlived"):
        wait_until_gone([child], 0.5)
    kill(child)
