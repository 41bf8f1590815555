"""etcd, API server, controller manager and scheduler, and the two S3 servers beside them."""

from __future__ import annotations

from pathlib import Path

from tests.cluster import layout
from tests.cluster.bench import S3
from tests.cluster.servers import Server

_ETCD = "http://127.0.0.1:12379"
_ETCD_PEER = "http://127.0.0.1:12380"


def etcd(tools: Path) -> Server:
    """Return the data store of the API server; it listens inside the namespace only, where pods cannot reach it."""
    return Server(
        "etcd",
        (
            f"{tools}/etcd",
            f"--data-dir={layout.memory_folder()}",
            f"--listen-client-urls={_ETCD}",
            f"--advertise-client-urls={_ETCD}",
            f"--listen-peer-urls={_ETCD_PEER}",
            f"--initial-advertise-peer-urls={_ETCD_PEER}",
            f"--initial-cluster=default={_ETCD_PEER}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
    )


def api_server(run: Path, tools: Path) -> Server:
    """Return the API server; TLS and RBAC are on."""
    pki = run / "pki"
    return Server(
        "kube-apiserver",
        (
            f"{tools}/kube-apiserver",
            f"--etcd-servers={_ETCD}",
            f"--bind-address={layout.NODE_ADDRESS}",
            f"--advertise-address={layout.NODE_ADDRESS}",
            "--secure-port=6443",
            f"--service-cluster-ip-range={layout.SERVICE_NETWORK}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt",
            f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{layout.CLUSTER_DOMAIN}",
            f"--service-account-key-file={pki}/sa.pub",
            f"--service-account-signing-key-file={pki}/sa.key",
            f"--requestheader-client-ca-file={pki}/ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            "--allow-privileged=true",
            "--profiling=false",
        ),
    )


def followers(run: Path, tools: Path) -> list[Server]:
    """Return controller manager and scheduler: started once the API server is ready, they save a round of refusals."""
    pki = run / "pki"

    def common(name: str) -> tuple[str, ...]:
        return (
            f"{tools}/kube-{name}",
            f"--kubeconfig={pki}/{name}.kubeconfig",
            f"--tls-cert-file={pki}/{name}.crt",
            f"--tls-private-key-file={pki}/{name}.key",
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--authentication-skip-lookup=true",
            "--profiling=false",
        )

    autoscaler = "--horizontal-pod-autoscaler"
    return [
        Server(
            "kube-controller-manager",
            (
                *common("controller-manager"),
                "--use-service-account-credentials=true",
                f"--service-account-private-key-file={pki}/sa.key",
                f"--root-ca-file={pki}/ca.crt",
                f"--cluster-signing-cert-file={pki}/ca.crt",
                f"--cluster-signing-key-file={pki}/ca.key",
                f"{autoscaler}-sync-period=5s",
                f"{autoscaler}-cpu-initialization-period=10s",
                f"{autoscaler}-initial-readiness-delay=5s",
                f"{autoscaler}-downscale-stabilization=10s",
            ),
        ),
        Server("kube-scheduler", common("scheduler")),
    ]


def minio(run: Path, folder: Path, keys: S3) -> Server:
    """Return the S3 server that most tests use."""
    (run / "minio").mkdir(exist_ok=True)
    return Server(
        "minio",
        (f"{folder}/minio", "server", "--address", layout.MINIO_ADDRESS, f"{run}/minio"),
        {"MINIO_ROOT_USER": keys.access_key, "MINIO_ROOT_PASSWORD": keys.secret_key, "MINIO_BROWSER": "off"},
    )


def versitygw(run: Path, folder: Path, keys: S3) -> Server:
    """Return the second S3 server: what holds on both is no habit of one."""
    (run / "versitygw").mkdir(exist_ok=True)
    return Server(
        "versitygw",
        (f"{folder}/versitygw", "--port", layout.VERSITYGW_ADDRESS, "--quiet", "posix", f"{run}/versitygw"),
        {"ROOT_ACCESS_KEY": keys.access_key, "ROOT_SECRET_KEY": keys.secret_key},
    )
