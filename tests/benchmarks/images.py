"""Images of numpy, scikit-learn and pandas against buildah on this machine: `python -m tests.benchmarks.images`.

Both build upon the same base, install the same locked wheels from a warm cache of wheels, and push to the same kind of
registry (a process on loopback). Needs docker-registry and buildah of Debian, root, and the bench's Debian layer.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nbkube.client import Client
from nbkube.images.cache import ImageCache
from nbkube.images.lock import Locksmith, as_text
from nbkube.images.uv import Uv
from nbkube.runtime.distributions import installed
from tests import registries
from tests.benchmarks.measure import Line, show
from tests.building import write_notebook

FEW, MORE = 2, 5
LIBRARIES = "import numpy as np\nimport pandas as pd\nimport sklearn.svm"


def main() -> bool:
    """Measure and print; tell whether the bars are kept."""
    with tempfile.TemporaryDirectory(prefix="nbkube-images-") as name:
        folder = Path(name)
        layers = [registries.debian_layer().read_bytes(), _pip_layer()]  # before the cache is another one
        os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
        os.environ.setdefault("UV_CACHE_DIR", str(Path("~/.cache/uv").expanduser()))
        with registries.running(folder / "registry") as host:
            base = registries.push_base(host, "debian", layers)
            ours, theirs = Ours(folder, host, base), Theirs(folder, host, base)
            try:
                theirs.wheels(ours.lock(base))
                return show("Images of numpy, scikit-learn, pandas", _measure(ours, theirs, folder))
            finally:
                theirs.close()


def _measure(ours: Ours, theirs: Theirs, folder: Path) -> list[Line]:
    ours.build()  # uv's cache is warm from here on
    theirs.build()
    cold = _times(FEW, ours.build, before=ours.forget)
    their_cold = _times(FEW, theirs.build, before=theirs.forget)
    ours.build()
    edited = _times(MORE, ours.build, before=ours.edit)
    sent = ours.build().bytes_pushed
    their_edited = _times(FEW, theirs.build, before=theirs.edit)
    ours.build(bake=True)
    baked = _times(MORE, lambda: ours.build(bake=True), before=ours.edit)
    ours.edit()
    baked_sent = ours.build(bake=True).bytes_pushed
    more = _times(1, lambda: ours.build(extra=["lightgbm"]))
    more_sent, layer, wheel = ours.last.bytes_pushed, ours.largest_new(), ours.wheel("lightgbm")
    theirs.require("lightgbm")
    their_more = _times(1, theirs.build)
    second = Ours(folder / "second", ours.host, ours.base)
    second.build()
    return [
        Line("cold, wheels in the cache", cold, "s"),
        Line("  buildah", their_cold, "s"),
        Line("  buildah takes longer", their_cold / cold, "x", 3.0, at_least=True),
        Line("after a cell edit", edited, "s", 0.1),
        Line("  bytes sent", sent, "B", 0),
        Line("  buildah, code in the image", their_edited, "s"),
        Line("after a cell edit, baked", baked, "s"),
        Line("  bytes sent beyond the project's files", (baked_sent - ours.code()) / 1e3, "kB", 20),
        Line("  buildah takes longer", their_edited / baked, "x", 10, at_least=True),
        Line("one requirement more (lightgbm)", more, "s"),
        Line("  bytes sent beyond its layer", (more_sent - layer) / 1e3, "kB"),
        Line("  bytes sent beyond its wheel", (more_sent - wheel) / 1e3, "kB", 25),
        Line("  buildah", their_more, "s"),
        Line("  buildah takes longer", their_more / more, "x", 20, at_least=True),
        Line("second project in the registry, layers sent", second.last.layers_sent, "", 0),
        *(Line(f"in the image: {what}", seconds, "s", 0.3) for what, seconds in theirs.imports(ours.last.reference)),
    ]


def _times(count: int, work: Callable[[], object], before: Callable[[], None] = lambda: None) -> float:
    found = []
    for _ in range(count):
        before()
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return statistics.median(found)


class Ours:
    """A project with its profile, built by nbkube."""

    def __init__(self, folder: Path, host: str, base: str) -> None:
        self.host, self.base, self._edits = host, base, 0
        self.project = folder / "project"
        self.project.mkdir(parents=True)
        lines = ['default = "here"', "[profiles.here]", f'base = "{base}"', f'registry = "{host}/team"']
        (self.project / "nbkube.toml").write_text("\n".join([*lines, f'plain-http = ["{host}"]']))
        self.edit()

    def edit(self) -> None:
        """Change a cell."""
        self._edits += 1
        self._notebook = write_notebook(
            self.project / "work.ipynb",
            [("imports", LIBRARIES), ("step:a", f"x = np.ones({self._edits})"), ("step:b", "y = pd.Series(x)")],
        )

    def build(self, *, bake: bool = False, extra: list[str] | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN201
        """Build and push as the command does."""
        (self.last,) = Client(self.project).build(self._notebook, push=True, bake=bake, extra=extra or ())
        return self.last

    def forget(self) -> None:
        """Forget every layer, lock and look at the base; push to a place that has none."""
        shutil.rmtree(ImageCache().folder, ignore_errors=True)
        profile = self.project / "nbkube.toml"
        profile.write_text(profile.read_text().replace("/team", "/team-again"))

    def lock(self, base: str) -> str:
        """Return what is locked, lightgbm too, as a requirements file."""
        from nbkube.images.build import Builder, Settings

        found = Builder(Settings(base=base, plain_http=(self.host,)))._base()
        names = ["numpy", "scikit-learn", "pandas", "lightgbm"]
        self._lock = Locksmith(ImageCache(), Uv()).lock(names, installed().versions, found)
        return as_text(self._lock)

    def wheel(self, name: str) -> int:
        """Return the size of a wheel in bytes."""
        return next(one.size for one in self._lock.wheels if one.name == name)

    def largest_new(self) -> int:
        """Return the size of the layer that was made last."""
        newest = max((ImageCache().folder / "blobs").iterdir(), key=lambda path: path.stat().st_ctime_ns)
        return newest.stat().st_size

    def code(self) -> int:
        """Return the bytes of the project's files."""
        return self._notebook.stat().st_size


