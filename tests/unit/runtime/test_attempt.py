"""A step's processes: time-outs, kills, leftovers, the parent's death, many at once, where the step runs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from nbkube.errors import StateError
from nbkube.runtime.attempt import Attempt, Executed
from nbkube.runtime.program import Failure, StepProgram, StepTask
from nbkube.state.snapshot import snapshot
from tests.unit.runtime.trial import Trial

# A cell that leaves a child, a grandchild in a session of its own, and a daemon nobody is the parent of.
FAMILY = """
import os, subprocess, time
subprocess.Popen(["sleep", "{0}"])
subprocess.Popen(["sh", "-c", "setsid sleep {0} & exec sleep {0}"])
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{0}"])
    os._exit(0)
os.wait()
time.sleep(0.3)
print("ready", flush=True)
"""


def sleepers(seconds: str) -> list[int]:
    """Processes that run `sleep` with this very argument."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if words[:2] == [b"sleep", seconds.encode()]:
                found.append(int(name))
    return found


def wait_for(condition: object, seconds: float = 20.0) -> None:
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def in_thread(attempt: Attempt) -> tuple[threading.Thread, list[Executed]]:
    got: list[Executed] = []
    thread = threading.Thread(target=lambda: got.append(attempt.execute(60)))
    thread.start()
    return thread, got


def test_cancel_ends_every_process_of_the_step(trial: Trial) -> None:
    attempt = trial.attempt(trial.program(FAMILY.format("1001.5") + "time.sleep(1001)"))
    thread, got = in_thread(attempt)
    wait_for(lambda: any(event.get("text") == "ready\n" for event in trial.events))
    assert len(sleepers("1001.5")) == 4
    attempt.cancel()
    thread.join(10)
    assert sleepers("1001.5") == []
    assert got[0].failure is not None
    assert got[0].failure.kind == "cancelled"
    finished = attempt.finish()
    assert finished.result.failure == got[0].failure
    assert "ready" in trial.store.get(finished.log).decode()


def test_a_step_that_ignores_signals_is_killed(trial: Trial) -> None:
    cell = "import signal, time\nfor n in (15, 2, 1):\n    signal.signal(n, signal.SIG_IGN)\ntime.sleep(1000)"
    started = time.monotonic()
    done = trial.run(cell, timeout=3)
    assert (done.failure.kind, done.failure.cell, done.failure.exit_code) == ("timeout", 1, 124)
    assert "3 seconds" in done.failure.message
    assert time.monotonic() - started < 40
    assert done.finished.result.failure == done.failure


def test_cancelled_before_it_starts(trial: Trial) -> None:
    attempt = trial.attempt(trial.program("1"))
    attempt.cancel(Failure("cancelled", "never mind"))
    executed = attempt.execute()
    assert executed.failure is not None
    assert executed.failure.message == "never mind"
    assert attempt.finish().result.failure == executed.failure
    assert trial.events == []


def test_nothing_survives_a_killed_parent(trial: Trial) -> None:
    script = f"""
        import sys
        from pathlib import Path
        from tests.unit.runtime.trial import Trial
        trial = Trial(Path({str(trial.folder / "inner")!r}))
        trial.run({FAMILY.format("1002.5") + "time.sleep(1002.5)"!r})
    """
    (trial.folder / "inner").mkdir()
    temporary = trial.folder / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], env=environment) as parent:
        wait_for(lambda: len(sleepers("1002.5")) == 4)
        parent.kill()
    wait_for(lambda: sleepers("1002.5") == [])
    wait_for(lambda: not _commands_with(str(trial.folder / "inner")))
    wait_for(lambda: list(temporary.iterdir()) == [])


def _commands_with(text: str) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                environment = Path("/proc", name, "cmdline").read_bytes()
            except OSError:
                continue
            if text.encode() in environment:
                found.append(name)
    return found


