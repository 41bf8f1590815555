"""Down leaves the machine as it was, also when everything was killed; these tests stop the bench."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import layout, lifecycle, namespaces, network
from tests.cluster.api import Api
from tests.cluster.bench import Bench
from tests.cluster.servers import Servers

pytestmark = [pytest.mark.slow, pytest.mark.faults, pytest.mark.timeout(600)]

Traces = dict[str, set[str]]


@pytest.fixture
def before(usable_machine: None) -> Iterator[Traces]:
    """What the machine looks like without the bench."""
    if lifecycle.is_started() and os.environ.get("NBKUBE_REQUIRE_CLUSTER") != "1":
        pytest.skip("the bench is up, perhaps in use, and this test stops it: `make cluster-down` first")
    lifecycle.down(_silent)
    yield _traces()
    lifecycle.down(_silent)


def test_down_leaves_nothing(before: Traces) -> None:
    _run_a_pod(lifecycle.up(_silent))
    assert _difference(before, _traces()), "traces that do not show a running bench prove nothing"
    lifecycle.down(_silent)
    assert _difference(before, _traces()) == {}


def test_down_leaves_nothing_after_everything_was_killed(before: Traces) -> None:
    _run_a_pod(lifecycle.up(_silent))
    for pid in network.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not lifecycle.is_up()
    lifecycle.down(_silent)
    assert _difference(before, _traces()) == {}


def test_a_process_that_took_over_a_pid_is_not_ended(usable_machine: None, tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        folder = tmp_path / "servers"
        folder.mkdir()
        (folder / "etcd.json").write_text('{"name": "etcd", "argv": ["/usr/bin/true"]}')
        (folder / "etcd.pid").write_text(str(bystander.pid))
        assert Servers(tmp_path).running() == {}
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def _run_a_pod(bench: Bench) -> None:
    """Have a pod with a volume run, and go on running."""
    api = Api(bench.kubeconfig)
    namespaces.make_namespace(api, "left-behind", bench)
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    metadata = {"name": "claim", "namespace": "left-behind"}
    api.create({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": claim})
    volume = {"name": "kept", "persistentVolumeClaim": {"claimName": "claim"}}
    pod = namespaces.pod("left-behind", "sleeper", bench.images.base, "import time; time.sleep(3600)", volumes=[volume])
    api.create(pod)
    path = "/api/v1/namespaces/left-behind/pods/sleeper"
    api.wait(path, lambda found: found["status"]["phase"] == "Running", 90, "the pod to run")


def _traces() -> Traces:
    """Return everything on this machine in which a bench could show."""
    return {
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "network namespaces": _names("/run/netns"),
        "links": set(_output("ip", "-br", "link").splitlines()),
        "routes": {" ".join(line.split()) for line in _output("ip", "route").splitlines()},
        "firewall": set(_output("nft", "list", "ruleset").splitlines()),
        "processes": set(_processes()),
        "cgroups": {folder for folder, _, _ in os.walk("/sys/fs/cgroup") if layout.NAME in folder},
        "memory": {name for name in _names("/dev/shm") if layout.NAME in name},
        "shims": _names("/run/containerd/s"),
        "addresses": _names("/var/lib/cni/results"),
        "logs": _names("/var/log/containers"),
        "devices": _names("/var/lib/kubelet/device-plugins"),
        "run folder": {name for name in _names(str(layout.run_folder().parent)) if layout.NAME in name},
    }


def _processes() -> Iterator[str]:
    """Yield the processes that belong to a bench, by id and program: they run in another network than this test."""
    ours = os.readlink("/proc/self/ns/net")
    programs = (str(layout.cache_folder()), "/usr/bin/containerd", "/usr/bin/docker-registry", "/usr/bin/runc")
    for process in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not process.name.isdigit() or os.readlink(process / "ns" / "net") == ours:
                continue
            program = os.readlink(process / "exe")
            if program.startswith(programs) or layout.NAME in (process / "cgroup").read_text():
                yield f"{process.name} {program}"


def _difference(before: Traces, after: Traces) -> Traces:
    return {kind: new for kind, names in after.items() if (new := names - before[kind])}


def _names(folder: str) -> set[str]:
    return set(os.listdir(folder)) if os.path.isdir(folder) else set()


def _output(*argv: str) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def _silent(text: str) -> None:
    pass
