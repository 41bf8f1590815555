"""Runs are kept as a frozen submission and events; what is shown is always worked out from these."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from nbkube.errors import NotFoundError, RunError, StorageError
from nbkube.runs import Live, Phase, Process, Recorder, Run, RunEvent, RunStore, RunUnit, Seen, new_run_id
from nbkube.runs.process import is_alive, this_process
from nbkube.storage import LocalStore


def make_run(run_id: str = "", **values: Any) -> Run:
    units = tuple(RunUnit(name) for name in ("setup", "train", "test"))
    return Run(run_id or new_run_id(), time.time(), "nb.ipynb", **{"units": units, **values})


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def runs(store: LocalStore) -> RunStore:
    return RunStore(store)


def tell(recorder: Recorder, step: str, *events: str | dict[str, Any]) -> None:
    for event in events:
        recorder({"step": step, **({"event": event} if isinstance(event, str) else event)})


DONE = {"event": "step-ended", "phase": "Succeeded", "seconds": 2.5, "manifest": "steps/k/p.json", "peak_memory": 70}


# ids


def test_ids_sort_by_time_and_are_unique() -> None:
    ids = [new_run_id() for _ in range(3000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 3000
    assert all(re.fullmatch(r"\d{8}-\d{6}-[a-z0-9]{6}", one) for one in ids)


def test_an_id_begins_with_its_time_in_utc() -> None:
    future = time.time() + 10_000_000
    assert new_run_id(future).startswith(time.strftime("%Y%m%d-%H%M%S", time.gmtime(future)))


# recording and replaying


def test_a_submission_is_frozen(runs: RunStore) -> None:
    run = make_run(parameters={"n": 3, "path": "a/ü"}, experiment="e")
    runs.create(run)
    assert runs.run(run.id) == run
    with pytest.raises(RunError, match=run.id):
        runs.create(msgspec.structs.replace(run, notebook="other.ipynb"))
    assert runs.run(run.id) == run


def test_a_run_from_start_to_end(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    assert runs.load(run.id).phase == "Pending"
    recorder.start()
    assert runs.load(run.id).phase is Phase.RUNNING
    tell(recorder, "setup", {"event": "step-ended", "phase": "Cached", "cached": True, "manifest": "steps/a/b.json"})
    tell(recorder, "train", "started", {"event": "cell", "cell": 3, "state": "started"})
    state = runs.load(run.id)
    train = state.step("train")
    assert train is not None
    assert (train.phase, train.cell, train.attempts) == (Phase.RUNNING, 3, 1)
    tell(
        recorder,
        "train",
        {"event": "cell", "cell": 3, "state": "finished", "seconds": 1.5},
        {"event": "memory", "bytes": 100},
        {"event": "memory", "bytes": 102},
        {"event": "memory", "bytes": 90},
        DONE,
    )
    tell(recorder, "test", "started", DONE)
    recorder({"event": "run-ended", "phase": "Succeeded", "metrics": {"accuracy": 0.5}, "reason": ""})
    state = runs.load(run.id)
    assert state.phase is Phase.SUCCEEDED
    assert state.metrics == {"accuracy": 0.5}
    assert [step.phase for step in state.steps] == [Phase.CACHED, Phase.SUCCEEDED, Phase.SUCCEEDED]
    train = state.step("train")
    assert train is not None
    assert train.cells_done == (3,)
    assert train.seconds == 2.5
    assert train.peak_memory == 100
    assert state.peak_memory == 100
    assert state.seconds > 0
    assert recorder.fault is None


def test_a_failure_is_kept_as_a_whole(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    failure = {"kind": "error", "message": "ZeroDivisionError: division by zero", "cell": 7, "traceback": "…"}
    tell(recorder, "train", "started", {"event": "step-ended", "phase": "Failed", "failure": failure})
    recorder({"event": "run-ended", "phase": "Failed", "metrics": {}, "reason": ""})
    state = runs.load(run.id)
    train = state.step("train")
    assert train is not None
    assert train.failure is not None
    assert train.failure.cell == train.cell == 7
    assert train.reason == "ZeroDivisionError: division by zero"
    test = state.step("test")
    assert test is not None
    assert (test.phase, test.reason) == (Phase.SKIPPED, "an earlier step failed")


def test_a_step_that_ran_too_early_runs_again(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "test", "started", DONE, {"event": "again", "reason": "x has another value now"})
    test = runs.load(run.id).step("test")
    assert test is not None
    assert (test.phase, test.reason, test.manifest, test.attempts) == (Phase.PENDING, "x has another value now", "", 1)
    tell(recorder, "test", "started", {**DONE, "seconds": 9.0})
    test = runs.load(run.id).step("test")
    assert test is not None
    assert (test.phase, test.seconds, test.attempts) == (Phase.SUCCEEDED, 9.0, 2)


def test_a_retry_is_a_new_attempt(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "train", "started", {"event": "retry", "reason": "killed", "seconds": 1.0}, "started", DONE)
    train = runs.load(run.id).step("train")
    assert train is not None
    assert (train.phase, train.attempts) == (Phase.SUCCEEDED, 2)


def test_fused_steps_know_each_other(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    tell(recorder, "setup", {"event": "fused", "with": ["train"], "reason": "g is a generator"})
    state = runs.load(run.id)
    assert [step.fused for step in state.steps] == [("train",), ("setup",), ()]


def test_late_and_doubled_events_do_not_unfinish(runs: RunStore, store: LocalStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "train", "started", {"event": "retry", "reason": "killed"}, "started", DONE)
    late = [
        RunEvent("started", step="train", attempt=1),
        RunEvent("started", step="train", attempt=2),
        RunEvent("retry", step="train", attempt=1, reason="late"),
        RunEvent("step-ended", step="train", attempt=1, phase=Phase.FAILED),
        RunEvent("step-ended", step="train", attempt=2, phase=Phase.FAILED),
        RunEvent("cell", step="train", attempt=2, cell=1, state="started"),
        RunEvent("started", step="no such step", attempt=1),
    ]
    for event in late:
        runs.append(run.id, event)
    train = runs.load(run.id).step("train")
    assert train is not None
    assert (train.phase, train.cell, train.attempts) == (Phase.SUCCEEDED, None, 2)


def test_pausing(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    recorder({"event": "run-paused", "reason": "by you"})
    assert runs.load(run.id).phase is Phase.PAUSED
    recorder({"event": "run-resumed"})
    assert runs.load(run.id).phase is Phase.RUNNING


def test_a_cancelled_run(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "setup", DONE)
    tell(recorder, "train", "started")
    recorder({"event": "run-ended", "phase": "Cancelled", "metrics": {}, "reason": ""})
    assert [step.phase for step in runs.load(run.id).steps] == [Phase.SUCCEEDED, Phase.CANCELLED, Phase.SKIPPED]


def test_an_event_that_cannot_be_kept_does_not_stop_the_run(runs: RunStore, store: LocalStore) -> None:
    recorder = runs.create(make_run())
    recorder({"event": "step-ended", "step": "train", "phase": "Exploded"})
    assert isinstance(recorder.fault, StorageError)


# lost processes

LOSE = """
import os, sys, time
from nbkube.runs import RunStore, Run, RunUnit
from nbkube.storage import LocalStore
runs = RunStore(LocalStore(sys.argv[1]))
units = (RunUnit("train"), RunUnit("test"))
recorder = runs.create(Run("20260101-000000-aaaaaa", time.time(), "nb.ipynb", units=units))
recorder.start()
recorder({"event": "started", "step": "train"})
recorder({"event": "log", "step": "train", "stream": "stdout", "text": "epoch 1\\n", "cell": 2})
print("ready", flush=True)
number = 0
while True:
    recorder({"event": "cell", "step": "train", "cell": number, "state": "finished"})
    number += 1
