from __future__ import annotations

from pathlib import Path

from nbkube.engines.argo.cgroup import Memory, explained, memory
from nbkube.runtime.program import Failure


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_counters_of_both_versions(tmp_path: Path) -> None:
    second = {
        "cgroup.controllers": "memory",
        "memory.events": "low 0\nhigh 0\nmax 5\noom 2\noom_kill 1\noom_group_kill 0\n",
        "memory.max": "67108864\n",
        "memory.peak": "67100000\n",
    }
    assert memory(write(tmp_path / "2", second)) == Memory(1, 64 << 20, 67_100_000)
    first = {
        "memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        "memory/memory.limit_in_bytes": "134217728\n",
        "memory/memory.max_usage_in_bytes": "1000\n",
    }
    assert memory(write(tmp_path / "1", first)) == Memory(3, 128 << 20, 1000)
    unlimited = {"cgroup.controllers": "memory", "memory.max": "max\n"}
    assert memory(write(tmp_path / "none", unlimited)) == Memory()
    assert memory(tmp_path / "nothing") == Memory()


def test_a_killed_process_is_explained_by_the_kernels_counter() -> None:
    killed = Failure("killed", "the process was ended by SIGKILL (perhaps there was not enough memory)", exit_code=137)
    after = Memory(1, 512 << 20, 511 << 20)
    found = explained(killed, Memory(), after)
    assert (found.type, found.exit_code) == ("OOMKilled", 137)
    assert found.message == (
        "the step needed more memory than its limit of 512Mi, peak 511Mi: the kernel ended a process (OOMKilled). "
        "Give it more, e.g. memory=1Gi."
    )
    assert explained(killed, after, after) is killed


def test_an_error_that_came_of_a_killed_child_keeps_its_own_words() -> None:
    broken = Failure("error", "a child has died", type="BrokenProcessPool")
    found = explained(broken, Memory(), Memory(1, 1 << 30))
    assert found.type == "BrokenProcessPool"
    assert found.message.startswith("a child has died\nthe step needed more memory than its limit of 1Gi")
