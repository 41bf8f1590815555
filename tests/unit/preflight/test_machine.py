"""This machine's cores and memory, within the limits of control groups of both versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbkube.preflight.machine import this_machine

GI = 2**30


def tree(root: Path, files: dict[str, str]) -> Path:
    meminfo = f"MemTotal: {16 * GI // 1024} kB\nMemAvailable: {8 * GI // 1024} kB\nHugePages_Total: 0\n"
    groups = root / "sys/fs/cgroup"
    mounts = [f"1 2 0:1 / {groups} rw - cgroup2 cgroup2 rw"] if "0::" in files.get("proc/self/cgroup", "") else []
    for kind in ("memory", "cpu,cpuacct", "cpu"):
        if any(name.startswith(f"sys/fs/cgroup/{kind}/") for name in files):
            mounts.append(f"1 2 0:1 / {groups / kind} rw - cgroup cgroup rw,{kind}")
    always = {
        "proc/meminfo": meminfo, "proc/loadavg": "0.25 0 0 1/2 3\n", "proc/self/mountinfo": "\n".join(mounts) + "\n"
    }  # fmt: skip
    for name, text in (always | files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture(autouse=True)
def _four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setenv("PATH", "")


def amounts(root: Path) -> tuple[dict[str, float], dict[str, float]]:
    node = this_machine(root).nodes[0]
    assert node.free is not None
    return node.allocatable, node.free


def test_without_limits(tmp_path: Path) -> None:
    total, free = amounts(tree(tmp_path, {}))
    assert total == {"cpu": 4.0, "memory": 16 * GI}
    assert free == {"cpu": 3.75, "memory": 8 * GI}


def test_the_second_version(tmp_path: Path) -> None:
    """The tightest limit on the way up counts."""
    files = {
        "proc/self/cgroup": "0::/team.slice/job\n",
        "sys/fs/cgroup/team.slice/memory.max": str(4 * GI),
        "sys/fs/cgroup/team.slice/memory.current": str(3 * GI),
        "sys/fs/cgroup/team.slice/cpu.max": "200000 100000",
        "sys/fs/cgroup/team.slice/job/cgroup.controllers": "cpu memory",
        "sys/fs/cgroup/team.slice/job/memory.max": "max",
        "sys/fs/cgroup/team.slice/job/cpu.max": "max 100000",
    }
    total, free = amounts(tree(tmp_path, files))
    assert total == {"cpu": 2.0, "memory": 4 * GI}
    assert free == {"cpu": 1.75, "memory": GI}


@pytest.mark.parametrize("inside", [True, False])
def test_the_first_version(tmp_path: Path, inside: bool) -> None:
    """In a container the path is the host's, and the mount shows the container's own group."""
    group = "" if inside else "/jobs/one"
    files = {
        "proc/self/cgroup": "9:memory:/jobs/one\n5:cpu,cpuacct:/jobs/one\n1:name=systemd:/x\n",
        f"sys/fs/cgroup/memory{group}/memory.limit_in_bytes": str(2 * GI),
        f"sys/fs/cgroup/memory{group}/memory.usage_in_bytes": str(GI),
        "sys/fs/cgroup/memory/x": "",
        f"sys/fs/cgroup/cpu,cpuacct{group}/cpu.cfs_quota_us": "50000",
        f"sys/fs/cgroup/cpu,cpuacct{group}/cpu.cfs_period_us": "100000",
    }
    total, free = amounts(tree(tmp_path, files))
    assert total == {"cpu": 0.5, "memory": 2 * GI}
    assert free == {"cpu": 0.25, "memory": GI}


def test_no_limit_is_a_huge_number_in_the_first_version(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "9:memory:/\n5:cpu:/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
    }
    assert amounts(tree(tmp_path, files))[0] == {"cpu": 4.0, "memory": 16 * GI}


def test_gpus_are_those_nvidia_smi_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'NVIDIA A100-SXM4-40GB'; echo 'NVIDIA A100-SXM4-40GB'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    node = this_machine(tree(tmp_path / "root", {})).nodes[0]
    assert (node.allocatable["nvidia.com/gpu"], node.product) == (2.0, "NVIDIA-A100-SXM4-40GB")
    program.write_text("#!/bin/sh\necho 'No devices were found'; exit 6\n")
    assert "nvidia.com/gpu" not in this_machine(tmp_path / "root").nodes[0].allocatable


def test_this_very_machine() -> None:
    node = this_machine().nodes[0]
    assert node.free is not None
    assert 0 < node.free["memory"] <= node.allocatable["memory"]
    assert node.arch
