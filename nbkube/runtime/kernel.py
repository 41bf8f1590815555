"""The few calls into the operating system's kernel that Python 3.11 does not offer, by ctypes; Linux only.

Everywhere else each of them reports that it cannot be done, and the caller goes on without.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def end_with_parent(signal_number: int) -> None:
    """Have this process receive a signal as soon as the thread that made it has ended."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of every descendant that loses its own."""
    if _libc is not None:
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def flush_c_output() -> None:
    """Write out what C code has printed and the C library still holds."""
    if _libc is not None:
        _libc.fflush(ctypes.c_void_p.in_dll(_libc, "stdout"))


def flush_all_c_files() -> None:
    """Write out whatever the C library holds for any file."""
    if _libc is not None:
        _libc.fflush(None)


def private_mounts() -> bool:
    """Give this process (single-threaded so far) a mount table of its own; False where that is not allowed.

    As root by right, else through a user namespace in which every id is what it was. The powers that come with the
    latter are given up by `drop_powers` once the mounts are made.
    """
    if _libc is None:
        return False
    if _libc.unshare(_CLONE_NEWNS) != 0 and not _own_user_namespace():
        return False
    return bool(_libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0)


def _own_user_namespace() -> bool:
    assert _libc is not None
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) != 0:
        return False
    try:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")
    except OSError:
        return False
    return True


def bind_mount(source: str, target: str) -> None:
    """Show the folder `source` at the folder `target`, to this process and its descendants only."""
    assert _libc is not None
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def drop_powers() -> None:
    """Give up the powers that a user namespace brings, so that files behave as in the notebook's own kernel."""
    _use_powers(effective=False, permitted=False)


def rest_powers() -> None:
    """Do without the powers that a user namespace brings until they are needed again."""
    _use_powers(effective=False, permitted=True)


def wake_powers() -> None:
    """Use the powers that rest."""
    _use_powers(effective=True, permitted=True)


def _use_powers(*, effective: bool, permitted: bool) -> None:
    if _libc is None or os.geteuid() == 0:
        return
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for the upper half
    _libc.capget(header, sets)
    for half in (0, 3):
        held = sets[half + 1] if permitted else 0
        sets[half], sets[half + 1], sets[half + 2] = (held if effective else 0), held, 0
    _libc.capset(header, sets)


def mount_table() -> int:
    """Return a descriptor that stands for this process's mount table."""
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def another_mount_table() -> bool:
    """Go on with a copy of a mount table that is private already."""
    return _libc is not None and _libc.unshare(_CLONE_NEWNS) == 0


def return_to(mounts: int) -> None:
    """Go back to a mount table (this process, single-threaded, was in it before) and close its descriptor."""
    assert _libc is not None
    if _libc.setns(mounts, _CLONE_NEWNS) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "mount table")
    os.close(mounts)


def thread_count() -> int:
    """Return how many threads this process has, whoever started them."""
    return len(os.listdir("/proc/self/task"))


def holds_device(prefix: str) -> bool:
    """Tell whether this process has a device open whose path begins so."""
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(prefix):
                return True
        except OSError:
            continue
    return False


def descendants(process: int) -> Sequence[int]:
    """Return the ids of all living processes below one, parents before children."""
    found: list[int] = []
    waiting = [process]
    while waiting:
        for child in children(waiting.pop()):
            found.append(child)
            waiting.append(child)
    return found


def children(process: int) -> Sequence[int]:
    """Return the ids of a process's own children."""
    try:
        threads = os.listdir(f"/proc/{process}/task")
    except OSError:
        return ()
    found: list[int] = []
    for thread in threads:
        try:
            with open(f"/proc/{process}/task/{thread}/children", "rb") as listing:
                found.extend(int(one) for one in listing.read().split())
        except OSError:
            continue
    return found


def memory_of(processes: Sequence[int]) -> int:
    """Return the bytes of memory that processes hold together; pages they share count once where that is known."""
    shared = len(processes) > 1
    return sum(_proportional(one) if shared else _resident(one) for one in processes)


def _resident(process: int) -> int:
    try:
        with open(f"/proc/{process}/statm", "rb") as numbers:
            return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _proportional(process: int) -> int:
    try:
        with open(f"/proc/{process}/smaps_rollup", "rb") as lines:
            for line in lines:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return _resident(process)


def command_of(process: int) -> str:
    """Return a process's command line for people, cut short."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as words:
            return words.read(400).replace(b"\0", b" ").decode("utf-8", "replace").strip()[:120] or f"process {process}"
    except OSError:
        return f"process {process}"


def session_members(session: int) -> list[int]:
    """Return the ids of all living processes of a session."""
    found = []
    for name in os.listdir("/proc") if sys.platform == "linux" else ():
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as line:
                    fields = line.read().rpartition(b")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session and fields[0] != b"Z":
                found.append(int(name))
    return found
