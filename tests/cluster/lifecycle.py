"""The bench from nothing to ready and back to nothing."""

from __future__ import annotations

import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tests.cluster import (
    addons,
    bench,
    control_plane,
    faults,
    golang,
    images,
    layout,
    network,
    node,
    pki,
    preflight,
    python_layers,
    teardown,
)
from tests.cluster.api import Api, has_condition
from tests.cluster.bench import S3, Bench, Images
from tests.cluster.images import Image
from tests.cluster.layout import BenchError
from tests.cluster.parts import Part, lock
from tests.cluster.servers import Servers, wait_until

Say = Callable[[str], None]


def parts() -> list[Part]:
    """Return all parts, in the order in which tests need them."""
    return [*golang.parts(), *python_layers.parts()]


def up(say: Say) -> Bench:
    """Start the bench unless it runs; raises BenchError naming everything this machine lacks.

    A bench some of whose servers are dead is mended, not made anew: others may be using it, perhaps have just killed
    a server for a test.
    """
    with lock(_lock_file(), say):
        if is_up() or _mend(say):
            return bench.read()
        built = parts()
        if lacks := preflight.missing_to_run(built):
            raise BenchError("the bench cannot be started:\n" + "\n".join(f"  - {line}" for line in lacks))
        teardown.remove_everything()
        started = time.monotonic()
        try:
            made = _Start(
                {part.name: part for part in built}, lambda text: say(f"{time.monotonic() - started:5.1f} s  {text}")
            ).run()
        except BaseException:
            say("the start failed; logs of the servers are kept until the next start")
            teardown.remove_everything(keep_logs=True)
            raise
        bench.write(made)
        return made


def down(say: Say) -> None:
    """Stop the bench and remove all it made, whatever state it is in."""
    with lock(_lock_file(), say):
        started = time.monotonic()
        teardown.remove_everything()
        say(f"down after {time.monotonic() - started:.1f} s")


def is_started() -> bool:
    """Tell whether there is a bench, be it whole or hurt."""
    return (layout.run_folder() / "bench.json").exists() and network.NAMESPACE_FILE.exists()


def is_up() -> bool:
    """Tell whether all servers of a started bench run and its API server answers."""
    servers = Servers(layout.run_folder())
    if not is_started() or set(servers.running()) != set(servers.names()):
        return False
    try:
        return bool(Api(bench.read().kubeconfig).get("/readyz") == "ok")
    except (OSError, BenchError):
        return False


def _mend(say: Say) -> bool:
    """Start the dead servers of a bench that was up; false when there is none, or it cannot be mended."""
    if not is_started():
        return False
    found = bench.read()
    with faults.lock(found):
        servers = Servers(layout.run_folder())
        dead = sorted(set(servers.names()) - set(servers.running()))
        say(f"the bench is hurt; starting again: {', '.join(dead) or 'nothing, waiting for its API server'}")
        try:
            for name in dead:
                servers.start_again(name)
            faults.start(found, "kube-apiserver")
        except BenchError as error:
            say(f"it cannot be mended: {error}")
            return False
    return True


def load_image(checkout: Path) -> Images:
    """Push the images with nbkube as it is in `checkout` and return the references of all images of the running bench.

    The layers below are in the registry already, so this takes the seconds of building a wheel. The images have
    digests of their own: who uses others is not disturbed.
    """
    base, tensorflow = _push_step_images(checkout)
    return Images(base=base, tensorflow=tensorflow, argoexec=bench.read().images.argoexec)


def _push_step_images(checkout: Path) -> tuple[str, str]:
    built = {part.name: part for part in python_layers.parts()}
    for part in built.values():
        if not part.is_built:
            raise BenchError(f"{part.name} is not built yet for these libraries; `python -m tests.cluster build`")
    layers = {name: python_layers.built_layer(part) for name, part in built.items()}
    nbkube = python_layers.nbkube_layer(checkout, layout.cache_folder() / "nbkube")
    base, tensorflow = (images.push(python_layers.step_image(large, layers, nbkube)) for large in (False, True))
    return base, tensorflow