def test_nothing_survives_a_killed_watcher(trial: Trial) -> None:
    cell = FAMILY.format("1003.5") + "os.kill(os.getppid(), 9)\ntime.sleep(1003)"
    done = trial.run(cell)
    assert done.failure.kind == "killed"
    # What had left the session can only be found while its ancestors live; the rest must be gone.
    left = sleepers("1003.5")
    for process in left:
        os.kill(process, signal.SIGKILL)
    assert len(left) <= 2


@pytest.mark.parametrize(
    ("code", "kind", "exit_code", "words"),
    [
        ("import os; os.kill(os.getpid(), 9)", "killed", 137, "SIGKILL"),
        ("import os; os.kill(os.getpid(), 15)", "killed", 143, "SIGTERM"),
        ("import ctypes; ctypes.string_at(1)", "killed", 139, "SIGSEGV"),
        ("import os; os._exit(0)", "exit", 1, "status 0"),
        ("import os; os._exit(75)", "exit", 1, "status 75"),
    ],
)
def test_a_dead_process_never_looks_done(trial: Trial, code: str, kind: str, exit_code: int, words: str) -> None:
    done = trial.run("print('first')", code)
    assert (done.failure.kind, done.failure.exit_code, done.failure.cell) == (kind, exit_code, 2)
    assert words in done.failure.message
    assert done.text(1) == "first\n"
    assert done.finished.result.outputs == {}


def test_background_processes_may_finish_their_work(trial: Trial) -> None:
    done = trial.good(
        "import subprocess\nsubprocess.Popen('sleep 0.7; echo late > late.txt; echo printed', shell=True)"
    )
    assert [entry.path for entry in done.finished.diff.changed] == ["late.txt"]
    assert "printed" in done.text(1)


def test_background_processes_that_stay_are_ended_with_a_warning(trial: Trial) -> None:
    done = trial.good(FAMILY.format("1004.5"), settle=0.3)
    assert sleepers("1004.5") == []
    assert "sleep 1004.5" in done.log
    assert "still running at the end" in done.log
    assert any(event["event"] == "log" and "still running" in event["text"] for event in done.events)


def test_files_are_taken_after_everything_has_come_to_its_end(trial: Trial) -> None:
    (trial.project / "keeper.py").write_text("log = open('module.txt', 'w')\nlog.write('of a module')\n")
    done = trial.good(
        "import atexit, threading, time, weakref, zipfile, keeper\n"
        "log = open('open.txt', 'w')\nlog.write('never closed')\nkept = [open('raw.bin', 'wb')]\nkept[0].write(b'x')\n"
        "kept.append(kept)\n"
        "atexit.register(lambda: open('exit.txt', 'w').write(log.name))\n"
        "class Late:\n    def __del__(self):\n        open('deleted.txt', 'w').write('z')\n"
        "late = [Late()]\nlate.append(late)\n"
        "archive = zipfile.ZipFile('a.zip', 'w')\narchive.writestr('inner', 'text')\n"
        "from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(1)\n"
        "_ = pool.submit(lambda: (time.sleep(0.4), open('pool.txt', 'w').write('p')))\n"
        "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.fopen.restype = ctypes.c_void_p\n"
        "handle = libc.fopen(b'c.txt', b'w')\n"
        "libc.fputs.argtypes = [ctypes.c_char_p, ctypes.c_void_p]\n_ = libc.fputs(b'from C', handle)"
    )
    sizes = {entry.path: entry.size for entry in done.finished.diff.changed}
    assert sizes.pop("a.zip") > 100
    assert sizes == {
        "open.txt": 12, "raw.bin": 1, "exit.txt": 8, "deleted.txt": 1, "pool.txt": 1, "module.txt": 11, "c.txt": 6,
    }  # fmt: skip


