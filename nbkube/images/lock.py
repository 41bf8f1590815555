"""Requirements to exact wheels, each with its hash: uv resolves, the answer is kept for the same question."""

from __future__ import annotations

import hashlib
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from nbkube.errors import BuildError
from nbkube.images.cache import ImageCache
from nbkube.images.model import Base, Lock, Wheel
from nbkube.images.plan import has
from nbkube.images.uv import Uv

RUNTIME = ("ipython", "minio", "msgspec", "urllib3")
"""What nbkube itself needs in a pod, without versions."""

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_MANYLINUX = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)


def target_options(base: Base) -> list[str]:
    """Return the options by which uv chooses wheels for a base image rather than for this machine."""
    return ["--python-version", base.python, "--python-platform", platform(base)]


def platform(base: Base) -> str:
    """Return the platform of a base in uv's words.

    Raises:
        BuildError: no wheels are made for it.
    """
    machine = _MACHINES.get(base.architecture)
    if machine is None:
        raise BuildError(f"{base.reference} is for {base.architecture}. Fix: use a base for amd64 or arm64.")
    if base.libc == "musl":
        return f"{machine}-unknown-linux-musl"
    minor = int(base.libc_version.partition(".")[2] or 28)
    return f"{machine}-manylinux_2_{max((one for one in _MANYLINUX if one <= minor), default=17)}"


class Locksmith:
    """Makes locks.

    Args:
        cache: where answers are kept.
        uv: the program.
        refresh: ask anew, whatever is kept.
    """

    def __init__(self, cache: ImageCache, uv: Uv, *, refresh: bool = False) -> None:
        self._cache = cache
        self._uv = uv
        self._refresh = refresh

    def lock(self, requirements: Iterable[str], installed: Mapping[str, str], base: Base) -> Lock:
        """Return the wheels of requirements and of nbkube's own.

        Args:
            requirements: PEP 508, one each.
            installed: versions to keep to where one of these distributions is needed.
            base: the image they are to run upon.

        Raises:
            BuildError: the requirements cannot be met.
            RegistryError: the package index cannot be reached.
        """
        wanted = sorted({*requirements})
        pins = [f"{name}=={version}" for name, version in sorted(installed.items()) if _is_plain(version)]
        there = [f"{name}=={version}" for name, version in sorted(base.distributions.items()) if base.cuda]
        question = "\n".join([*wanted, "--", *pins, "--", *RUNTIME, *target_options(base), "--", *there])
        key = hashlib.sha256(question.encode()).hexdigest()
        known = None if self._refresh else self._cache.note("locks", key, Lock)
        if known is not None:
            return known
        wheels = self._resolve([*wanted, *RUNTIME], pins, base)
        exact = [f"{one.name}=={one.version}" for one in wheels]
        kept = [one.name for one in wheels if has(base, one)] if base.cuda else []
        if kept:
            # What the base has is there with all it needs, so CUDA does not come once more with a framework's wheels.
            wheels = self._resolve([*wanted, *RUNTIME], exact, base, kept)
        own = self._resolve(list(RUNTIME), exact, base, near=True)
        lock = Lock(wheels, tuple(one.name for one in own))
        self._cache.keep_note("locks", key, lock)
        return lock

    def _resolve(
        self,
        requirements: list[str],
        constraints: list[str],
        base: Base,
        without: Iterable[str] = (),
        *,
        near: bool = False,
    ) -> tuple[Wheel, ...]:
        """Ask uv; with `near`, its cache before the index: where all versions are fixed, both answer the same."""
        with tempfile.TemporaryDirectory(dir=self._cache.work) as name:
            folder = Path(name)
            (folder / "constraints.txt").write_text("\n".join(constraints), encoding="utf-8")
            never = "\n".join(f'{name} ; python_version < "3"' for name in without)
            (folder / "overrides.txt").write_text(never, encoding="utf-8")
            options = [
                "--constraints",
                "constraints.txt",
                "--overrides",
                "overrides.txt",
                "--only-binary",
                ":all:",
                *target_options(base),
            ]
            options += ["--upgrade"] if self._refresh else []
            text = self._uv.compile(options, "\n".join(requirements), folder, near=near)
        return read_wheels(text)


def read_wheels(text: str) -> tuple[Wheel, ...]:
    """Return the wheels of a pylock.toml that was made for one platform, by name.

    Raises:
        BuildError: a package of it is no wheel of an index.
    """
    found = []
    for package in tomllib.loads(text).get("packages", ()):
        name, version = package["name"], package.get("version", "")
        wheels = package.get("wheels") or ()
        if not wheels:
            where = next((kind for kind in ("vcs", "directory", "archive", "sdist") if kind in package), "nothing")
            raise BuildError(
                f"{name} comes from {_KINDS.get(where, 'nowhere')}, so that no fixed wheel goes into the image. Fix: "
                f"build one (pip wheel --no-deps … -w wheels), set UV_FIND_LINKS=wheels and require {name} by version."
            )
        best = wheels[0]
        address = best.get("url") or best.get("path") or ""
        filename = best.get("name") or unquote(urlsplit(address).path.rpartition("/")[2])
        found.append(Wheel(name, version, filename, best["hashes"]["sha256"], int(best.get("size", 0))))
    return tuple(sorted(found, key=lambda one: one.name))


_KINDS = {"vcs": "a repository", "directory": "a folder", "archive": "an address", "sdist": "sources"}


def _is_plain(version: str) -> bool:
    # What only this machine has (1.0+local, editable installs) cannot hold others back.
    return bool(version) and "+" not in version


def as_text(lock: Lock) -> str:
    """Return a lock for people and tools: a requirements file with hashes."""
    return "".join(f"{one.name}=={one.version} --hash=sha256:{one.sha256}\n" for one in lock.wheels)


def sbom(lock: Lock, name: str) -> bytes:
    """Return what is in the image as CycloneDX 1.5 JSON; no dates and no serial number, so that equal stays equal."""
    components = [
        {
            "type": "library",
            "name": one.name,
            "version": one.version,
            "purl": f"pkg:pypi/{one.name}@{one.version}",
            "hashes": [{"alg": "SHA-256", "content": one.sha256}],
        }
        for one in lock.wheels
    ]
    head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1}
    body = {**head, "metadata": {"component": {"type": "container", "name": name}}, "components": components}
    return msgspec.json.format(msgspec.json.encode(body), indent=2) + b"\n"