class Theirs:
    """The same by a Dockerfile and buildah: requirements, then code."""

    def __init__(self, folder: Path, host: str, base: str) -> None:
        self._folder, self._host, self._base, self._edits, self._round = folder / "buildah", host, base, 0, 0
        self._context = self._folder / "context"
        self._context.mkdir(parents=True)
        self._wheels = self._folder / "wheels"
        self.edit()

    def wheels(self, lock: str) -> None:
        """Fetch the wheels of a lock into a folder, from which pip installs without a network."""
        (self._folder / "lock.txt").write_text(lock)
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        subprocess.run([*argv, "-d", str(self._wheels), "-r", str(self._folder / "lock.txt")], check=True)
        self._lines = [line.split()[0] for line in lock.splitlines()]
        self._write([line for line in self._lines if not line.startswith("lightgbm")])

    def require(self, name: str) -> None:
        """Add a requirement."""
        self._write([line for line in self._lines if not line.startswith("lightgbm") or name == "lightgbm"])

    def _write(self, lines: list[str]) -> None:
        (self._context / "requirements.txt").write_text("\n".join(lines))
        install = "python3 -m pip install --quiet --no-index --find-links /wheels --break-system-packages"
        lines = [
            f"FROM {self._base}",
            "COPY requirements.txt /",
            f"RUN {install} -r /requirements.txt",
            "COPY code /app",
        ]
        (self._context / "Dockerfile").write_text("\n".join(lines))

    def edit(self) -> None:
        """Change the code."""
        self._edits += 1
        (self._context / "code").mkdir(exist_ok=True)
        (self._context / "code" / "main.py").write_text(f"x = {self._edits}\n")

    def close(self) -> None:
        """Remove all that is mounted."""
        self._buildah("rm", "--all")
        subprocess.run(["umount", str(self._folder / "root" / "overlay")], check=False, capture_output=True)

    def forget(self) -> None:
        """Forget all images."""
        self._buildah("rmi", "--all", "--force")
        self._round += 1

    def build(self) -> None:
        """Build with its layer cache and push."""
        name = f"{self._host}/buildah-{self._round}/steps:1"
        options = ["--layers", "--isolation", "chroot", "--tls-verify=false", "--volume", f"{self._wheels}:/wheels:ro"]
        self._buildah("bud", *options, "-t", name, str(self._context))
        self._buildah("push", "--tls-verify=false", name)

    def imports(self, image: str) -> list[tuple[str, float]]:
        """Return the seconds (median) that imports of the runtime take in a container of an image."""
        container = self._buildah("from", "--tls-verify=false", image).strip()
        modules = {
            "what a pod imports": ("nbkube.engines.argo.errand", "nbkube.storage.s3.store"),
            "what a step's process imports": ("nbkube.runtime.worker",),
        }
        found = []
        for what, names in modules.items():
            lines = "".join(f"import {name}\n" for name in names)
            code = f"import time\nbegan = time.perf_counter()\n{lines}print(time.perf_counter() - began)"
            run = ["run", "--isolation", "chroot", container, "--", "python3", "-c", code]
            self._buildah(*run)  # from then on the files are in memory
            found.append((what, statistics.median(float(self._buildah(*run)) for _ in range(MORE))))
        return found

    def _buildah(self, *argv: str) -> str:
        place = ["--root", str(self._folder / "root"), "--runroot", str(self._folder / "run")]
        command = [registries.program("buildah", "buildah"), *place, "--storage-driver", _driver(), *argv]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command}: {done.stderr[-2000:]}")
        return done.stdout


def _driver() -> str:
    """Return the faster storage driver that works on the file system of temporary files."""
    kind = subprocess.run(["stat", "-f", "-c", "%T", tempfile.gettempdir()], capture_output=True, text=True, check=True)
    return "vfs" if "overlay" in kind.stdout else "overlay"


def _pip_layer() -> bytes:
    """Return pip as a layer for the base: buildah's way needs it in the image."""
    from importlib import metadata

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    files = {}
    for file in metadata.files("pip") or ():
        path = Path(str(file.locate()))
        if path.is_file() and path.suffix != ".pyc" and ".." not in file.parts:
            files[f"usr/local/lib/python{version}/dist-packages/{file}"] = path.read_bytes()
    return registries.tar(files)


if __name__ == "__main__":
    kept = main()
    sys.exit(not kept)
