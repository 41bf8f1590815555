"""Removes everything a bench made, also after its processes were killed: nothing here trusts that they did their part.

Only what carries the bench's name is touched: processes in its network namespace or cgroup, mounts below its run
folder, its own links and namespaces. Firewall rules live in the namespace and vanish with it. What stays, harmless:
empty folders that the kubelet and containerd make at fixed places (/var/lib/kubelet, /run/containerd, /var/lib/cni).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.cluster import layout, network, node
from tests.cluster.layout import BenchError
from tests.cluster.servers import Servers, end, wait_until

_CGROUPS = Path("/sys/fs/cgroup")


def make_cgroups() -> None:
    """Make the cgroup below which the kubelet keeps all pods, in each hierarchy."""
    for hierarchy in _hierarchies():
        folder = hierarchy / layout.NAME
        folder.mkdir(exist_ok=True)
        if hierarchy.name == "cpuset":  # a new group of this hierarchy has no processors until told
            for name in ("cpuset.cpus", "cpuset.mems"):
                (folder / name).write_text((hierarchy / name).read_text())
        if (shares := folder / "cpu.shares").exists():  # as one group all pods together would count as one process
            shares.write_text("10240")


def remove_everything(keep_logs: bool = False) -> None:
    """Leave nothing of a bench behind."""
    run = layout.run_folder()
    (run / "bench.json").unlink(missing_ok=True)  # from here on there is no bench that anybody could mend
    servers = Servers(run).running()
    containerd = servers.pop("containerd", None)
    end(servers.values())
    end(_contained(), patience=0)
    if network.NAMESPACE_FILE.exists() and not (containerd and _forget_containers(run)):
        node.forget_folder("containerd")  # else the next bench would find containers of this one
    end(network.processes())
    _forget_shims(run)
    _unmount(run)
    network.remove()
    _remove_cgroups()
    _remove_fixed_places(run)
    shutil.rmtree(layout.memory_folder(), ignore_errors=True)
    _remove_run_folder(run, keep_logs)


def _forget_containers(run: Path) -> bool:
    """Have containerd forget all containers and keep its images; false when it cannot."""
    ctr = ["/usr/bin/ctr", f"--address={run}/containerd.sock", "--namespace=k8s.io"]
    try:
        for kind, options in (("tasks", ["--force"]), ("containers", [])):
            listed = subprocess.run([*ctr, kind, "ls", "-q"], capture_output=True, text=True, check=True, timeout=20)
            if names := listed.stdout.split():
                subprocess.run([*ctr, kind, "rm", *options, *names], capture_output=True, check=False, timeout=60)
        left = subprocess.run([*ctr, "containers", "ls", "-q"], capture_output=True, text=True, check=True, timeout=20)
    except (subprocess.SubprocessError, OSError):
        return False
    return not left.stdout.split()


def _contained() -> list[int]:
    """Return the processes of all pods."""
    return sorted({pid for group in groups() for pid in members(group)})


def members(group: Path) -> list[int]:
    """Return the processes of a cgroup, without those of groups below it."""
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:  # it has just been removed
        return []


def groups() -> Iterator[Path]:
    """Yield the bench's cgroups, the deepest first."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / layout.NAME, topdown=False):
            yield Path(folder)


def _hierarchies() -> list[Path]:
    """Return the roots of the cgroup trees: several of version 1, or the one of version 2."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _remove_cgroups() -> None:
    def empty() -> bool:
        for group in list(groups()):
            with contextlib.suppress(FileNotFoundError):
                group.rmdir()
        return True

    wait_until(empty, 10, "the kernel to let the pods' cgroups go")


def _forget_shims(run: Path) -> None:
    """Remove the sockets of containers' shims, which lie outside containerd's own state folder."""
    for address in run.glob("containerd-state/io.containerd.runtime.v2.task/*/*/address"):
        with contextlib.suppress(OSError):
            Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _unmount(run: Path) -> None:
    """Unmount all below the run folder, the deepest first, until there is no more."""
    deadline = time.monotonic() + 10
    while mounted := [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]:
        ours = [path.encode().decode("unicode_escape") for path in mounted if path.startswith(f"{run}/")]
        if not ours:
            return
        subprocess.run(["umount", "--lazy", *reversed(ours)], capture_output=True, check=False)
        if time.monotonic() > deadline:
            raise BenchError(f"still mounted: {', '.join(ours)}")


def _remove_fixed_places(run: Path) -> None:
    """Remove what the kubelet leaves at places that no option moves."""
    # A later kubelet would show the devices of this one, none of them usable.
    Path("/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint").unlink(missing_ok=True)
    Path("/var/lib/kubelet/device-plugins/kubelet.sock").unlink(missing_ok=True)
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(str(run)):
            link.unlink()


def _remove_run_folder(run: Path, keep_logs: bool) -> None:
    if not run.exists():
        return
    logs = run / "logs"
    kept = run.with_name(f"{run.name}-failed-logs")
    if keep_logs and logs.exists():
        shutil.rmtree(kept, ignore_errors=True)
        logs.rename(kept)
    elif not keep_logs:
        shutil.rmtree(kept, ignore_errors=True)
    shutil.rmtree(run)
