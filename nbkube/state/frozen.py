"""A frozen view on disk, so that another process can take up a run: an index beside the private copies of its files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec

from nbkube.decoding import from_msgpack
from nbkube.errors import Diagnostic
from nbkube.state.digests import DigestCache, Identity
from nbkube.state.pack import Pack
from nbkube.state.recycling import Yard, remove_tree
from nbkube.state.snapshot import FileView, Node
from nbkube.storage.disk import explained, write_all

_INDEX = "index"
_USED = "used"
_FILES = "files"


class _Entry(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A node with its path; paths as bytes, for not all of them are text. `offset` is -1 for what is not packed."""

    path: bytes
    kind: Literal["file", "folder", "link"]
    mode: int
    size: int
    digest: str
    target: bytes
    source: bytes
    identity: Identity | None
    offset: int


class _Index(msgspec.Struct, frozen=True, array_like=True):
    root: bytes
    entries: tuple[_Entry, ...]
    diagnostics: tuple[Diagnostic, ...]
    left_out: tuple[bytes, ...]
    boot: str


def save_view(view: FileView, folder: Path) -> None:
    """Write the index of a view that was frozen to this folder. It need not outlive the machine's next start."""
    index = _Index(
        os.fsencode(view.root),
        tuple(_entry(path, node) for path, node in view.nodes.items()),
        view.diagnostics,
        tuple(map(os.fsencode, view.left_out)),
        _boot(),
    )
    with explained(folder):
        unfinished = folder / f"{_INDEX}.new"
        handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(handle, msgspec.msgpack.encode(index))
        finally:
            os.close(handle)
        os.rename(unfinished, folder / _INDEX)


def load_view(folder: Path, cache: Path | None = None) -> FileView | None:
    """Return the view saved in a folder; None where there is none that can be relied on.

    Copies made before the machine's last start may be damaged and do not count. What an earlier process of the run
    has left in the folder is removed.

    Args:
        folder: where the view was frozen to.
        cache: the folder in which digests of files are kept from run to run.
    """
    try:
        index = from_msgpack((folder / _INDEX).read_bytes(), _Index)
        pack = Pack.opened(folder / _FILES)
    except (OSError, msgspec.DecodeError):
        return None
    if index.boot != _boot():
        return None
    remove_tree(folder / _USED)
    nodes = {os.fsdecode(entry.path): _node(entry, pack) for entry in index.entries}
    return FileView(
        Path(os.fsdecode(index.root)),
        nodes,
        DigestCache(cache and cache / "digests"),
        index.diagnostics,
        Yard(folder / _USED),
        tuple(map(os.fsdecode, index.left_out)),
    )


def _entry(path: str, node: Node) -> _Entry:
    return _Entry(
        os.fsencode(path),
        node.kind,
        node.mode,
        node.size,
        node.digest,
        os.fsencode(node.target),
        os.fsencode(node.source),
        node.identity,
        -1 if node.pack is None else node.offset,
    )


def _node(entry: _Entry, pack: Pack) -> Node:
    packed = entry.offset >= 0
    return Node(
        entry.kind,
        entry.mode,
        entry.size,
        entry.digest,
        os.fsdecode(entry.target),
        os.fsdecode(entry.source),
        entry.identity,
        pack if packed else None,
        max(0, entry.offset),
    )


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
