"""Runs under strace, which ends or refuses the 400th call of each system call in every process.

    crasher.py FOLDER ACTION,... CALL,... STEPS

For each action, call and k up to STEPS a child is forked that has a store in FOLDER/action-call-k. It spends 400 - k
of the calls on nothing, so that the k-th one of the action is the 400th. A line of JSON per child tells how it ended;
after three that ended well the action is taken to make no more of these calls.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from nbkube.errors import StorageError
from nbkube.storage import LocalStore

AT = 400
BLOB = b"blob" * 3000
OLD = b"old" * 1000
NEW = b"new" * 2000


def commit(store: LocalStore) -> None:
    digest = store.put(BLOB)
    store.create("steps/key/proof.json", digest.encode())


def commit_stream(store: LocalStore) -> None:
    digest = store.put(iter([BLOB[:5000], BLOB[5000:]]))
    store.create("steps/key/proof.json", digest.encode())


def swap(store: LocalStore) -> None:
    if not store.swap("refs/name", OLD, NEW):
        assert store.read("refs/name") == NEW


def write(store: LocalStore) -> None:
    store.write("refs/name", NEW)


def remove(store: LocalStore) -> None:
    store.remove("refs/name")


def append(store: LocalStore) -> None:
    store.append("runs/r/log", b"second line\n", durable=True)


ACTIONS: dict[str, Callable[[LocalStore], None]] = {
    "commit": commit,
    "commit_stream": commit_stream,
    "swap": swap,
    "write": write,
    "remove": remove,
    "append": append,
}


def commit_in_place(store: LocalStore) -> None:
    """A record written under its own name: what the store must not do."""
    record = store.put(BLOB).encode()
    path = store.path / "steps/key/proof.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for half in (record[:32], record[32:]):
        os.write(handle, half)
    os.close(handle)


def commit_deaf(store: LocalStore) -> None:
    """A commit that does not hear what the disk says: what the store must not do."""
    with contextlib.suppress(StorageError):
        commit(store)


CONTROLS = {"commit_in_place": commit_in_place, "commit_deaf": commit_deaf}
"""Without what makes a commit safe: the tests must see it."""


def set_up(action: str, folder: Path) -> None:
    """Make what an action works on; done beforehand and not under strace."""
    store = LocalStore(folder)
    if action in ("swap", "write", "remove"):
        store.create("refs/name", OLD)
    if action == "append":
        store.append("runs/r/log", b"first line\n", durable=True)


def refused(function: Callable[..., object], *arguments: object) -> Callable[[], None]:
    def burn() -> None:
        try:
            function(*arguments)
        except OSError:
            return
        raise AssertionError("this call was to be refused")

    return burn


def burners() -> dict[str, Callable[[], object]]:
    null = os.open("/dev/null", os.O_RDWR)
    file, _ = tempfile.mkstemp()
    nowhere = "/nonexistent/x"
    return {
        "openat": refused(os.open, nowhere, os.O_RDONLY),
        "write": lambda: os.write(null, b""),
        "fsync": refused(os.fsync, 900),
        "fchmod": lambda: os.fchmod(file, 0o600),
        "link": refused(os.link, nowhere, nowhere),
        "unlink": refused(os.unlink, nowhere),
        "rename": refused(os.rename, nowhere, nowhere),
        "mkdir": refused(os.mkdir, nowhere),
        "rmdir": refused(os.rmdir, nowhere),
        "close": refused(os.close, 900),
        "flock": lambda: fcntl.flock(null, fcntl.LOCK_UN),
    }


def child(action: str, burn: Callable[[], object], k: int, folder: Path) -> int:
    """Return 0 if the action went well, 3 if it was refused in words and went well when done again."""
    for _ in range(AT - k):
        burn()
    store = LocalStore(folder)
    act = {**ACTIONS, **CONTROLS}[action]
    try:
        act(store)
    except StorageError as error:
        folder.with_name(folder.name + ".said").write_text(str(error))
        act(store)
        return 3
    return 0


def try_one(action: str, call: str, k: int, base: Path, burn: Callable[[], object]) -> int:
    """Fork a child that does the action; return how it ended."""
    pid = os.fork()
    if pid == 0:
        code = 4
        try:
            code = child(action, burn, k, base / f"{action}-{call}-{k}")
        except BaseException:  # noqa: BLE001 - a child must not go on with its parent's loop
            traceback.print_exc()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    ended = os.waitstatus_to_exitcode(status)
    sys.stdout.write(json.dumps({"action": action, "call": call, "k": k, "ended": ended}) + "\n")
    sys.stdout.flush()
    return ended


def main() -> None:
    base, actions, calls, steps = sys.argv[1:]
    ways = burners()
    for action in actions.split(","):
        for call in calls.split(","):
            well = 0
            for k in range(1, int(steps) + 1):
                well = 0 if try_one(action, call, k, Path(base), ways[call]) else well + 1
                if well == 3:
                    break


if __name__ == "__main__":
    main()
