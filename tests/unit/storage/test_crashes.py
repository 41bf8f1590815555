"""A commit is whole or not there, whatever moment the process dies or the disk refuses: tried at every system call."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nbkube.storage import LocalStore
from tests.unit.storage import crasher

STRACE = shutil.which("strace")
CALLS = ("openat", "write", "fsync", "fchmod", "link", "unlink", "rename", "mkdir", "close", "flock")
DIGEST = hashlib.sha256(crasher.BLOB).hexdigest()

MADE = {
    "commit": {"openat", "write", "fsync", "fchmod", "link", "unlink", "mkdir", "close"},
    "commit_stream": {"openat", "write", "fsync", "fchmod", "link", "unlink", "mkdir", "close"},
    "swap": {"openat", "write", "fsync", "rename", "close", "flock"},
    "write": {"openat", "write", "fsync", "rename", "close", "flock"},
    "remove": {"openat", "unlink", "fsync", "close", "flock"},
    "append": {"openat", "write", "fsync", "close"},
}
"""Calls that each action is known to make: an injection that hits none of them would prove nothing."""

WORDS = {
    "ENOSPC": "disk full: ",
    "EIO": "the disk reports an error",
    "EDQUOT": "quota used up: ",
    "EROFS": "read-only",
}

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(STRACE is None, reason="NOT TESTED: strace is not installed (apt-get install strace)"),
]


def traced(options: list[str], program: list[str]) -> str:
    assert STRACE is not None
    command = [STRACE, "-f", "-qq", "--seccomp-bpf", *options, sys.executable, "-B", *program]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Traceback" not in done.stderr, done.stderr[-3000:]
    return done.stdout


def inject(folder: Path, fault: str, actions: tuple[str, ...], calls: tuple[str, ...], steps: int) -> list[Any]:
    for action in actions:
        for call in calls:
            for k in range(1, steps + 1):
                crasher.set_up(action, folder / f"{action}-{call}-{k}")
    options = ["-o", os.devnull, "-e", f"inject={','.join(calls)}:{fault}:when={crasher.AT}"]
    arguments = [str(folder), ",".join(actions), ",".join(calls), str(steps)]
    return [json.loads(line) for line in traced(options, [crasher.__file__, *arguments]).splitlines()]


def check(action: str, store: LocalStore) -> None:
    """Hold what must be true at every moment."""
    if action.startswith("commit"):
        record = store.read("steps/key/proof.json")
        assert record in (None, DIGEST.encode())
        if record is not None:
            assert store.get(DIGEST) == crasher.BLOB
        if store.has(DIGEST):
            assert store.get(DIGEST) == crasher.BLOB
    elif action in ("swap", "write"):
        assert store.read("refs/name") in (crasher.OLD, crasher.NEW)
    elif action == "remove":
        assert store.read("refs/name") in (crasher.OLD, None)
    else:
        lines = store.read("runs/r/log")
        assert lines is not None
        assert lines.startswith(b"first line\n")
    known = {"commit": "steps/key/proof.json", "commit_stream": "steps/key/proof.json", "append": "runs/r/log"}
    for prefix in ("steps/", "refs/", "runs/"):
        assert set(store.list(prefix)) <= {known.get(action, "refs/name")}


def check_done(action: str, store: LocalStore) -> None:
    """Hold what must be true once an action has ended well."""
    if action.startswith("commit"):
        assert store.read("steps/key/proof.json") == DIGEST.encode()
        assert store.get(DIGEST) == crasher.BLOB
    elif action == "swap":
        assert store.read("refs/name") == crasher.NEW
    else:
        assert (store.read("runs/r/log") or b"").endswith(b"second line\n")


@pytest.mark.parametrize("action", sorted(crasher.ACTIONS))
def test_death_at_every_system_call(tmp_path: Path, action: str) -> None:
    ends = inject(tmp_path, "signal=KILL", (action,), CALLS, 12 if action.startswith("commit") else 8)
    killed = [one for one in ends if one["ended"] == -9]
    assert {one["ended"] for one in ends} <= {0, -9}
    assert {one["call"] for one in killed} >= MADE[action]
    for one in killed:
        folder = tmp_path / f"{action}-{one['call']}-{one['k']}"
        store = LocalStore(folder)
        check(action, store)
        crasher.ACTIONS[action](store)
        check(action, store)
        left = list((folder / "tmp").iterdir())
        for path in left:
            os.utime(path, (1, 1))
        LocalStore(folder).put(b"another")
        assert list((folder / "tmp").iterdir()) == []


@pytest.mark.parametrize("action", ["commit", "swap", "append"])
@pytest.mark.parametrize("error", sorted(WORDS))
def test_refusal_of_every_write_and_sync(tmp_path: Path, error: str, action: str) -> None:
    calls = tuple(sorted(MADE[action] & {"write", "fsync", "link", "mkdir", "fchmod", "rename"}))
    ends = inject(tmp_path, f"error={error}", (action,), calls, 8)
    refused = [one for one in ends if one["ended"] == 3]
    assert {one["ended"] for one in ends} <= {0, 3}
    assert {one["call"] for one in refused} == set(calls)
    for one in ends:
        folder = tmp_path / f"{one['action']}-{one['call']}-{one['k']}"
        check(one["action"], LocalStore(folder))
        check_done(one["action"], LocalStore(folder))
        if one["ended"] == 3:
            assert WORDS[error] in folder.with_name(folder.name + ".said").read_text()
        if (folder / "tmp").exists():
            assert list((folder / "tmp").iterdir()) == []


def test_a_record_written_in_place_would_be_seen(tmp_path: Path) -> None:
    ends = inject(tmp_path, "signal=KILL", ("commit_in_place",), ("write",), 8)
    stores = [LocalStore(tmp_path / f"commit_in_place-write-{one['k']}") for one in ends if one["ended"] == -9]
    with pytest.raises(AssertionError):
        list(map(partial(check, "commit_in_place"), stores))


@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
def test_a_refusal_that_nobody_heard_would_be_seen(tmp_path: Path, error: str) -> None:
    ends = inject(tmp_path, f"error={error}", ("commit_deaf",), ("write",), 8)
    assert {one["ended"] for one in ends} == {0}
    stores = [LocalStore(tmp_path / f"commit_deaf-write-{one['k']}") for one in ends]
    with pytest.raises(AssertionError):
        list(map(partial(check_done, "commit_deaf"), stores))


LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
PROGRAM = """
import os, sys
from nbkube.storage import LocalStore, disk
from tests.unit.storage import crasher
for name in sys.argv[3:]:  # a control to be taken away
    if name == "sync_folder":
        disk.sync_folder = lambda folder: None
    else:
        os.fsync = lambda handle: None
