"""The node's own servers: containerd, kubelet, kube-proxy, CoreDNS, the image registry, device plugin, provisioner."""

from __future__ import annotations

import json
import secrets
import subprocess
import time
from pathlib import Path

from tests.cluster import layout
from tests.cluster.servers import Server

PAUSE = f"{layout.NODE_REGISTRY}/nbkube/pause:1"
CGROUP = f"/{layout.NAME}"


def write_configuration(run: Path) -> None:
    """Write the configuration files of all servers of the node."""
    folder = run / "etc"
    for path in (folder, run / "cni", run / "kubelet/plugins_registry", run / "volumes"):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "containerd.toml").write_text(_containerd(run))
    for host in (layout.NODE_REGISTRY, layout.REGISTRY):
        (run / "certs.d" / host).mkdir(parents=True)
        text = f'server = "http://{host}"\n[host."http://{host}"]\n  capabilities = ["pull", "resolve"]\n'
        (run / "certs.d" / host / "hosts.toml").write_text(text)
    (run / "cni" / f"10-{layout.NAME}.conflist").write_text(json.dumps(_cni(run), indent=1))
    (folder / "registry.yml").write_text(_registry())
    (folder / "kubelet.yaml").write_text(json.dumps(_kubelet(run), indent=1))
    (folder / "kube-proxy.yaml").write_text(json.dumps(_kube_proxy(run), indent=1))
    (folder / "Corefile").write_text(_corefile(run))


def kept_folder(name: str) -> Path:
    """Return a folder of images that outlives a bench; after a month it is made anew, so that it does not only grow."""
    folder = layout.cache_folder() / name
    stamp = folder.with_suffix(".since")
    if not stamp.exists() or stamp.stat().st_mtime < time.time() - 30 * 86400:
        forget_folder(name)
        folder.mkdir(parents=True)
        stamp.touch()
    return folder


def forget_folder(name: str) -> None:
    """Remove a kept folder: the next bench fills it again. Its 100,000 files vanish in the background."""
    folder = layout.cache_folder() / name
    folder.with_suffix(".since").unlink(missing_ok=True)
    if folder.exists():
        folder.rename(folder.with_suffix(f".old-{secrets.token_hex(4)}"))
    if old := sorted(folder.parent.glob(f"{name}.old-*")):
        remover = subprocess.Popen(["nice", "rm", "-rf", *map(str, old)], start_new_session=True)
        remover.returncode = 0  # nobody waits for it


def container_servers(run: Path) -> list[Server]:
    """Return the servers that need no Kubernetes."""
    return [
        Server("containerd", ("/usr/bin/containerd", "--config", f"{run}/etc/containerd.toml")),
        Server(
            "registry",
            ("/usr/bin/docker-registry", "serve", f"{run}/etc/registry.yml"),
            {"OTEL_TRACES_EXPORTER": "none"},
        ),
    ]


def kubernetes_servers(run: Path, tools: Path) -> list[Server]:
    """Return the node's servers that talk to the API server."""
    etc = run / "etc"
    return [
        Server(
            "kubelet",
            (
                f"{tools}/kubelet",
                f"--config={etc}/kubelet.yaml",
                f"--kubeconfig={run}/pki/kubelet.kubeconfig",
                f"--hostname-override={layout.NODE}",
                f"--node-ip={layout.NODE_ADDRESS}",
                f"--root-dir={run}/kubelet",
                f"--cert-dir={run}/kubelet/pki",
            ),
        ),
        Server("kube-proxy", (f"{tools}/kube-proxy", f"--config={etc}/kube-proxy.yaml")),
        Server("coredns", (f"{tools}/coredns", "-conf", f"{etc}/Corefile")),
        Server(
            "gpu-plugin",
            (
                f"{tools}/gpu-plugin",
                "-dir",
                f"{run}/kubelet/plugins_registry",
                *(f"{name}={count}" for name, count in layout.DEVICES.items()),
            ),
        ),
        Server(
            "provisioner",
            (f"{tools}/provisioner", "-kubeconfig", f"{run}/pki/admin.kubeconfig", "-folder", f"{run}/volumes"),
        ),
    ]


def _containerd(run: Path) -> str:
    return f"""version = 2
root = "{kept_folder("containerd")}"
state = "{run}/containerd-state"
[grpc]
  address = "{run}/containerd.sock"
[ttrpc]
  address = "{run}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE}"
  stream_server_address = "127.0.0.1"
  disable_apparmor = true
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{run}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    discard_unpacked_layers = true
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{run}/runc"
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{run}/certs.d"
"""


def _cni(run: Path) -> dict[str, object]:
    address_range = {"subnet": layout.POD_NETWORK, "rangeStart": "10.244.0.10", "rangeEnd": "10.244.0.250"}
    ipam = {
        "type": "host-local",
        "dataDir": f"{run}/addresses",
        "ranges": [[address_range]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {
        "type": "bridge",
        "bridge": layout.BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": ipam,
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "0.4.0", "name": layout.NAME, "plugins": [bridge, portmap]}


def _registry() -> str:
    return f"""version: 0.1
log:
  level: warn
storage:
  filesystem:
    rootdirectory: {kept_folder("registry")}
  delete:
    enabled: true
http:
  addr: 0.0.0.0:5000
"""


def _kubelet(run: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": layout.NODE_ADDRESS,
        "readOnlyPort": 0,
        "healthzBindAddress": "127.0.0.1",
        "tlsCertFile": f"{run}/pki/kubelet.crt",
        "tlsPrivateKeyFile": f"{run}/pki/kubelet.key",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{run}/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": CGROUP,
        "failCgroupV1": False,
        "failSwapOn": False,
        "containerRuntimeEndpoint": f"unix://{run}/containerd.sock",
        "clusterDNS": [layout.NODE_ADDRESS],
        "clusterDomain": layout.CLUSTER_DOMAIN,
        "resolvConf": "",
        "podLogsDir": f"{run}/pod-logs",
        "makeIPTablesUtilChains": False,  # its chains would stay behind
        "serializeImagePulls": False,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "2%", "imagefs.available": "2%"},
        "imageGCHighThresholdPercent": 100,  # keeps the pause image
        "maxPods": 200,
        "nodeStatusUpdateFrequency": "2s",
        "nodeStatusReportFrequency": "30s",
    }


def _kube_proxy(run: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "bindAddress": layout.NODE_ADDRESS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "hostnameOverride": layout.NODE,
        "clientConnection": {"kubeconfig": f"{run}/pki/proxy.kubeconfig"},
        "nodePortAddresses": [f"{layout.NODE_ADDRESS}/32"],
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _corefile(run: Path) -> str:
    return f""".:53 {{
    bind {layout.NODE_ADDRESS}
    errors
    health 127.0.0.1:8180
    kubernetes {layout.CLUSTER_DOMAIN} in-addr.arpa {{
        kubeconfig {run}/pki/admin.kubeconfig {layout.NAME}
        pods insecure
        ttl 5
    }}
}}
"""
