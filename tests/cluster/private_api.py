"""An API server of a test's own, on loopback, so that it can be killed without disturbing anyone: etcd and the API
server of the bench's built parts, no node."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import msgspec
import yaml

from tests.cluster import golang
from tests.cluster.servers import end, wait_until

TOKEN, USER_TOKEN = "admin-of-a-test", "user-of-a-test"


class PrivateApi:
    """Start it with `with`; all its processes end with the block."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tools = next(part.folder for part in golang.parts() if part.name == "tools")
        self._etcd, self._peer, self._port = _free_ports(3)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.kubeconfig = folder / "kubeconfig"

    @staticmethod
    def lacks() -> str:
        """Return why there can be none here, or ""."""
        built = next(part.is_built for part in golang.parts() if part.name == "tools")
        return "" if built else "the part tools is not built: python -m tests.cluster build --only tools"

    def __enter__(self) -> PrivateApi:
        subprocess.run(
            ["openssl", "genrsa", "-out", str(self._folder / "sa.key"), "2048"], check=True, capture_output=True
        )
        (self._folder / "tokens").write_text(f'{TOKEN},admin,1,"system:masters"\n{USER_TOKEN},ada,2\n')
        address, peer = f"http://127.0.0.1:{self._etcd}", f"http://127.0.0.1:{self._peer}"
        self._run(
            "etcd",
            f"--data-dir={self._folder / 'data'}",
            f"--listen-client-urls={address}",
            f"--advertise-client-urls={address}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )
        self.start()
        self._write_kubeconfig()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            # A stopped process would not hear the others.
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
        end([process.pid for process in self._processes.values() if process.poll() is None])
        for process in self._processes.values():
            process.wait(10)

    def start(self) -> None:
        """Start the API server and wait until it is ready."""
        self._run(
            "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{self._etcd}",
            f"--secure-port={self._port}",
            "--bind-address=127.0.0.1",
            f"--cert-dir={self._folder / 'certificates'}",
            f"--service-account-key-file={self._folder / 'sa.key'}",
            f"--service-account-signing-key-file={self._folder / 'sa.key'}",
            "--service-account-issuer=https://private",
            "--service-cluster-ip-range=10.97.0.0/16",
            "--authorization-mode=Node,RBAC",
            f"--token-auth-file={self._folder / 'tokens'}",
            "--endpoint-reconciler-type=none",
            "--disable-admission-plugins=ServiceAccount",
        )
        wait_until(self._is_ready, 60, "the private API server")

    def signal(self, number: int) -> None:
        """Send a signal to the API server; after one that ends it, wait until it is gone."""
        process = self._processes["kube-apiserver"]
        process.send_signal(number)
        if number not in (signal.SIGSTOP, signal.SIGCONT):
            process.wait(60)

    def forget_history(self) -> None:
        """Compact etcd up to now: with a new API server, older versions are expired."""
        range_ = {"key": "AA=="}
        revision = self._etcd_call("kv/range", range_)["header"]["revision"]
        self._etcd_call("kv/compaction", {"revision": revision, "physical": True})

    def _etcd_call(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"http://127.0.0.1:{self._etcd}/v3/{what}", msgspec.json.encode(body))
        with urllib.request.urlopen(request, timeout=10) as answer:
            found: dict[str, Any] = msgspec.json.decode(answer.read())
        return found

    def _run(self, name: str, *flags: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["nice", str(self._tools / name), *flags], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder)},
            )  # fmt: skip

    def _is_ready(self) -> bool:
        import ssl

        certificate = self._folder / "certificates" / "apiserver.crt"
        if not certificate.exists():
            return False
        context = ssl.create_default_context(cafile=str(certificate))
        request = urllib.request.Request(
            f"https://127.0.0.1:{self._port}/readyz", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, context=context, timeout=2) as answer:
            return bool(answer.status == 200)

    def _write_kubeconfig(self) -> None:
        server = {
            "server": f"https://127.0.0.1:{self._port}",
            "certificate-authority": str(self._folder / "certificates" / "apiserver.crt"),
        }
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "private", "cluster": server}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}, {"name": "ada", "user": {"token": USER_TOKEN}}],
            "contexts": [
                {"name": "private", "context": {"cluster": "private", "user": "admin"}},
                {"name": "ada", "context": {"cluster": "private", "user": "ada"}},
            ],
            "current-context": "private",
        }
        self.kubeconfig.write_text(yaml.safe_dump(document))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
