"""The cluster's certificate authority, certificates and kubeconfig files."""

from __future__ import annotations

import json
import subprocess
from base64 import b64encode
from pathlib import Path

from tests.cluster import layout
from tests.cluster.layout import BenchError

_SERVICE_NAMES = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
_API_SERVER_NAMES = ",".join(
    [
        *(f"IP:{ip}" for ip in ("127.0.0.1", layout.NODE_ADDRESS, layout.API_SERVICE_ADDRESS)),
        *(f"DNS:{name}" for name in (*_SERVICE_NAMES, f"kubernetes.default.svc.{layout.CLUSTER_DOMAIN}", "localhost")),
    ]
)
_CERTIFICATES = {
    # name: (subject, alternative names)
    "apiserver": ("/CN=kube-apiserver", _API_SERVER_NAMES),
    "apiserver-kubelet": ("/O=system:masters/CN=kube-apiserver-kubelet-client", ""),
    "kubelet": (f"/O=system:nodes/CN=system:node:{layout.NODE}", f"IP:{layout.NODE_ADDRESS},DNS:{layout.NODE}"),
    "admin": ("/O=system:masters/CN=bench-admin", ""),
    "controller-manager": ("/CN=system:kube-controller-manager", "IP:127.0.0.1,DNS:localhost"),
    "scheduler": ("/CN=system:kube-scheduler", "IP:127.0.0.1,DNS:localhost"),
    "proxy": ("/CN=system:kube-proxy", ""),
    "front-proxy": ("/CN=front-proxy-client", ""),
}
KUBECONFIGS = ("kubelet", "admin", "controller-manager", "scheduler", "proxy")


def make(folder: Path) -> None:
    """Write `ca`, all certificates (`NAME.crt`, `NAME.key`), `sa.key`, `sa.pub` and `NAME.kubeconfig` files."""
    folder.mkdir(mode=0o700)
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "ca.key")
    _openssl(
        folder, "req", "-x509", "-new", "-key", "ca.key", "-days", "365", "-subj", "/CN=bench-ca", "-out", "ca.crt"
    )
    _openssl(folder, "genrsa", "-out", "sa.key", "2048")
    _openssl(folder, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
    for name, (subject, names) in _CERTIFICATES.items():
        _certificate(folder, name, subject, names)
    for name in KUBECONFIGS:
        (folder / f"{name}.kubeconfig").write_text(json.dumps(_kubeconfig(folder, name), indent=1))


def serving_certificate(folder: Path, name: str, host: str) -> None:
    """Write the certificate of a server in the cluster, `NAME.crt` and `NAME.key`, signed by its authority."""
    _certificate(folder, name, f"/CN={host}", f"DNS:{host}")


def _certificate(folder: Path, name: str, subject: str, names: str) -> None:
    extensions = "extendedKeyUsage=serverAuth,clientAuth\nkeyUsage=critical,digitalSignature\n"
    extensions += f"subjectAltName={names}\n" if names else ""
    (folder / f"{name}.ext").write_text(extensions)
    _openssl(folder, "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{name}.key")
    _openssl(folder, "req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
    signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "365", "-extfile", f"{name}.ext"]
    _openssl(folder, "x509", "-req", "-in", f"{name}.csr", *signing, "-out", f"{name}.crt")


def _kubeconfig(folder: Path, name: str) -> dict[str, object]:
    def data(file: str) -> str:
        return b64encode((folder / file).read_bytes()).decode()

    cluster = {"server": layout.API_SERVER, "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": layout.NAME, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": layout.NAME, "context": {"cluster": layout.NAME, "user": name}}],
        "current-context": layout.NAME,
    }


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"openssl {arguments[0]} failed: {done.stderr.strip()}")
