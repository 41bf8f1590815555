"""Control groups of Linux, version 1 and 2: the limits this process lives under, and groups that limit memory.

Everywhere else, and where groups cannot be made, the functions say that there is nothing. Formats: cgroups(7), the
kernel's admin-guide/cgroup-v1/memory and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNLIMITED = 1 << 60
"""Version 1 writes a number near 2^63 where there is no limit."""

_REMOVE_SECONDS = 2.0


class Hierarchy(NamedTuple):
    """Where a controller is mounted, this process's group in it, and the version of its interface."""

    top: Path
    own: Path
    version: int


def hierarchy(controller: str, proc: Path = Path("/proc/self")) -> Hierarchy | None:
    """Return the mounted hierarchy of a controller (`memory`, `cpu`) as a process sees it; None if there is none."""
    try:
        groups = [line.split(":", 2) for line in (proc / "cgroup").read_text(encoding="utf-8").splitlines()]
        mounts = [line.split(" ") for line in (proc / "mountinfo").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return None
    for version, kind in ((1, "cgroup"), (2, "cgroup2")):
        for fields in mounts:
            after = fields[fields.index("-") + 1 :]
            if after[0] != kind or (version == 1 and controller not in after[2].split(",")):
                continue
            for _, names, path in groups:
                if (controller in names.split(",")) if version == 1 else names == "":
                    top = Path(_unescaped(fields[4]))
                    own = top / os.path.relpath(path, _unescaped(fields[3])) if path != fields[3] else top
                    own = own if own.is_dir() and ".." not in own.parts else top
                    if version == 1 or controller in _read(own / "cgroup.controllers").split():
                        return Hierarchy(top, own, version)
    return None


def _unescaped(path: str) -> str:
    """Return a path of mountinfo, in which blanks and the like are written in octal."""
    return path.encode("ascii", "backslashreplace").decode("unicode_escape") if "\\" in path else path


def memory_limit(found: Hierarchy | None) -> int | None:
    """Return the smallest limit in bytes that holds for a group and those above it; None for no limit."""
    limits = []
    for folder in _upwards(found):
        text = _read(folder / ("memory.limit_in_bytes" if found and found.version == 1 else "memory.max"))
        if text.isdigit() and int(text) < _UNLIMITED:
            limits.append(int(text))
    return min(limits, default=None)


def memory_left(found: Hierarchy | None) -> int | None:
    """Return how many bytes a group may still take under the tightest limit; None for no limit."""
    first = found is not None and found.version == 1
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if first else ("memory.max", "memory.current")
    left = []
    for folder in _upwards(found):
        limit, used = (_read(folder / name) for name in names)
        if limit.isdigit() and int(limit) < _UNLIMITED:
            left.append(max(0, int(limit) - (int(used) if used.isdigit() else 0)))
    return min(left, default=None)


def cpu_limit(found: Hierarchy | None) -> float | None:
    """Return the smallest number of CPUs that a group and those above it may use; None for no limit."""
    limits = []
    for folder in _upwards(found):
        if found and found.version == 1:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        else:
            quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _upwards(found: Hierarchy | None) -> Iterator[Path]:
    if found is not None:
        yield from (folder for folder in (found.own, *found.own.parents) if folder.is_relative_to(found.top))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


class MemoryGroup:
    """A group below this process's own, or (version 2) beside it.

    Its processes together get no more memory than `limit` bytes.
    """

    def __init__(self, folder: Path, version: int) -> None:
        self._folder = folder
        self._version = version

    @property
    def entrance(self) -> str:
        """The file through which a process enters: see `enter`."""
        return str(self._folder / "cgroup.procs")

    @classmethod
    def make(cls, limit: int, name: str, found: Hierarchy | None = None) -> MemoryGroup | None:
        """Return a new group; None where the system does not let this process make one."""
        found = found or hierarchy("memory")
        if found is None:
            return None
        places = [found.own]
        if found.version == 2 and found.own != found.top:
            # A group with processes of its own, such as ours, passes no controller on; the one above mostly does.
            places.append(found.own.parent)
        made = (cls._make_in(place, limit, name, found.version) for place in places)
        return next((group for group in made if group is not None), None)

    @classmethod
    def _make_in(cls, place: Path, limit: int, name: str, version: int) -> MemoryGroup | None:
        _remove_left_overs(place)
        folder = place / f"nbkube-{os.getpid()}-{name}"
        try:
            folder.mkdir()
        except OSError:
            return None
        group = cls(folder, version)
        try:
            group._limit(limit)
        except OSError:
            group.remove()
            return None
        return group

    def _limit(self, limit: int) -> None:
        if self._version == 1:
            (self._folder / "memory.limit_in_bytes").write_text(str(limit))
            swap = self._folder / "memory.memsw.limit_in_bytes"
        else:
            if not (self._folder / "memory.max").exists():  # the group above has not passed the controller on
                (self._folder.parent / "cgroup.subtree_control").write_text("+memory")
            (self._folder / "memory.max").write_text(str(limit))
            with contextlib.suppress(OSError):
                (self._folder / "memory.oom.group").write_text("1")
            swap = self._folder / "memory.swap.max"
        if swap.exists():
            swap.write_text(str(limit) if self._version == 1 else "0")

    def exceeded(self) -> bool:
        """Tell whether the system has ended a process of the group because there was no memory left for it."""
        lines = _read(self._folder / ("memory.oom_control" if self._version == 1 else "memory.events")).splitlines()
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in lines)

    def remove(self) -> None:
        """Remove the group once its last process has gone."""
        until = time.monotonic() + _REMOVE_SECONDS
        while True:
            try:
                self._folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                if time.monotonic() < until:
                    time.sleep(0.01)
                    continue
            return


def enter(entrance: str) -> None:
    """Move this process, and all it will start, to a group; it stays where it is if that is not allowed."""
    if entrance:
        with contextlib.suppress(OSError), open(entrance, "w", encoding="ascii") as procs:
            procs.write("0")


def _remove_left_overs(own: Path) -> None:
    """Remove the empty groups of processes that have died."""
    for folder in own.glob("nbkube-*-*"):
        maker = folder.name.split("-")[1]
        if maker.isdigit() and not os.path.exists(f"/proc/{maker}"):
            with contextlib.suppress(OSError):
                folder.rmdir()
