"""Small wheels made for a test, in a folder that uv takes for its only index."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

RUNTIME = ("ipython", "minio", "msgspec", "urllib3")


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    files: Mapping[str, bytes] | None = None,
    requires: Iterable[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """Write a wheel and return its path; by default it holds one module of its name."""
    module = name.replace("-", "_")
    information = f"{module}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {one}\n" for one in requires)
    content = {
        **(files or {f"{module}/__init__.py": f"VERSION = {version!r}\n".encode()}),
        f"{information}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}".encode(),
        f"{information}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
    }
    record = "".join(f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in content.items())
    content[f"{information}/RECORD"] = f"{record}{information}/RECORD,,\n".encode()
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for path, data in content.items():
            made.writestr(zipfile.ZipInfo(path), data)
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / f"{module}-{version}-{tag}.whl"
    place.write_bytes(out.getvalue())
    return place


def make_sources(folder: Path, name: str, version: str) -> None:
    """Write a source distribution."""
    import tarfile

    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
    with tarfile.open(folder / f"{name}-{version}.tar.gz", "w:gz") as made:
        info = tarfile.TarInfo(f"{name}-{version}/PKG-INFO")
        info.size = len(text)
        made.addfile(info, io.BytesIO(text))


def make_runtime(folder: Path) -> None:
    """Write what stands for nbkube's own requirements, in the versions that are installed here."""
    for name in RUNTIME:
        make_wheel(folder, name, metadata.version(name), {f"{name}_stand_in.py": b""})


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
