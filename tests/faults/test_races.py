"""Two at once: runs of one notebook, resumes of one run, commands for one run. One of each wins, none is mixed."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from nbkube.client import Client
from nbkube.engines.detached import locked
from nbkube.errors import RunError
from nbkube.runs import Phase, RunStore
from nbkube.storage import LocalStore
from tests.faults.project import Project, answer, kill, sized

pytestmark = [pytest.mark.faults, pytest.mark.timeout(sized(300, 600, 7200))]

PAIRS = sized(4, 50, 200)
SPAWN = multiprocessing.get_context("spawn")


def together(work: Callable[..., None], count: int, *arguments: object) -> None:
    """Call a function in so many processes at the same moment; each gets the barrier and its number first."""
    barrier = SPAWN.Barrier(count)
    processes = [SPAWN.Process(target=work, args=(barrier, number, *arguments)) for number in range(count)]
    for one in processes:
        one.start()
    for one in processes:
        one.join(sized(240, 500, 7000))
    assert [one.exitcode for one in processes] == [0] * count


def run_all(barrier: Barrier, number: int, notebook: Path, salts: list[int], told: Path) -> None:
    for salt in salts:
        barrier.wait(120)
        state = Client(notebook.parent).run(notebook, parameters={"salt": salt})
        (told / f"{salt}-{number}").write_text(f"{state.phase.value} {state.metrics.get('answer')}")


def test_pairs_of_runs_of_one_notebook(tmp_path: Path) -> None:
    project = Project(tmp_path)
    told = tmp_path / "told"
    told.mkdir()
    salts = list(range(1, PAIRS + 1))
    together(run_all, 2, project.notebook, salts, told)
    for salt in salts:
        assert {(told / f"{salt}-{number}").read_text() for number in (0, 1)} == {f"Succeeded {answer(salt)}"}
    results = project.committed()
    steps = Counter(project.steps_of(results))
    assert steps == dict.fromkeys(("first", "second", "third", "last"), PAIRS), "one result for each step of each pair"
    assert len(project.client.runs()) == 2 * PAIRS
    # Both runs of a pair ended with the very same results.
    pairs: dict[int, set[tuple[str, ...]]] = {}
    for state in project.client.runs():
        made = tuple(step.manifest for step in state.steps)
        pairs.setdefault(state.run.parameters["salt"], set()).add(made)
    assert all(len(made) == 1 for made in pairs.values())


def resume(barrier: Barrier, number: int, folder: Path, run: str) -> None:
    client = Client(folder)
    barrier.wait(120)
    client.resume(run)


def test_resumes_at_once_have_one_process(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for salt in range(1, sized(3, 5, 25)):
        run = project.submit(salt)
        time.sleep(0.3)
        kill(project.supervisor(run))
        project.end(run)
        together(resume, 2, project.folder, run)
        assert project.end(run).phase is Phase.SUCCEEDED
        project.check(run, salt)
        begun = [event for event in RunStore(project.store).events(run) if event.event == "run-started"]
        assert len(begun) == 2, "the first beginning, and one of the two resumes"


def command(barrier: Barrier, number: int, notebook: Path, what: str) -> None:
    client = Client(notebook.parent)
    if number == 0:
        client.submit(notebook, parameters={"salt": 1})
    barrier.wait(120)
    try:
        getattr(client, what)("last")
    except RunError:
        if client.status("last").phase is not Phase.SUCCEEDED:  # it may have been faster
            raise


@pytest.mark.parametrize("what", ["stop", "pause"])
def test_commands_at_once(tmp_path: Path, what: str) -> None:
    project = Project(tmp_path)
    together(command, 3, project.notebook, what)
    (state,) = project.client.runs()
    if state.phase is not Phase.SUCCEEDED:
        assert state.phase is (Phase.CANCELLED if what == "stop" else Phase.PAUSED)
        project.client.resume(state.id)
    assert project.end(state.id).phase is Phase.SUCCEEDED
    project.check(state.id, 1)


# -- the lock, and the proof that the test would see a missing one ---------------------------------------------------


def contend(barrier: Barrier, number: int, work: Path, shared: bool, seconds: float) -> None:
    """Enter the lock again and again; note each entry and leaving in one file."""
    name = "run" if shared else f"run-{number}"
    diary = os.open(work / "diary", os.O_WRONLY | os.O_APPEND)
    barrier.wait(120)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with locked(work, name) as mine:
            if mine:
                os.write(diary, b"+")
                time.sleep(0.0005)
                os.write(diary, b"-")


@pytest.mark.parametrize("shared", [True, False])
def test_a_lock_has_one_holder(tmp_path: Path, shared: bool) -> None:
    (tmp_path / "diary").touch()
    together(contend, 3, tmp_path, shared, 5.0)
    diary = (tmp_path / "diary").read_text()
    assert len(diary) > 100
    # Without a common lock the entries overlap, and this very look at the diary shows it.
    assert ("++" not in diary) is shared


def create(barrier: Barrier, number: int, folder: Path, count: int, create_only: bool) -> None:
    store = LocalStore(folder / "store")
    barrier.wait(120)
    for at in range(count):
        name, data = f"steps/{at}/proof.json", str(number).encode()
        if create_only:
            store.create(name, data)
        else:
            store.write(name, data)
        (folder / f"{at}-{number}").write_bytes(store.read(name) or b"")


def create_together(barrier: Barrier, number: int, folder: Path, threads: int) -> None:
    store = LocalStore(folder / "store")
    barrier.wait(120)
    with ThreadPoolExecutor(threads) as pool:
        writers = [f"{number}-{one}".encode() for one in range(threads)]
        won = sum(pool.map(lambda data: store.create("steps/one/proof.json", data), writers))
    (folder / f"won-{number}").write_text(f"{won} {(store.read('steps/one/proof.json') or b'').decode()}")


def test_two_hundred_writers_of_one_key(tmp_path: Path) -> None:
    together(create_together, 4, tmp_path, 50)
    told = [(tmp_path / f"won-{number}").read_text().split() for number in range(4)]
    assert sum(int(won) for won, _ in told) == 1
    assert len({data for _, data in told}) == 1
    (winner,) = [number for number, (won, _) in enumerate(told) if won == "1"]
    assert told[0][1].startswith(f"{winner}-")


@pytest.mark.parametrize("create_only", [True, False])
def test_writers_of_one_key_all_see_one_result(tmp_path: Path, create_only: bool) -> None:
    count = sized(60, 200, 1000)
    together(create, 3, tmp_path, count, create_only)
    seen = [{(tmp_path / f"{at}-{number}").read_bytes() for number in range(3)} for at in range(count)]
    # Without create-only commits some of them see one result and some another.
    assert all(len(one) == 1 for one in seen) is create_only