class _Start:
    """One start of the bench: what can happen at the same time does."""

    def __init__(self, built: dict[str, Part], say: Say) -> None:
        self._folders = {name: part.use() for name, part in built.items()}
        self._say = say
        self._run = layout.run_folder()
        self._servers = Servers(self._run)
        self._pool = ThreadPoolExecutor(8)
        self._tools = self._folders["tools"]

    def run(self) -> Bench:
        self._prepare()
        keys = [S3(f"http://{address}", secrets.token_hex(10), secrets.token_hex(20)) for address in _S3_ADDRESSES]
        self._servers.start(control_plane.etcd(self._tools))
        self._servers.start(control_plane.api_server(self._run, self._tools))
        for server in node.container_servers(self._run):
            self._servers.start(server)
        self._servers.start(control_plane.minio(self._run, self._folders["minio"], keys[0]))
        self._servers.start(control_plane.versitygw(self._run, self._folders["versitygw"], keys[1]))
        pushed = self._pool.submit(self._push_images)
        self._wait_for_url(f"{layout.API_SERVER}/readyz", "kube-apiserver")
        self._say("API server ready")
        for server in (
            *control_plane.followers(self._run, self._tools),
            *node.kubernetes_servers(self._run, self._tools),
        ):
            self._servers.start(server)
        references = self._install(Api(self._kubeconfig), pushed)
        return Bench(
            run=str(self._run),
            kubeconfig=self._kubeconfig,
            api_server=layout.API_SERVER,
            registry=layout.REGISTRY,
            node_registry=layout.NODE_REGISTRY,
            minio=keys[0],
            versitygw=keys[1],
            images=references,
        )

    @property
    def _kubeconfig(self) -> str:
        return str(self._run / "pki" / "admin.kubeconfig")

    def _prepare(self) -> None:
        self._run.mkdir(mode=0o755, parents=True)
        network.make()
        teardown.make_cgroups()
        layout.memory_folder().mkdir(mode=0o700)
        pki.make(self._run / "pki")
        node.write_configuration(self._run)
        self._say("network, certificates and configuration made")

    def _push_images(self) -> Images:
        self._wait_for_url(f"http://{layout.REGISTRY}/v2/", "registry")
        _push_program("pause", node.PAUSE.rpartition(":")[2], "tools")
        _push_program("workflow-controller", golang.ARGO_VERSION, "argo")
        _push_program("metrics-server", golang.METRICS_SERVER_VERSION, "metrics-server")
        argoexec = _push_program("argoexec", golang.ARGO_VERSION, "argo")
        base, tensorflow = _push_step_images(layout.CHECKOUT)
        return Images(base=base, tensorflow=tensorflow, argoexec=argoexec)

    def _install(self, api: Api, pushed: Future[Images]) -> Images:
        definitions = self._pool.submit(addons.install_argo_definitions, api, self._folders["argo"])
        addons.install_storage_class(api)
        references = pushed.result()
        self._say("images are in the registry")
        self._pull(references)
        addons.install_metrics_server(api, self._folders["metrics-server"])
        definitions.result()
        self._say("Argo's full definitions are served")
        addons.install_argo(api, self._folders["argo"])
        self._wait_for_node(api)
        self._say("node ready, with its devices")
        self._wait_for_url(f"http://{layout.MINIO_ADDRESS}/minio/health/live", "minio")
        self._wait_for_url(f"http://{layout.VERSITYGW_ADDRESS}/", "versitygw", (403,))
        addons.wait_for_argo(api)
        self._say("Argo's controller ready")
        addons.wait_for_metrics(api)
        self._say("metrics ready")
        return references

    def _wait_for_node(self, api: Api) -> None:
        path = f"/api/v1/nodes/{layout.NODE}"
        api.wait(path, has_condition("Ready"), 60, "the node")
        wanted = {name: str(count) for name, count in layout.DEVICES.items()}
        api.wait(path, lambda found: wanted.items() <= found["status"]["allocatable"].items(), 60, "the node's devices")
        api.wait("/api/v1/namespaces/default/serviceaccounts/default", bool, 60, "the default service account")

    def _pull(self, references: Images) -> None:
        """Have the node fetch what pods need, in the background, so that no test waits for it."""
        ctr = ["/usr/bin/ctr", f"--address={self._run}/containerd.sock", "--namespace=k8s.io", "images", "pull"]
        pull = ["xargs", "--max-args=1", *ctr, f"--hosts-dir={self._run}/certs.d"]
        wanted = "\n".join([references.argoexec, references.base, references.tensorflow])
        process = subprocess.Popen(
            network.inside(pull),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if process.stdin:
            process.stdin.write(wanted.encode())
            process.stdin.close()
        process.returncode = 0  # it outlives this process; a stop of the bench finds it in the network namespace

    def _wait_for_url(self, url: str, name: str, accepted: tuple[int, ...] = (200,)) -> None:
        def answers() -> bool:
            if self._servers.pid(name) is None:
                raise BenchError(f"{name} has ended; its last words:\n{self._servers.log(name)}")
            return _status(url, self._run / "pki" / "ca.crt") in accepted

        wait_until(answers, 60, f"{name} to answer at {url}")


_S3_ADDRESSES = (layout.MINIO_ADDRESS, layout.VERSITYGW_ADDRESS)


def _status(url: str, authority: Path) -> int:
    import ssl

    context = ssl.create_default_context(cafile=str(authority)) if url.startswith("https") else None
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def _push_program(program: str, tag: str, part: str) -> str:
    """Push the image of one Go program and return its reference by digest."""
    return push_program(program, tag, next(one for one in golang.parts() if one.name == part).folder)


def push_program(program: str, tag: str, folder: Path) -> str:
    """Push the image of a program in a part's folder and return its reference by digest."""
    layer_file = layout.cache_folder() / "programs" / f"{folder.name}-{program}.tar"
    layer_file.parent.mkdir(exist_ok=True)
    layer = images.seal(layer_file) if layer_file.exists() else images.program_layer(layer_file, folder / program)
    config = {"Entrypoint": [f"/bin/{program}"], "User": f"{images.USER}", "Env": ["PATH=/bin", "HOME=/tmp"]}
    return images.push(Image(name=f"nbkube/{program}", tag=tag, layers=(layer,), config=config))


def _lock_file() -> Path:
    return Path("/run/lock") / f"{layout.NAME}.lock"


def describe(found: Bench) -> str:
    """Return a table of a running bench for people."""
    rows = {
        "kubeconfig": found.kubeconfig,
        "API server": found.api_server,
        "registry": f"{found.registry} (in image references: {found.node_registry})",
        "MinIO": found.minio.endpoint,
        "versitygw": found.versitygw.endpoint,
        "image": found.images.base,
        "with TensorFlow": found.images.tensorflow,
        "keys and the rest": f"{found.run}/bench.json",
    }
    return "\n".join(f"  {name:18} {value}" for name, value in rows.items())
