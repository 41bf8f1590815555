"""The network namespace that holds the whole bench, and the host's routes into it.

Nothing inside has a way out: pods and servers reach each other and the host's end of one link, no more.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from tests.cluster import layout
from tests.cluster.layout import BenchError

NAMESPACE_FILE = Path("/run/netns") / layout.NAME


def inside(argv: list[str]) -> list[str]:
    """Return the command that runs `argv` in the bench's network namespace.

    `ip netns exec` would mount a new /sys and so hide the cgroup trees from the kubelet.
    """
    return ["nsenter", f"--net={NAMESPACE_FILE}", *argv]


def make() -> None:
    """Make the namespace, the link to it, the bridge for pods and the routes of the host."""
    node_link = f"{layout.NODE_LINK_ADDRESS}/{layout.LINK_PREFIX}"
    for argv in (
        ["ip", "netns", "add", layout.NAME],
        ["ip", "link", "add", layout.HOST_LINK, "type", "veth", "peer", "name", layout.NODE_LINK],
        ["ip", "link", "set", layout.NODE_LINK, "netns", layout.NAME],
        ["ip", "addr", "add", f"{layout.HOST_ADDRESS}/{layout.LINK_PREFIX}", "dev", layout.HOST_LINK],
        ["ip", "link", "set", layout.HOST_LINK, "up"],
        inside(["ip", "link", "set", "lo", "up"]),
        inside(["ip", "addr", "add", node_link, "dev", layout.NODE_LINK]),
        inside(["ip", "link", "set", layout.NODE_LINK, "up"]),
        inside(["ip", "route", "add", "default", "via", layout.HOST_ADDRESS]),
        inside(["ip", "link", "add", layout.BRIDGE, "type", "bridge"]),
        inside(["ip", "addr", "add", f"{layout.NODE_ADDRESS}/24", "dev", layout.BRIDGE]),
        inside(["ip", "link", "set", layout.BRIDGE, "up"]),
        inside(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.bridge.bridge-nf-call-iptables=1"]),
        ["ip", "route", "add", layout.POD_NETWORK, "via", layout.NODE_LINK_ADDRESS],
        ["ip", "route", "add", layout.SERVICE_NETWORK, "via", layout.NODE_LINK_ADDRESS],
    ):
        _run(argv)


def remove() -> None:
    """Remove what `make` made, and the namespaces of pods that nobody has taken down."""
    subprocess.run(["ip", "link", "del", layout.HOST_LINK], capture_output=True, check=False)
    for name in [layout.NAME, *_pod_namespaces()]:
        if (NAMESPACE_FILE.parent / name).exists():
            _run(["ip", "netns", "del", name])


def processes() -> list[int]:
    """Return the processes whose network is the bench's: its servers and the shims of its containers."""
    if not NAMESPACE_FILE.exists():
        return []
    listed = subprocess.run(["ip", "netns", "pids", layout.NAME], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def taken_networks() -> list[str]:
    """Return the routes of this machine that the bench would collide with."""
    listed = subprocess.run(["ip", "-j", "route"], capture_output=True, text=True, check=True)
    wanted = {layout.POD_NETWORK, layout.SERVICE_NETWORK, f"{layout.HOST_ADDRESS.rsplit('.', 1)[0]}.0/30"}
    return [
        f"{route['dst']} via {route.get('dev')}"
        for route in json.loads(listed.stdout)
        if route["dst"] in wanted and route.get("dev") != layout.HOST_LINK
    ]


def _pod_namespaces() -> list[str]:
    """Return the pod namespaces that the CNI library recorded for our network, and forget the records."""
    names = []
    folder = Path("/var/lib/cni/results")
    for path in folder.glob(f"{layout.NAME}-*"):
        record = json.loads(path.read_text())
        interfaces = record.get("result", {}).get("interfaces", [])
        names += [Path(link["sandbox"]).name for link in interfaces if link.get("sandbox")]
        path.unlink()
        # containerd gives each pod a second network, the loopback device, under a name that is not ours.
        (folder / f"cni-loopback-{record['containerId']}-lo").unlink(missing_ok=True)
    return names


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"`{' '.join(argv)}` failed: {done.stderr.strip() or done.stdout.strip()}")
