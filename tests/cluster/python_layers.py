"""The layers of the images that steps run in: Debian's Python, the distributions of this environment, nbkube itself.

The distributions are copied from the environment that runs this code, so laptop and pods agree in every version and
share cached results. They lie where Debian's Python looks for locally installed packages.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import msgspec

from tests.cluster.images import USER, Image, Layer, seal, tree_entries, write_layer
from tests.cluster.layout import BenchError
from tests.cluster.parts import Part, run

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
TAG = f"py{PYTHON.replace('.', '')}"
SITE = f"usr/local/lib/python{PYTHON}/dist-packages"
CONFIG = {
    "User": f"{USER}:{USER}",
    "Env": [
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "LANG=C.UTF-8",
        "HOME=/tmp",  # the one folder that is writable in a pod with a read-only root and a volume there
    ],
    "Cmd": ["/usr/bin/python3"],
}


def parts() -> list[Part]:
    """Return the parts that become image layers, from the lowest up.

    The large libraries come before what nbkube itself needs, which changes more often; a distribution that is in two
    layers is there in one version, since all come from one environment. Images with Python have pip, as a rule: so has
    this one.
    """
    libraries, tensorflow = closure("examples"), closure("tensorflow")
    extra = {name: version for name, version in tensorflow.items() if name not in libraries}
    return [
        Part("debian", 3, (), f"{_release()} python{PYTHON} {_DROPPED}", _make_debian),
        _part("libraries", 1.5, libraries),
        _part("tensorflow", 3, extra, left_out="include"),
        _part("packages", 0.5, runtime()),
    ]


def runtime() -> dict[str, str]:
    """Return what is in every image beside nbkube: what it needs, and pip."""
    return closure("") | {"pip": importlib.metadata.version("pip")}


def closure(extra: str) -> dict[str, str]:
    """Return name and version of all distributions that one extra of nbkube needs here; "" is nbkube without extras."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [("nbkube", extra)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            raise BenchError(f"{name} is not installed here; run `make .venv/.test`") from None
        found[name] = distribution.version
        for requirement in map(Requirement, distribution.requires or ()):
            if _applies(requirement.marker, wanted):
                names = {"", *requirement.extras}
                waiting += [(canonicalize_name(requirement.name), one) for one in names]
    del found["nbkube"]
    return dict(sorted(found.items()))


def _applies(marker: Any, extra: str) -> bool:
    """Tell whether a requirement with this marker belongs to `extra`, and not to the distribution anyway."""
    if marker is None:
        return extra == ""
    here = bool(marker.evaluate({"extra": extra}))
    return here and (extra == "" or not marker.evaluate({"extra": ""}))


def _part(name: str, minutes: float, versions: dict[str, str], left_out: str = "") -> Part:
    """Return the part of some distributions, without folders called `left_out` (TensorFlow has 13,000 C++ headers)."""
    listed = " ".join(f"{name}=={version}" for name, version in versions.items())
    recipe = f"python{PYTHON} {listed}{f' without {left_out}' if left_out else ''}"
    return Part(name, minutes, (), recipe, lambda folder, log: _make_packages(versions, left_out, folder, log))


def step_image(with_tensorflow: bool, layers: dict[str, Layer], nbkube: Layer) -> Image:
    """Return the image of steps; `layers` are those of the built parts by name, the lowest first."""
    name = "nbkube/tensorflow" if with_tensorflow else "nbkube/base"
    stack = (*(layer for part, layer in layers.items() if with_tensorflow or part != "tensorflow"), nbkube)
    return Image(name=name, tag=f"{TAG}-{nbkube.digest[7:19]}", layers=stack, config=CONFIG)


def nbkube_layer(checkout: Path, folder: Path) -> Layer:
    """Build nbkube's wheel from `checkout` and return the layer in which it is installed."""
    key = _source_key(checkout)
    record = folder / f"nbkube-{key}.json"
    if record.exists():
        return msgspec.json.decode(record.read_bytes(), type=Layer)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nbkube-layer-") as temporary:
        tree, wheels = Path(temporary) / "tree", Path(temporary) / "wheels"
        argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(wheels)]
        env = {**os.environ, "NBKUBE_LABEXTENSION": "skip"}  # pods have no use for it, and it takes node to build
        done = subprocess.run(argv, cwd=checkout, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"nbkube's wheel cannot be built: {done.stderr.strip()[-500:]}")
        with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
            wheel.extractall(tree / SITE)
        script = tree / "usr/local/bin/nbkube"
        script.parent.mkdir(parents=True)
        script.write_text("#!/usr/bin/python3\nimport sys\n\nfrom nbkube.cli import main\n\nsys.exit(main())\n")
        script.chmod(0o755)
        _compile(tree)
        layer = write_layer(folder / f"nbkube-{key}.tar", tree_entries(tree))
    record.write_bytes(msgspec.json.encode(layer))
    return layer


