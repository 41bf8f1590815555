"""The files of a project as a run sees them: a snapshot of the project, then one view per unit.

A `FileView` is frozen. The view of unit n is the snapshot with the diffs of units 1 to n-1 laid over it. Digests are
computed when asked for and kept by the files' identity. A project file that changes after the snapshot is noticed and
never read as if it were the old one; `freeze` copies what people edit, so that a run is not disturbed at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal

import msgspec

from nbkube.errors import Diagnostic, Place, StateError
from nbkube.state.copying import read_at_rest
from nbkube.state.digests import DigestCache, Identity, has_rested, hash_handle, identity_of, open_unnoticed
from nbkube.state.ignore import ENVIRONMENT_MARK, IGNORE_FILE, NEVER_DATA, IgnoreRules
from nbkube.state.model import FileDiff, FileEntry
from nbkube.state.pack import Pack
from nbkube.state.recycling import Yard
from nbkube.storage.disk import explained

ROOT_MARKS = ("nbkube.toml", "pyproject.toml", ".git")
MOST_PATHS = 200_000
_FROZEN_FILE = 32 << 20
_FROZEN_BYTES = 512 << 20
_MOST_LINKS = 40
_FOLDER_DIGEST = hashlib.sha256(b"folder\0").hexdigest()


class Node(msgspec.Struct, frozen=True, gc=False):
    """One path of a view. The content of a file lies in `pack`, else in the file `source`, else in the store.

    `identity` is that of the project's file, also where `pack` holds a private copy of it.
    """

    kind: Literal["file", "folder", "link"]
    mode: int = 0o644
    size: int = 0
    digest: str = ""
    target: str = ""
    source: str = ""
    identity: Identity | None = None
    pack: Pack | None = None
    offset: int = 0

    def packed(self) -> bytes:
        """Return the content of a file that was frozen."""
        assert self.pack is not None
        return self.pack.read(self.offset, self.size)


class FileView:
    """The files one unit sees: POSIX path relative to `root` -> Node; the root itself is the path ".".

    `root` is the project's folder, `diagnostics` what the snapshot could not take in, `yard` where the used workspaces
    of a run are kept (None for a view that is not frozen). `left_out` are the user's settings and caches, where the
    project's folder is the home folder: like files elsewhere they stay where they are.
    """

    def __init__(
        self,
        root: Path,
        nodes: Mapping[str, Node],
        digests: DigestCache | None = None,
        diagnostics: tuple[Diagnostic, ...] = (),
        yard: Yard | None = None,
        left_out: tuple[str, ...] = (),
    ) -> None:
        self.root = root
        self.nodes = nodes
        self.diagnostics = diagnostics
        self.yard = yard
        self.left_out = left_out
        self._digests = digests or DigestCache()
        self._computed: dict[str, str] = {}
        self._children: dict[str, list[str]] | None = None

    def __contains__(self, path: str) -> bool:
        return path == "." or path in self.nodes

    def __len__(self) -> int:
        return len(self.nodes)

    def digest(self, path: str) -> str:
        """Return the digest of a file's content or of a link's target, one for all folders; "" if it is not there."""
        node = self.nodes.get(path)
        if node is None:
            return ""
        if node.kind == "folder":
            return _FOLDER_DIGEST
        if node.kind == "link":
            return link_digest(node.target)
        if node.digest:
            return node.digest
        if path not in self._computed:
            self._computed[path] = self._hash(path, node)
        return self._computed[path]

    def _hash(self, path: str, node: Node) -> str:
        assert node.identity is not None
        known = self._digests.get(node.identity)
        if known is not None:
            return known
        if node.pack is not None:
            digest = hashlib.sha256(node.packed()).hexdigest()
            self._digests.add(node.identity, digest, time.time_ns())  # it had rested, or would have been hashed then
            return digest
        try:
            handle = open_unnoticed(node.source)
        except OSError as error:
            raise changed_meanwhile(path) from error
        try:
            began = time.time_ns()
            digest = hash_handle(handle)
            if identity_of(os.fstat(handle)) != node.identity:
                raise changed_meanwhile(path)
        finally:
            os.close(handle)
        self._digests.add(node.identity, digest, began)
        return digest

    def outside_digest(self, path: str) -> str:
        """Return the present digest of a file beyond the workspace; "" where there is none."""
        found = self._digests.of_file(os.path.realpath(path))
        return "" if found is None else found[0]

    def names(self, folder: str) -> list[str]:
        """Return the sorted names in a folder (empty for what is no folder)."""
        if self._children is None:
            children: dict[str, list[str]] = {".": []}
            for path, node in self.nodes.items():
                parent, _, name = path.rpartition("/")
                children.setdefault(parent or ".", []).append(name)
                if node.kind == "folder":
                    children.setdefault(path, [])
            self._children = {parent: sorted(names) for parent, names in children.items()}
        return self._children.get(folder, [])

    def listing_digest(self, folder: str) -> str:
        """Return the digest of a folder's sorted names; "" where there is no such folder."""
        if folder != "." and (folder not in self.nodes or self.nodes[folder].kind != "folder"):
            return ""
        return hashlib.sha256("\0".join(self.names(folder)).encode("utf-8", "surrogateescape")).hexdigest()

    def resolve(self, path: str) -> str | None:
        """Return the path that a path leads to when links are followed, whether or not it exists; None if outside."""
        todo = _parts(path)
        done: list[str] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if not done:
                    return None
                done.pop()
                continue
            here = "/".join([*done, part])
            node = self.nodes.get(here)
            if node is None or node.kind != "link":
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS or node.target.startswith("/"):
                return None
            todo += _parts(node.target)
        return "/".join(done) or "."

    def exists(self, path: str) -> bool:
        """Tell whether a path is there, links followed."""
        found = self.resolve(path)
        return found is not None and found in self

    def with_diff(self, diff: FileDiff) -> FileView:
        """Return the view after a unit's diff; where both have a path the diff wins."""
        if not diff.changed and not diff.removed:
            return self
        nodes = dict(self.nodes)
        folders = []
        for path in diff.removed:
            node = nodes.pop(checked_path(path), None)
            if node is not None and node.kind == "folder":
                folders.append((path, node))
        for entry in diff.changed:
            _lay_over(nodes, entry)
        _keep_filled(nodes, folders)
        return FileView(self.root, nodes, self._digests, self.diagnostics, self.yard, self.left_out)

    def only(self, wanted: Callable[[str, Node], bool]) -> FileView:
        """Return a part of the view, told by path and node; workspaces of it are made and removed for themselves."""
        nodes = {path: node for path, node in self.nodes.items() if wanted(path, node)}
        return FileView(self.root, nodes, self._digests, self.diagnostics, None, self.left_out)

    def freeze(self, folder: Path) -> FileView:
        """Copy project files to a folder, smallest first, and return a view on the copies.

        People edit notebooks, modules and tables while a run goes on. What changed since the snapshot is taken as it
        is now. Files beyond 32 MiB, and beyond 512 MiB in all, stay where they are; one that changes during the run is
        an error when it is needed. Used workspaces of the run are kept in the folder, too, to make new ones from; the
        folder is to be removed when the run has ended.
        """
        with explained(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            pack = Pack(folder / "files")
            nodes = dict(self.nodes)
            diagnostics = list(self.diagnostics)
            for path in self._to_freeze():
                try:
                    nodes[path] = self._frozen(path, self.nodes[path], pack)
                except FileNotFoundError:
                    del nodes[path]
                except PermissionError:
                    del nodes[path]
                    diagnostics.append(_unreadable(path))
            pack.flush()
        yard = Yard(folder / "used")
        return FileView(self.root, nodes, self._digests, tuple(diagnostics), yard, self.left_out)

    def _to_freeze(self) -> Iterator[str]:
        files = [(node.size, path) for path, node in self.nodes.items() if node.kind == "file" and node.source]
        left = _FROZEN_BYTES
        for size, path in sorted(files):
            left -= size
            if (left >= 0 and size <= _FROZEN_FILE) or path.endswith(".ipynb"):  # notebooks are saved again and again
                yield path

    def _frozen(self, path: str, node: Node, pack: Pack) -> Node:
        """Copy one file. Its node keeps the identity of the original, under which its digest is known to later runs."""
        began = time.time_ns()
        status, data, rested = read_at_rest(node.source)
        identity = identity_of(status)
        digest = self._computed.get(path, "") if identity == node.identity and rested else ""
        if not digest and not (rested and has_rested(identity, began)):
            digest = hashlib.sha256(data).hexdigest()
        return Node("file", stat.S_IMODE(status.st_mode), len(data), digest, "", "", identity, pack, pack.add(data))


def link_digest(target: str) -> str:
    """Return the digest that stands for a link."""
    return hashlib.sha256(b"link\0" + target.encode("utf-8", "surrogateescape")).hexdigest()


def changed_meanwhile(path: str) -> StateError:
    """Return the error for a project file that is not what it was when the run began."""
    return StateError(f"{path} was changed while the run was going on. Run the notebook again.")


def _unreadable(path: str) -> Diagnostic:
    hint = f"make it readable, or name it in {IGNORE_FILE}"
    return Diagnostic("warning", "workspace", Place(path), "cannot be read and is left out", hint)


def checked_path(path: str) -> str:
    """Return a workspace path, or raise `StateError` where it leads elsewhere (records may come from others)."""
    if path == "." or "\0" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise StateError(f"{path[:80]!r} is no path of a workspace.")
    return path


def _lay_over(nodes: dict[str, Node], entry: FileEntry) -> None:
    path = checked_path(entry.path)
    at = path.find("/")
    while at > 0:  # what lies above is a folder, else a path could lead out through a link
        parent = nodes.get(path[:at])
        if parent is None or parent.kind != "folder":
            nodes[path[:at]] = Node("folder", 0o755)
        at = path.find("/", at + 1)
    old = nodes.get(path)
    if old is not None and old.kind == "folder" and entry.kind != "folder":
        for below in [one for one in nodes if one.startswith(path + "/")]:
            del nodes[below]
    nodes[path] = Node(entry.kind, entry.mode, entry.size, entry.digest, entry.target)


def _keep_filled(nodes: dict[str, Node], removed: list[tuple[str, Node]]) -> None:
    """Bring back removed folders in which something is left."""
    if removed:
        needed = {path[:at] for path in nodes for at, letter in enumerate(path) if letter == "/"}
        for path, node in removed:
            if path in needed and path not in nodes:
                nodes[path] = node


def find_root(notebook: Path) -> Path:
    """Return the project's folder: the nearest that holds nbkube.toml, pyproject.toml or .git, else the notebook's."""
    folder = Path(os.path.abspath(notebook)).parent
    for place in (folder, *folder.parents):
        if any((place / mark).exists() for mark in ROOT_MARKS):
            return place
    return folder


def snapshot(project: Path, cache: Path | None = None) -> FileView:
    """Return the project's files as they are now, without reading them.

    Raises:
        StateError: there are too many files to work in copies of them.

    Args:
        project: the project's folder.
        cache: a folder in whose file `digests` the digests are kept between runs.
    """
    root = Path(os.path.realpath(project))
    rules = IgnoreRules()
    with contextlib.suppress(FileNotFoundError):
        rules = IgnoreRules((root / IGNORE_FILE).read_text(encoding="utf-8", errors="replace").splitlines())
    scan = _Scan(root, rules)
    scan.run()
    digests = DigestCache(cache and cache / "digests")
    return FileView(root, scan.nodes, digests, tuple(scan.diagnostics), left_out=tuple(scan.left_out))


class _Scan:
    """One walk over the project."""

    def __init__(self, root: Path, rules: IgnoreRules) -> None:
        self.root = root
        self.rules = rules
        self.nodes: dict[str, Node] = {}
        self.diagnostics: list[Diagnostic] = []
        self.left_out: list[str] = []
        self._home = os.path.realpath(os.path.expanduser("~"))

    def run(self) -> None:
        folders = [""]
        while folders:
            prefix = folders.pop()
            folders += self._folder(prefix)
            if len(self.nodes) > MOST_PATHS:
                raise self._too_many()

    def _folder(self, prefix: str) -> Iterator[str]:
        try:
            with os.scandir(f"{self.root}/{prefix}") as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self._warn(prefix.rstrip("/"), f"cannot be listed ({error.strerror}) and is left out")
            return
        if prefix and any(entry.name == ENVIRONMENT_MARK for entry in entries):
            del self.nodes[prefix[:-1]]
            return
        at_home = f"{self.root}/{prefix}".rstrip("/") == self._home
        for entry in entries:
            path = prefix + entry.name
            if entry.name in NEVER_DATA:
                continue
            if at_home and entry.name.startswith("."):
                self.left_out.append(path)
                continue
            if self.rules and self.rules.leaves_out(path, folder=entry.is_dir(follow_symlinks=False)):
                continue
            try:
                node = self._node(entry, path)
            except OSError:  # gone since it was listed
                continue
            if node is not None:
                self.nodes[path] = node
                if node.kind == "folder":
                    yield path + "/"

    def _node(self, entry: os.DirEntry[str], path: str) -> Node | None:
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            self._warn(path.encode("utf-8", "replace").decode(), "has a name that is not UTF-8 and is left out")
            return None
        status = entry.stat(follow_symlinks=False)
        mode = stat.S_IMODE(status.st_mode)
        if stat.S_ISREG(status.st_mode):
            return Node("file", mode, status.st_size, "", "", entry.path, identity_of(status))
        if stat.S_ISDIR(status.st_mode):
            return Node("folder", mode)
        if stat.S_ISLNK(status.st_mode):
            return self._link(entry, path)
        return None  # sockets, pipes and devices are no data

    def _link(self, entry: os.DirEntry[str], path: str) -> Node | None:
        """Links that stay inside are kept, relative; a link to a file elsewhere stands for that file, one to a folder
        elsewhere is kept as it is."""
        target = os.readlink(entry.path)
        leads_to = os.path.normpath(os.path.join(os.path.dirname(entry.path), target))
        real = os.path.realpath(entry.path)
        if _is_inside(leads_to, str(self.root)) and _is_inside(real, str(self.root)):
            if target.startswith("/"):
                target = os.path.relpath(leads_to, os.path.dirname(entry.path))
            return Node("link", 0o777, target=target)
        if os.path.isfile(real):
            status = os.stat(real)
            return Node("file", stat.S_IMODE(status.st_mode), status.st_size, "", "", real, identity_of(status))
        return Node("link", 0o777, target=leads_to)

    def _too_many(self) -> StateError:
        counts = Counter(path.partition("/")[0] for path in self.nodes)
        most = ", ".join(f"{name} ({count:,} so far)" for name, count in counts.most_common(3))
        return StateError(
            f"the project folder {self.root} holds more than {MOST_PATHS:,} files, and steps work in copies of it. "
            f"Put the notebook into a folder of its own, or name what it does not need in {IGNORE_FILE}; "
            f"most files are in {most}."
        )

    def _warn(self, path: str, message: str) -> None:
        self.diagnostics.append(Diagnostic("warning", "workspace", Place(path), message))


def _is_inside(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _parts(path: str) -> list[str]:
    """Return the names in a relative path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]
