"""What a machine needs for the bench, each missing thing with one line that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster import layout, network
from tests.cluster.parts import Part

PACKAGES = {
    # program: Debian package
    "containerd": "containerd",
    "runc": "runc",
    "docker-registry": "docker-registry",
    "nft": "nftables",
    "iptables": "iptables",
    "conntrack": "conntrack",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "sysctl": "procps",
    "openssl": "openssl",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
_CONTROLLERS = ("memory", "cpu", "cpuset", "pids")
_GO = (1, 26, 4)


def missing_to_build() -> list[str]:
    """Return what building lacks."""
    lacks = [*_root(), *_programs()]
    if not (go := shutil.which("go")):
        lacks.append(f"no `go` on the PATH: install Go {'.'.join(map(str, _GO))} or newer")
    else:
        text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
        if tuple(map(int, re.findall(r"\d+", text)[:3])) < _GO:
            lacks.append(f"`go` is {text.strip()}: install Go {'.'.join(map(str, _GO))} or newer")
    for module in ("hatchling", "kubernetes", "yaml"):
        if not _importable(module):
            lacks.append(f"{module} is not installed in this environment: `make .venv/.test`")
    return lacks


def missing_to_run(parts: list[Part]) -> list[str]:
    """Return what starting the bench lacks."""
    lacks = [*_root(), *_programs(), *_kernel()]
    if not lacks:
        lacks += [f"the network of the bench is in use here: {route}" for route in network.taken_networks()]
    if Path("/var/lib/kubelet/device-plugins/kubelet.sock").exists() and not layout.run_folder().exists():
        lacks.append("another kubelet runs on this machine: its device plugins' folder is fixed, there can be only one")
    if unbuilt := [part.name for part in parts if not part.is_built]:
        lacks.append(f"not built yet: {', '.join(unbuilt)}; build with `python -m tests.cluster build`")
    return lacks


def _root() -> list[str]:
    if sys.platform != "linux":
        return [f"the bench is a Linux node; this is {sys.platform}"]
    return [] if os.geteuid() == 0 else ["not root: network namespaces and containers need it"]


def missing_packages() -> list[str]:
    """Return the Debian packages whose programs are not here."""
    return [package for program, package in PACKAGES.items() if not shutil.which(program)]


def _programs() -> list[str]:
    absent = missing_packages()
    return [f"not installed: {' '.join(absent)}; `apt-get install {' '.join(absent)}`"] if absent else []


def _kernel() -> list[str]:
    lacks = []
    filesystems = Path("/proc/filesystems").read_text().split()
    if "overlay" not in filesystems:
        lacks.append("no overlayfs in this kernel: `modprobe overlay`")
    if not Path("/proc/sys/net/bridge/bridge-nf-call-iptables").exists():
        lacks.append("bridges do not pass through netfilter: `modprobe br_netfilter`")
    if subprocess.run(["nft", "list", "tables"], capture_output=True, check=False).returncode:
        lacks.append("nf_tables does not work here: `modprobe nf_tables`")
    present = {line.split()[0] for line in Path("/proc/cgroups").read_text().splitlines()[1:] if line.split()[3] == "1"}
    absent = [name for name in _CONTROLLERS if name not in present]
    if absent:
        lacks.append(f"cgroup controllers are off: {', '.join(absent)}")
    return lacks


def _importable(module: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(module) is not None
