"""Comparing what is left in two folders: content, kind, mode, and what is missing."""

from __future__ import annotations

from nbkube.state.snapshot import FileView


def compare_files(left: FileView, right: FileView) -> dict[str, tuple[str, str]]:
    """Return path -> what each side has, for all paths that differ."""
    differences: dict[str, tuple[str, str]] = {}
    for path in sorted({*left.nodes, *right.nodes} - {"."}):
        sides = (_described(left, path), _described(right, path))
        if sides[0] != sides[1]:
            differences[path] = sides
    return differences


def same_kind(left: FileView, right: FileView, path: str) -> bool:
    """Tell whether a path that varies by itself is at least the same kind of thing on both sides."""
    sides = [view.nodes.get(path) for view in (left, right)]
    return sides[0] is not None and sides[1] is not None and sides[0].kind == sides[1].kind


def _described(view: FileView, path: str) -> str:
    node = view.nodes.get(path)
    if node is None:
        return "no such file"
    if node.kind == "link":
        return f"a link to {node.target}"
    if node.kind == "folder":
        return f"a folder, mode {node.mode:o}"
    return f"{node.size} bytes, mode {node.mode:o}, sha256 {view.digest(path)[:16]}"
