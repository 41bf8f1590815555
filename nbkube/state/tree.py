"""A project's files as a manifest in the store: path, mode, size and digest of each; never an archive.

The manifest of one and the same set of files is one and the same blob, whoever makes it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import StorageError
from nbkube.state.model import FileDiff, FileEntry
from nbkube.state.snapshot import FileView, Node, changed_meanwhile
from nbkube.storage.model import ObjectStore

_THREADS = 16  # they mostly wait for the store


def store_tree(view: FileView, store: ObjectStore, tell: Callable[[int, int], None] = lambda *_: None) -> str:
    """Put all files of a view into the store, those that it knows without reading them again; return the digest of
    their manifest, which is stored last.

    Args:
        view: the files of a project.
        store: where they go.
        tell: is called from several threads with (files done, files in all).

    Raises:
        StateError: a file has changed since the view was made.
        StorageError: the store cannot take the files.
    """
    files = [(path, node) for path, node in view.nodes.items() if node.kind == "file"]
    done: list[str] = []

    def put(item: tuple[str, Node]) -> None:
        path, node = item
        digest = view.digest(path)
        if not store.has(digest) and _put(node, store) != digest:
            raise changed_meanwhile(path)
        done.append(path)
        tell(len(done), len(files))

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(put, files))
    entries = [_entry(path, node, view) for path, node in sorted(view.nodes.items())]
    return store.put(msgspec.json.encode(entries))


def load_tree(digest: str, store: ObjectStore, root: Path) -> FileView:
    """Return the view that a manifest describes, to be prepared at `root`; the files are fetched when it is.

    Raises:
        StorageError: the manifest is not there or cannot be read.
        StateError: one of its paths leads out of the project.
    """
    try:
        entries = from_json(store.get(digest), tuple[FileEntry, ...])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StorageError(f"the list of project files {digest[:12]} cannot be read ({error}).") from error
    return FileView(root, {}).with_diff(FileDiff(changed=entries))


def _put(node: Node, store: ObjectStore) -> str:
    if node.pack is not None:
        return store.put(node.packed())
    return store.put_file(Path(node.source)) if node.source else node.digest


def _entry(path: str, node: Node, view: FileView) -> FileEntry:
    digest = view.digest(path) if node.kind == "file" else ""
    return FileEntry(path, node.kind, node.mode, digest, node.size, node.target)
