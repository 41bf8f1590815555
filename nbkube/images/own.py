"""nbkube itself as a layer, from the very distribution that runs here, and what a baked image holds besides."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

import nbkube
from nbkube.errors import BuildError, Diagnostic, Place
from nbkube.images.model import SITE
from nbkube.images.wheels import compile_modules
from nbkube.profiles.credentials import looks_secret
from nbkube.state.ignore import IgnoreRules
from nbkube.state.snapshot import FileView

BAKED = "opt/nbkube/project"
NOT_SECRET = "nbkube: not-secret"
_MOST_BYTES = 50 << 20
_SCANNED = 4 << 20
_NEVER = IgnoreRules(
    [".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".aws/", ".kube/", ".docker/",
     ".ssh/", ".netrc", "pip.conf", ".pypirc", "nbkube.toml", "kubeconfig*", ".git/", "wheels/"]
)  # fmt: skip
_SCRIPT = b"#!/usr/bin/env python3\nimport sys\n\nfrom nbkube.cli import main\n\nsys.exit(main())\n"


def stamp() -> str:
    """Return what changes whenever one of nbkube's own files does: their places, sizes and times."""
    digest = hashlib.sha256(_metadata())
    for path in sorted(_files()):
        seen = os.stat(path)
        digest.update(f"{path}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ctime_ns}\0".encode())
    return digest.hexdigest()


def package() -> dict[str, bytes]:
    """Return nbkube's own files by path in the image, without the JupyterLab extension, which pods have no use for."""
    found = {f"{SITE[1:]}/nbkube{path.removeprefix(_root())}": Path(path).read_bytes() for path in _files()}
    information = f"{SITE[1:]}/nbkube-{nbkube.__version__}.dist-info"
    found[f"{information}/METADATA"] = _metadata()
    names = sorted(name.removeprefix(f"{SITE[1:]}/") for name in found)
    found[f"{information}/RECORD"] = "".join(f"{name},,\n" for name in names).encode()
    found[f"{SITE[1:]}/bin/nbkube"] = _SCRIPT
    return found


def _root() -> str:
    return os.path.dirname(nbkube.__file__)


def _files() -> Iterator[str]:
    root = _root()
    for folder, inner, names in os.walk(root):
        inner[:] = [one for one in inner if one != "__pycache__" and (folder != root or one != "labextension")]
        for name in names:
            yield os.path.join(folder, name)


def _metadata() -> bytes:
    try:
        text = metadata.distribution("nbkube").read_text("METADATA")
    except metadata.PackageNotFoundError:
        text = None
    return (text or f"Metadata-Version: 2.1\nName: nbkube\nVersion: {nbkube.__version__}\n").encode()


def key(files: Mapping[str, bytes]) -> str:
    """Return what stands for the content of files."""
    digest = hashlib.sha256()
    for path, content in sorted(files.items()):
        digest.update(f"{path}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def compiled(files: Mapping[str, bytes], folder: Path) -> dict[str, bytes]:
    """Return files below `SITE` with their modules compiled; `folder` is an empty one to work in."""
    tree = folder / "own"
    prefix = f"{SITE[1:]}/"
    for path, content in files.items():
        place = tree / path.removeprefix(prefix)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    compile_modules(tree, SITE)
    found = dict(files)
    for module in tree.rglob("*.pyc"):
        found[f"{prefix}{module.relative_to(tree).as_posix()}"] = module.read_bytes()
    shutil.rmtree(tree)
    return found


def project_files(view: FileView, notebook: str) -> dict[str, bytes]:
    """Return the project's files for an image that runs by itself: the notebook without outputs, modules, data.

    Raises:
        BuildError: they are too large, or one looks as if it held a key.
    """
    found: dict[str, bytes] = {}
    for path, node in sorted(view.nodes.items()):
        if node.kind != "file" or _is_left_out(path) or (path.endswith(".ipynb") and path != notebook):
            continue
        content = node.packed() if node.pack is not None else Path(node.source).read_bytes()
        found[path] = _without_outputs(content) if path == notebook else content
    total = sum(map(len, found.values()))
    if total > _MOST_BYTES:
        largest = sorted(found, key=lambda one: -len(found[one]))[:3]
        raise BuildError(
            f"the project's files are {total / 1e6:.0f} MB, more than an image is for (largest: {', '.join(largest)}). "
            "Fix: name what the steps do not need in .nbkubeignore, and keep data in a bucket."
        )
    faults = [fault for path, content in found.items() for fault in secrets_in(path, content)]
    if faults:
        raise BuildError(diagnostics=faults)
    named = {f"{BAKED}/{path}": content for path, content in found.items()}
    return named | {f"{BAKED}/.nbkube-notebook": f"{notebook}\n".encode()}


def _is_left_out(path: str) -> bool:
    parts = path.split("/")
    inner = any(_NEVER.leaves_out("/".join(parts[:count]), folder=True) for count in range(1, len(parts)))
    return inner or _NEVER.leaves_out(path, folder=False)


def _without_outputs(content: bytes) -> bytes:
    """Return a notebook without what its cells have shown, which is nobody's business and may be large."""
    try:
        document = json.loads(content)
        cells = document["cells"]
    except (ValueError, KeyError, TypeError):
        return content  # a script
    for cell in cells:
        if cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def secrets_in(path: str, content: bytes) -> Iterator[Diagnostic]:
    """Yield what looks like keys in a file, line by line; lines with the comment `nbkube: not-secret` are let through.

    Binary files and those over 4 MB are not looked at.
    """
    if len(content) > _SCANNED or b"\0" in content[:8192]:
        return
    for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
        if NOT_SECRET not in line and looks_secret(line[:4000]):
            yield Diagnostic(
                "error", "secret", Place(path, line=number), "this looks like a key, and an image is read by many",
                f"take it out (steps get keys by the option secret), or mark the line: # {NOT_SECRET}",
            )  # fmt: skip
