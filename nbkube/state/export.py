"""Files of a run, copied to a folder of the user's choice."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nbkube.errors import StateError
from nbkube.state.copying import copy_file
from nbkube.state.model import FileDiff
from nbkube.state.snapshot import FileView, Node
from nbkube.storage.disk import explained
from nbkube.storage.model import ObjectStore


def export(diff: FileDiff, target: Path, store: ObjectStore) -> list[Path]:
    """Copy the files that a diff has added or changed to a folder (made if need be); return their paths.

    Nothing that exists is replaced, and nothing is written outside the folder, whatever the diff says. Links that lead
    out of it are left out.

    Raises:
        StateError: a file exists already (then nothing has been written), or a path of the diff leads elsewhere.
    """
    nodes = FileView(target, {}).with_diff(FileDiff(changed=diff.changed)).nodes
    with explained(target):
        _refuse_existing(nodes, target)
        written = []
        target.mkdir(parents=True, exist_ok=True)
        for path in sorted(nodes):
            node = nodes[path]
            place = target / path
            if node.kind == "folder":
                place.mkdir(exist_ok=True)
            elif node.kind == "file":
                content = store.local_path(node.digest)
                mode = (node.mode & 0o777) | 0o600
                copy_file(str(content), str(place), mode, None, atime=None)
                written.append(place)
            elif _stays_inside(path, node.target):
                place.symlink_to(node.target)
                written.append(place)
        return written


def _refuse_existing(nodes: Mapping[str, Node], target: Path) -> None:
    for path, node in nodes.items():
        place = target / path
        if node.kind == "folder":
            taken = place.is_symlink() or (place.exists() and not place.is_dir())
        else:
            taken = os.path.lexists(place)
        if taken:
            raise StateError(f"{place} exists already; nothing has been written. Choose another folder.")


def _stays_inside(path: str, target: str) -> bool:
    leads_to = os.path.normpath(os.path.join(os.path.dirname(path), target))
    return not target.startswith("/") and leads_to != ".." and not leads_to.startswith("../")