os.access("/begin", os.F_OK)
crasher.ACTIONS[sys.argv[1]](LocalStore(sys.argv[2]))
"""


def calls_of(tmp_path: Path, action: str, folder: Path, *without: str) -> list[tuple[str, str]]:
    """Return (call, arguments with paths shown) of an action, in order; failed calls are left out."""
    trace = tmp_path / "trace"
    watched = "trace=write,fsync,link,unlink,rename,mkdir,access,faccessat"
    traced(["-y", "-o", str(trace), "-e", watched], ["-c", PROGRAM, action, str(folder), *without])
    lines = trace.read_text().splitlines()
    begin = next(
        number for number, line in enumerate(lines) if '"/begin"' in line or "access(" in line and "begin" in line
    )
    found = [LINE.match(line) for line in lines[begin + 1 :]]
    return [(one[1], one[2]) for one in found if one and int(one[3]) >= 0]


def disorder(calls: list[tuple[str, str]], folder: Path) -> tuple[list[str], list[str]]:
    """Return what a crash of the machine could break, in words, and the names that were given."""
    dirty: set[str] = set()  # files with unsynced bytes
    unnamed: set[str] = set()  # folders with unsynced names
    named: list[str] = []
    faults: list[str] = []
    for call, arguments in calls:
        paths = [quoted or held for quoted, held in re.findall(r'"([^"]*)"|<([^>]*)>', arguments)]
        if call == "write" and paths and paths[0].startswith(str(folder)) and not paths[0].endswith("/stamps"):
            dirty.add(paths[0])
        elif call == "fsync":
            dirty.discard(paths[0])
            unnamed.discard(paths[0])
        elif call in ("link", "rename"):
            if paths[0] in dirty:
                faults.append(f"{paths[1]} got its name before its bytes were synced")
            if paths[1].endswith("proof.json") and unnamed:
                faults.append("the record was named before what it refers to was durable")
            unnamed.add(os.path.dirname(paths[1]))
            named.append(paths[1])
        elif call == "mkdir":
            unnamed.add(os.path.dirname(paths[0]))
    faults += [f"{path} was never synced" for path in sorted(dirty | unnamed)]
    return faults, named


@pytest.mark.parametrize("action", ["commit", "commit_stream", "swap", "write", "append"])
def test_data_is_synced_before_its_name_and_the_name_before_the_end(tmp_path: Path, action: str) -> None:
    folder = tmp_path / "store"
    crasher.set_up(action, folder)
    faults, named = disorder(calls_of(tmp_path, action, folder), folder)
    assert faults == []
    expected = {"commit": 4, "commit_stream": 4, "swap": 1, "write": 1, "append": 0}
    assert len(named) == expected[action]


@pytest.mark.parametrize("without", ["fsync", "sync_folder"])
def test_a_missing_sync_would_be_seen(tmp_path: Path, without: str) -> None:
    folder = tmp_path / "store"
    faults, _ = disorder(calls_of(tmp_path, "commit", folder, without), folder)
    assert faults
