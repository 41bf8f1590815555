"""The parts written in Go: Kubernetes, etcd, CoreDNS, our device plugin and provisioner, Argo, MinIO and others.

Each has a folder below `go/` with its own go.mod and go.sum, which fix every module by its hash. Nothing is linked
against C, so that Kubernetes' client library, which most of them share, is compiled once per version of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.cluster import layout
from tests.cluster.parts import Part, run

GO = layout.SOURCES / "go"
KUBERNETES_VERSION = "v1.34.4"
ARGO_VERSION = "v3.7.6"
METRICS_SERVER_VERSION = "v0.9.0"
KSERVE_VERSION = "v0.15.2"
SERVER_NAMES = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    "kube-proxy",
    "coredns",
)
_METRICS_SERVER_MODULE = "sigs.k8s.io/metrics-server"
_ARGO_MODULE = "github.com/argoproj/argo-workflows/v3"
_CHECKED_KINDS = {"workflows", "workflowtemplates", "cronworkflows"}
"""Kinds that people submit get Argo's full definitions; for the others these only cost the API server time."""
_KSERVE_MODULE = "github.com/kserve/kserve"
_KSERVE_MANIFESTS = ("rbac", "configmap", "manager", "webhook")
_FLAGS = ("-trimpath",)
_STRIPPED = "-s -w"


def parts() -> list[Part]:
    """Return the Go parts in the order in which tests need them."""
    return [
        _part("tools", 12, _make_tools, KUBERNETES_VERSION),
        _part("argo", 11, _make_argo, f"{ARGO_VERSION} {sorted(_CHECKED_KINDS)}"),
        _part("minio", 5, _make_minio, ""),
        _part("versitygw", 2, _make_versitygw, ""),
        _part("metrics-server", 4, _make_metrics_server, METRICS_SERVER_VERSION),
    ]


def kserve() -> Part:
    """Return KServe's controller, which only its own tests install: it is built when somebody asks for it."""
    return _part("kserve", 9, _make_kserve, KSERVE_VERSION)


def crane() -> Part:
    """Return a reader of images that has nothing in common with nbkube's code, for tests of images."""
    return _part("crane", 1, _make_crane, "")


def _part(name: str, minutes: float, make: Callable[[Path, Path], None], version: str) -> Part:
    folder = GO / name
    sources = tuple(sorted(path for path in folder.rglob("*") if path.suffix in {".go", ".mod", ".sum"}))
    recipe = f"{_FLAGS} {_STRIPPED} {version} {os.uname().machine}"
    return Part(name=name, minutes=minutes, sources=sources, recipe=recipe, make=make)


def _go(log: Path, cwd: Path, out: Path, *packages: str, stamps: tuple[str, ...] = ()) -> None:
    flags = " ".join([_STRIPPED, *(f"-X {stamp}" for stamp in stamps)])
    # GOFLAGS of the person who builds could choose another cache key or vendor mode.
    env = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local"}
    run(log, "go", "build", *_FLAGS, "-ldflags", flags, "-o", out, *packages, cwd=cwd, env=env)


def _make_tools(folder: Path, log: Path) -> None:
    major, minor, _ = KUBERNETES_VERSION.removeprefix("v").split(".")
    stamps = [f"{package}.gitVersion={KUBERNETES_VERSION}" for package in _VERSION_PACKAGES]
    stamps += [f"{package}.gitMajor={major}" for package in _VERSION_PACKAGES]
    stamps += [f"{package}.gitMinor={minor}" for package in _VERSION_PACKAGES]
    _go(log, GO / "tools", folder / "servers", ".", stamps=tuple(stamps))
    for name in SERVER_NAMES:
        (folder / name).symlink_to("servers")
    for name in ("gpu-plugin", "provisioner", "pause"):
        _go(log, GO / "tools", folder / name, f"./{name}")


_VERSION_PACKAGES = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


def _make_minio(folder: Path, log: Path) -> None:
    _go(log, GO / "minio", folder / "minio", "github.com/minio/minio")


def _make_versitygw(folder: Path, log: Path) -> None:
    _go(log, GO / "versitygw", folder / "versitygw", "github.com/versity/versitygw/cmd/versitygw")


def _make_crane(folder: Path, log: Path) -> None:
    _go(log, GO / "crane", folder / "crane", "github.com/google/go-containerregistry/cmd/crane")