def built_layer(part: Part) -> Layer:
    """Return the layer that a built part holds."""
    return msgspec.json.decode((part.use() / "layer.json").read_bytes(), type=Layer)


def _source_key(checkout: Path) -> str:
    digest = hashlib.sha256()
    files = [path for path in sorted((checkout / "nbkube").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
    for path in [checkout / "pyproject.toml", checkout / "README.md", *files]:
        digest.update(f"{path.relative_to(checkout)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


_DROPPED = ("usr/share/doc/*", "usr/share/locale/*", "usr/share/man/*", "var/lib/apt/lists/*", "var/cache/apt/*")


def _make_debian(folder: Path, log: Path) -> None:
    """Bootstrap Debian with its Python by the package archive this machine uses; add the user of steps."""
    root = folder / "root"
    site = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=True
    )
    options = ["--variant=minbase", "--include=python3,ca-certificates"]
    run(log, "debootstrap", *options, _release(), root, site.stdout.splitlines()[0])
    if not (root / f"usr/bin/python{PYTHON}").exists():
        raise BenchError(f"Debian {_release()} has no Python {PYTHON}; run this with the Python of the distribution")
    for pattern in (*_DROPPED, "dev/*", "proc/*", "sys/*"):
        for path in root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    for name, line in (("passwd", f"nbkube:x:{USER}:{USER}::/tmp:/bin/sh\n"), ("group", f"nbkube:x:{USER}:\n")):
        with (root / "etc" / name).open("a") as file:
            file.write(line)
    run(log, "tar", "--create", "--sort=name", "--numeric-owner", f"--file={folder / 'layer.tar'}", "-C", root, ".")
    shutil.rmtree(root)
    _record(folder)


def _make_packages(versions: dict[str, str], left_out: str, folder: Path, log: Path) -> None:
    tree = folder / "tree"
    for name in versions:
        _copy_distribution(importlib.metadata.distribution(name), tree, left_out)
    log.write_text(f"copied {len(versions)} distributions\n")
    _compile(tree)
    write_layer(folder / "layer.tar", tree_entries(tree))
    shutil.rmtree(tree)
    _record(folder)


def packages_layer(versions: dict[str, str], folder: Path) -> Layer:
    """Return a layer with these distributions of this environment, written into `folder`."""
    _make_packages(versions, "", folder, folder / "log")
    return msgspec.json.decode((folder / "layer.json").read_bytes(), type=Layer)


def _copy_distribution(distribution: importlib.metadata.Distribution, tree: Path, left_out: str) -> None:
    """Copy a distribution's files to where they belong in the image; programs get Debian's Python as interpreter."""
    prefix = Path(sys.prefix)
    for file in distribution.files or ():
        source = Path(os.path.normpath(str(distribution.locate_file(file))))
        if source.suffix == ".pyc" or left_out in file.parts or not source.is_file():
            continue
        # Files outside the packages' folder lie in bin/, share/ or etc/ of the environment.
        outside = ".." in file.parts
        target = tree / "usr/local" / source.relative_to(prefix) if outside else tree / SITE / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if os.access(source, os.X_OK):
            target.chmod(0o755)
        if target.parent.name == "bin":
            _set_interpreter(target)


def _set_interpreter(script: Path) -> None:
    first, newline, rest = script.read_bytes().partition(b"\n")
    if first.startswith(b"#!") and b"python" in first:
        script.write_bytes(b"#!/usr/bin/python3" + newline + rest)


def _compile(tree: Path) -> None:
    """Compile all modules: the user of a step cannot keep what its Python compiles. Times play no part in validity."""
    argv = [sys.executable, "-m", "compileall", "-qq", "-j", "2", "--invalidation-mode", "unchecked-hash"]
    # Some distributions carry templates and tests in other versions of the language: those stay uncompiled.
    subprocess.run([*argv, "-s", str(tree), "-p", "/", str(tree / SITE)], capture_output=True, check=False)


def _record(folder: Path) -> None:
    (folder / "layer.json").write_bytes(msgspec.json.encode(seal(folder / "layer.tar")))


def _release() -> str:
    """Return the code name of this machine's Debian."""
    for line in Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise BenchError("this is no Debian: the base image of the bench is made by debootstrap")