"""


def test_a_killed_run_is_never_shown_as_running(runs: RunStore, store: LocalStore) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", LOSE, str(store.path)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.1)
        assert runs.load("20260101-000000-aaaaaa").phase is Phase.RUNNING
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    state = runs.load("20260101-000000-aaaaaa")
    assert state.phase is Phase.UNKNOWN
    assert state.reason.startswith("interrupted: its process is gone")
    train = state.step("train")
    assert train is not None
    assert train.phase is Phase.UNKNOWN
    assert train.cells_done == tuple(range(len(train.cells_done)))
    assert len(train.cells_done) > 3
    assert [one.text for one in runs.live(state.id, "train")] == ["epoch 1\n"]


def test_an_interrupted_run_can_go_on(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    dead = msgspec.structs.replace(this_process(), start="1")
    runs.append(run.id, RunEvent("run-started", process=dead))
    tell(recorder, "train", "started")
    assert runs.load(run.id).phase is Phase.UNKNOWN
    again = runs.recorder(run.id)
    again.start()
    tell(again, "train", "started", DONE)
    state = runs.load(run.id)
    assert state.phase is Phase.RUNNING
    train = state.step("train")
    assert train is not None
    assert train.attempts == 2


def test_processes_are_told_apart() -> None:
    me = this_process()
    assert is_alive(me) is True
    assert is_alive(msgspec.structs.replace(me, start="1")) is False
    assert is_alive(msgspec.structs.replace(me, boot="another")) is False
    assert is_alive(msgspec.structs.replace(me, host="elsewhere")) is None
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    status = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    known = Process(child.pid, status[19], me.boot, me.host)
    assert is_alive(known) is True
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie: it does nothing any more
    assert is_alive(known) is False
    child.communicate()


def test_a_run_on_another_machine_is_unknown_only_after_silence(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    elsewhere = Process(1, "1", "boot", "gpu-box/pid:[1]")
    runs.append(run.id, RunEvent("run-started", time.time(), process=elsewhere))
    assert runs.load(run.id).phase is Phase.RUNNING
    old = make_run()
    runs.create(old)
    runs.append(old.id, RunEvent("run-started", time.time() - 1000, process=elsewhere))
    state = runs.load(old.id)
    assert state.phase is Phase.UNKNOWN
    assert "no news from gpu-box" in state.reason
    assert recorder.fault is None


def test_a_run_that_never_started(runs: RunStore) -> None:
    run = msgspec.structs.replace(make_run(), created=time.time() - 1000)
    runs.create(run)
    assert runs.load(run.id).phase is Phase.UNKNOWN


# torn files


@pytest.mark.parametrize("cut", [2, 5, 40])
def test_a_torn_last_line_is_left_out(runs: RunStore, store: LocalStore, cut: int) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "train", "started", DONE)
    (name,) = store.list(f"runs/{run.id}/events/")
    path = store.path / name
    path.write_bytes(path.read_bytes()[:-cut])
    train = runs.load(run.id).step("train")
    assert train is not None
    assert train.phase is Phase.RUNNING
    assert len(runs.events(run.id)) == 2


def test_rubbish_in_the_events_is_left_out(runs: RunStore, store: LocalStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    store.write(
        f"runs/{run.id}/events/other.jsonl", b'\xff\xfe\n{"event": 3}\n[]\n\n{"event":"future","time":1,"new":2}\n'
    )
    assert runs.load(run.id).phase is Phase.RUNNING


def test_a_full_disk_does_not_stop_the_run_and_later_lines_count(
    runs: RunStore, store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    real = os.write

    def half(handle: int, data: Any) -> int:
        if len(data) > 10:
            return real(handle, bytes(data)[:10])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        tell(recorder, "train", "started")
    assert recorder.fault is not None
    assert str(recorder.fault).startswith("disk full:")
    tell(recorder, "train", "started", DONE)
    train = runs.load(run.id).step("train")
    assert train is not None
    assert train.phase is Phase.SUCCEEDED


# looking


def test_the_newest_run_comes_first_and_filters_hold(runs: RunStore) -> None:
    for number in range(6):
        recorder = runs.create(make_run(experiment="ab"[number % 2], name=str(number)))
        recorder.start()
        if number < 3:
            recorder({"event": "run-ended", "phase": "Succeeded"})
    names = [state.run.name for state in runs.list()]
    assert names == ["5", "4", "3", "2", "1", "0"]
    assert [state.run.name for state in runs.list(experiment="a")] == ["4", "2", "0"]
    assert [state.run.name for state in runs.list(phase=Phase.SUCCEEDED)] == ["2", "1", "0"]
    assert [state.run.name for state in runs.list(limit=2)] == ["5", "4"]
    assert runs.list(notebook="other.ipynb") == []


def test_a_run_is_found_by_a_part_of_its_id(runs: RunStore) -> None:
    with pytest.raises(NotFoundError, match="no run 'last'"):
        runs.resolve("last")
    for run_id in ("20260101-000000-aaaaaa", "20260101-000001-bbbbbb", "20260202-000000-cccccc"):
        runs.create(make_run(run_id))
    assert runs.resolve("last") == "20260202-000000-cccccc"
    assert runs.resolve("bbb") == "20260101-000001-bbbbbb"
    assert runs.resolve("202602") == "20260202-000000-cccccc"
    with pytest.raises(NotFoundError, match="fits 2 runs"):
        runs.resolve("202601")
    for text in ("zzz", "", "../.."):
        with pytest.raises(NotFoundError, match="there is no run|fits"):
            runs.resolve(text)
    with pytest.raises(NotFoundError, match="no run nothing"):
        runs.load("nothing")


def test_removing_a_run(runs: RunStore, store: LocalStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "train", {"event": "log", "stream": "stdout", "text": "x"})
    with pytest.raises(RunError, match="going on"):
        runs.remove(run.id)
    recorder({"event": "run-ended", "phase": "Cancelled"})
    runs.remove(run.id)
    assert runs.list() == []
    assert list(store.list("runs/")) == []


def test_a_broken_record_is_not_in_the_way(runs: RunStore, store: LocalStore) -> None:
    runs.create(make_run(name="good"))
    store.create("runs/99999999-000000-aaaaaa/run.json", b"{")
    store.create("runs/99999999-000000-bbbbbb/other", b"")
    assert [state.run.name for state in runs.list()] == ["good"]
    with pytest.raises(StorageError, match="cannot be read"):
        runs.run("99999999-000000-aaaaaa")


def test_what_a_step_shows_can_be_read_live(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    recorder.start()
    tell(recorder, "train", "started", {"event": "log", "stream": "stderr", "text": "first try", "cell": 1})
    tell(recorder, "train", {"event": "retry", "reason": "killed"}, "started")
    output = {"output_type": "display_data", "data": {"text/plain": "é"}, "metadata": {}}
    seen: list[Seen] = []
    follower = threading.Thread(target=lambda: seen.extend(runs.watch(run.id)))
    follower.start()
    for number in range(5):
        tell(recorder, "train", {"event": "log", "stream": "stdout", "text": f"epoch {number}\n", "cell": 2})
    tell(recorder, "train", {"event": "output", "cell": 2, "output": output}, {"event": "clear", "wait": True}, DONE)
    recorder({"event": "run-ended", "phase": "Succeeded", "metrics": {}, "reason": ""})
    follower.join(30)
    assert not follower.is_alive()
    shown = [one for one in seen if isinstance(one, Live)]
    assert [one.text for one in shown if one.event == "log"] == ["first try", *(f"epoch {n}\n" for n in range(5))]
    assert [one.output for one in shown if one.event == "output"] == [output]
    assert {one.step for one in shown} == {"train"}
    assert [one.event for one in seen if isinstance(one, RunEvent)] == [
        "run-started", "started", "retry", "started", "step-ended", "run-ended",
    ]  # fmt: skip
    assert seen.index(shown[-1]) < len(seen) - 2, "what a step shows comes before its end"
    assert list(runs.watch(run.id)) == seen
    assert not any(isinstance(one, Live) for one in runs.watch(run.id, live=False))
    assert [one.text for one in runs.live(run.id, "train")][:2] == ["epoch 0\n", "epoch 1\n"]
    assert [one.text for one in runs.live(run.id, "train", attempt=1)] == ["first try"]
    assert runs.live(run.id, "test") == []


def test_watching_ends_when_the_run_is_lost_and_goes_on_with_one_that_is_resumed(runs: RunStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    alive = this_process()
    gone.wait()
    runs.append(run.id, RunEvent("run-started", process=msgspec.structs.replace(alive, pid=gone.pid)))
    assert [one.event for one in runs.watch(run.id)] == ["run-started"]
    runs.append(run.id, RunEvent("run-ended", phase=Phase.FAILED))
    recorder.start()
    watching = runs.watch(run.id)
    assert [next(watching).event for _ in range(3)] == ["run-started", "run-ended", "run-started"]
    recorder({"event": "run-ended", "phase": "Succeeded"})
    assert [one.event for one in watching] == ["run-ended"]


def test_a_damaged_line_is_left_out(runs: RunStore, store: LocalStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    tell(recorder, "setup", "started")
    tell(recorder, "train", "started")
    (name,) = store.list(f"runs/{run.id}/events/")
    path = store.path / name
    path.write_bytes(path.read_bytes().replace(b'"step":"setup"', b'"step":"test_"'))
    assert [event.step for event in runs.events(run.id)] == ["train"]


def test_events_are_plain_json_lines(runs: RunStore, store: LocalStore) -> None:
    run = make_run()
    recorder = runs.create(run)
    tell(recorder, "setup", {"event": "fused", "with": ["train"], "reason": "r"})
    (name,) = store.list(f"runs/{run.id}/events/")
    (line,) = (store.read(name) or b"").splitlines()
    event = json.loads(line)
    assert event["event"] == "fused"
    assert event["with"] == ["train"]


def test_many_threads_may_tell(runs: RunStore) -> None:
    run = make_run(units=tuple(RunUnit(f"s{number}") for number in range(8)))
    recorder = runs.create(run)

    def work(name: str) -> None:
        tell(recorder, name, "started", *({"event": "cell", "cell": n, "state": "finished"} for n in range(50)), DONE)

    threads = [threading.Thread(target=work, args=(unit.name,)) for unit in run.units]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    state = runs.load(run.id)
    assert all(len(step.cells_done) == 50 and step.phase is Phase.SUCCEEDED for step in state.steps)