def _make_metrics_server(folder: Path, log: Path) -> None:
    _go(log, GO / "metrics-server", folder / "metrics-server", f"{_METRICS_SERVER_MODULE}/cmd/metrics-server")
    source = _module_folder(log, "metrics-server", _METRICS_SERVER_MODULE)
    names = ("rbac", "deployment", "service", "apiservice")
    _as_json([source / f"manifests/base/{name}.yaml" for name in names], folder / "manifests.json")


def _make_kserve(folder: Path, log: Path) -> None:
    """Build the controller; keep the definition of what people write, and what the controller needs, as JSON."""
    _go(log, GO / "kserve", folder / "kserve-manager", f"{_KSERVE_MODULE}/cmd/manager")
    source = _module_folder(log, "kserve", _KSERVE_MODULE) / "config"
    _as_json(sorted((source / "crd/full").glob("serving.kserve.io_*.yaml")), folder / "definitions.json")
    files = [path for part in _KSERVE_MANIFESTS for path in sorted((source / part).glob("*.yaml"))]
    _as_json([path for path in files if path.stem != "kustomization"], folder / "manifests.json")


def _make_argo(folder: Path, log: Path) -> None:
    """Build controller and executor, and turn the full custom resource definitions into JSON.

    The module as published lacks `signal_linux.go`, a symbolic link in its repository (module archives carry no
    links): a copy of the module, with that file in its place, is compiled instead.
    """
    source = _patched_argo(folder, log)
    for name in ("go.mod", "go.sum"):
        shutil.copy(GO / "argo" / name, folder / name)
    run(log, "go", "mod", "edit", "-replace", f"{_ARGO_MODULE}={source}", folder / "go.mod")
    run(log, "go", "vet", f"{_ARGO_MODULE}/workflow/executor/osspecific", cwd=folder, env={"CGO_ENABLED": "0"})
    stamps = (f"{_ARGO_MODULE}.version={ARGO_VERSION}", f"{_ARGO_MODULE}.gitTreeState=clean")
    for name in ("workflow-controller", "argoexec"):
        _go(log, folder, folder / name, f"{_ARGO_MODULE}/cmd/{name}", stamps=stamps)
    for path in sorted((source / "manifests/base/crds/full").glob("argoproj.io_*.yaml")):
        kind = path.stem.removeprefix("argoproj.io_")
        chosen = path if kind in _CHECKED_KINDS else path.parent.with_name("minimal") / path.name
        _as_json([chosen], folder / "definitions" / f"{kind}.json")
    rbac = source / "manifests/cluster-install-no-crds/workflow-controller-rbac"
    _as_json([path for path in sorted(rbac.glob("*.yaml")) if path.stem != "kustomization"], folder / "manifests.json")
    shutil.rmtree(source)


def _patched_argo(folder: Path, log: Path) -> Path:
    source = folder / "source"
    unused = shutil.ignore_patterns("ui", "docs", "examples", "test")
    published = _module_folder(log, "argo", _ARGO_MODULE)
    shutil.copytree(published, source, ignore=unused, copy_function=shutil.copyfile)
    for path in (source, *(path for path in source.rglob("*") if path.is_dir())):
        path.chmod(0o755)  # the module cache is read-only
    specific = source / "workflow/executor/osspecific"
    shutil.copyfile(specific / "signal_darwin.go", specific / "signal_linux.go")
    return source


def _module_folder(log: Path, part: str, module: str) -> Path:
    """Return where the Go tool keeps the sources of `module`, in the version that the part's go.mod names."""
    run(log, "go", "mod", "download", module, cwd=GO / part)
    argv = ["go", "list", "-m", "-f", "{{.Dir}}", module]
    return Path(subprocess.run(argv, cwd=GO / part, capture_output=True, text=True, check=True).stdout.strip())


def _as_json(manifests: list[Path], target: Path) -> None:
    """Write all Kubernetes objects of some YAML files as one list: the API server reads JSON much faster."""
    import yaml

    target.parent.mkdir(exist_ok=True)
    objects = [one for path in manifests for one in yaml.load_all(path.read_bytes(), Loader=yaml.CSafeLoader) if one]
    target.write_text(json.dumps(objects))