def test_the_project_is_seen_at_its_own_path_and_stays_as_it_is(trial: Trial) -> None:
    (trial.project / "data").mkdir()
    (trial.project / "data" / "a.txt").write_text("original")
    done = trial.good(
        "from pathlib import Path\nhere = Path.cwd()\nprint(here)\n(here / 'a.txt').write_text('changed')\n"
        f"print(Path({str(trial.project / 'data' / 'a.txt')!r}).read_text())\n!pwd",
        cwd="data",
    )
    assert done.finished.mounted
    assert done.text(1) == f"{trial.project}/data\nchanged\n{trial.project}/data\n"
    assert (trial.project / "data" / "a.txt").read_text() == "original"
    assert [entry.path for entry in done.finished.diff.changed] == ["data/a.txt"]
    assert sorted(path.name for path in trial.project.iterdir()) == [".nbkube", "data"]


def test_the_store_has_no_second_place_that_a_cell_could_empty(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a bind mount below the folder for temporary files would be."""
    temporary = trial.folder / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    trial.store.put(b"something")
    done = trial.good(f"!rm -rf {temporary}/*\nx = 1", "import glob\nprint(x)")
    assert done.finished.mounted
    assert done.text(2) == "1\n"
    assert trial.store.has(done.finished.result.outputs["x"].blob)
    assert trial.store.get(trial.store.put(b"something")) == b"something"


def test_it_needs_no_right_to_mount(trial: Trial) -> None:
    """A user namespace does where it is allowed; nothing else about the user changes."""
    inner = trial.folder / "inner"
    inner.mkdir()
    script = f"""
        from pathlib import Path
        from tests.unit.runtime.trial import Trial
        trial = Trial(Path({str(inner)!r}))
        done = trial.good("import os; print(os.getcwd(), os.getuid(), os.getgid(), os.stat('/').st_uid)")
        print(done.finished.mounted, done.text(1).strip())
    """
    # As root this takes the right away; a normal user has none.
    command = ["setpriv", "--bounding-set", "-sys_admin"] if os.geteuid() == 0 else []
    command += [sys.executable, "-c", textwrap.dedent(script)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    mounted, path, user, group, owner = ran.stdout.split()
    if mounted == "True":
        assert path == str(inner / "project")
    assert (user, group) == (str(os.getuid()), str(os.getgid()))
    assert owner in ("0", "65534")


def test_it_runs_where_nothing_can_be_mounted(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here because the folder for temporary files lies in the project, which a mount would hide."""
    temporary = trial.project / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    (trial.project / "data.txt").write_text("content")
    done = trial.good("import os\nprint(open('data.txt').read(), os.getcwd())\nopen('new.txt', 'w').close()")
    assert not done.finished.mounted
    assert done.text(1) == f"content {trial.folder}/work1/project\n"
    assert "data.txt" in done.finished.reads.read
    assert [entry.path for entry in done.finished.diff.changed] == ["new.txt"]


def test_a_private_python_environment_in_the_project_stays_reachable(trial: Trial) -> None:
    """The workspace hides the project, and `.venv` is no part of the workspace."""
    venv = trial.project / ".venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    libraries = next(venv.glob("lib/python*/site-packages"))
    own = [path for path in sys.path if path.endswith("site-packages")]
    (libraries / "all.pth").write_text("\n".join([*own, str(Path(__file__).parents[3])]) + "\n")
    (libraries / "only_here.py").write_text("value = 11\n")
    place = trial.folder / "workv"
    task = StepTask(
        trial.program("import only_here, sys\nprint(only_here.value, sys.prefix)\nopen('made.txt', 'w').close()"),
        "v", {}, trial.store.url, str(place), str(trial.project),
    )  # fmt: skip
    attempt = Attempt(
        task, snapshot(trial.project), trial.store, trial.events.append, python=str(venv / "bin" / "python")
    )
    executed = attempt.execute(60)
    assert executed.failure is None, executed.failure
    done = trial.outcome(executed, attempt.finish())
    assert done.text(1) == f"11 {venv}\n"
    assert [entry.path for entry in done.finished.diff.changed] == ["made.txt"]
    assert "only_here" in done.finished.result.modules


def test_units_that_are_fused_share_one_process(trial: Trial) -> None:
    first = trial.program("import os\npid = os.getpid()\ngen = (i for i in range(5))\nnext(gen)\nprint('one')")
    second = StepProgram("second", "d2", trial.program("0", "0", "print(next(gen), pid == os.getpid())").cells[2:])
    attempt = trial.attempt(first)
    assert attempt.execute(60).failure is None
    executed = attempt.extend(second, {}, 60)
    done = trial.outcome(executed, attempt.finish())
    assert done.executed.failure is None
    assert done.text(1) == "one\n"
    assert done.text(2) == "1 True\n"


def test_many_attempts_at_once(trial: Trial) -> None:
    attempts = [trial.attempt(trial.program(f"import time\ntime.sleep(0.2)\nprint({n})\n{n} * 2")) for n in range(4)]
    outcomes: list[str] = []

    def run(attempt: Attempt) -> None:
        assert attempt.execute(60).failure is None
        outcomes.append(trial.store.get(attempt.finish().log).decode())

    threads = [threading.Thread(target=run, args=(attempt,)) for attempt in attempts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(outcomes) == ["0\n", "1\n", "2\n", "3\n"]


def test_a_project_that_changes_meanwhile_is_an_error_and_leaves_nothing(trial: Trial) -> None:
    (trial.project / "a.txt").write_text("old")
    attempt = trial.attempt(trial.program("1"))
    (trial.project / "a.txt").unlink()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StateError):
        attempt.execute(60)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_listener_that_fails_leaves_nothing_running(trial: Trial) -> None:
    def listen(event: dict[str, object]) -> None:
        if event["event"] == "log":
            raise KeyError("listener")

    task = StepTask(
        trial.program(FAMILY.format("1005.5")), "l", {}, trial.store.url, str(trial.folder / "w"), str(trial.project)
    )
    attempt = Attempt(task, snapshot(trial.project), trial.store, listen)
    with pytest.raises(KeyError, match="listener"):
        attempt.execute(60)
    wait_for(lambda: sleepers("1005.5") == [])


def test_an_interpreter_that_cannot_start(trial: Trial) -> None:
    attempt = trial.attempt(trial.program("1"))
    attempt._python = "/bin/false"
    failure = attempt.execute(60).failure
    assert failure is not None
    assert failure.kind == "internal"
    assert attempt.finish().result.failure == failure


def test_time_memory_and_processor_time_are_measured(trial: Trial) -> None:
    done = trial.good(
        "import os, subprocess, sys, time\nblock = bytearray(80_000_000)\n"
        "subprocess.run([sys.executable, '-c', 'sum(range(10_000_000)); bytearray(120_000_000)'])\n"
        "del block\ntime.sleep(0.6)"
    )
    assert done.finished.result.peak_memory > 120_000_000
    assert 0.2 < done.finished.result.cpu_seconds < 20
    assert done.finished.seconds > 0.6
    cells = [event for event in done.events if event["event"] == "cell"]
    assert [event["state"] for event in cells] == ["started", "finished"]
    assert cells[1]["seconds"] >= 0.6
    assert any(event["event"] == "memory" and event["bytes"] > 20_000_000 for event in done.events)


def test_the_environment_of_the_step(trial: Trial) -> None:
    done = trial.good(
        "import os, sys, tempfile\nprint(os.environ['CHOSEN'], sys.flags.hash_randomization, hash('x') != 0)\n"
        "print(sys.path[0] == '', os.getsid(0) == os.getpid())\nprint(sorted({'b', 'a', 'c'}, key=hash))",
        env={"CHOSEN": "here"},
    )
    again = trial.good("print(sorted({'b', 'a', 'c'}, key=hash))")
    assert done.text(1).startswith("here 0 True\nTrue True\n")
    assert done.text(1).endswith(again.text(1))
