"""The frozen types of stored state.

Every unit sees *bindings*: a map from names to `OutputRef`. Beside the notebook's own names there are pseudo-names,
told apart by a colon, which no Python name holds:

    def:QUALNAME#ID    the state of a notebook function or class (defaults, attributes, class dict). ID is a digest
                       of its code, so all objects refer to one definition and load whatever version is in force.
    process:random     state of the module `random`, once the notebook has seeded it (likewise process:numpy,
                       process:tensorflow, process:torch); process:environ, process:cwd, process:path changes
"""

from __future__ import annotations

from typing import Literal

import msgspec

AGAIN = "again:"
"""Before a version in a step's reads: the step imports the thing itself, so the name may also not be bound yet."""

Kind = Literal["blob", "deleted", "hole"]


class OutputRef(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version of one name.

    `version` is semantic: two refs with one version hold equal values that share identity with the same things,
    and a step that read one may be served the other. `blob` is the digest of the object that holds it, `key` the
    entry in it. `refs` are the blobs (transitive) whose live objects this value refers to; `late` the pseudo-names
    it is late-bound to. A `hole` could not be stored: `reason` says why, in a sentence that fits after the name.
    `summary` is one short line for people (type, shape), never parsed; `size` counts stored bytes.
    """

    kind: Kind
    version: str
    blob: str = ""
    key: str = ""
    refs: tuple[str, ...] = ()
    late: tuple[str, ...] = ()
    type: str = ""
    summary: str = ""
    size: int = 0
    reason: str = ""


class FileEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One path of a workspace: POSIX, relative to its root. `digest` of the content ("" for folders and links)."""

    path: str
    kind: Literal["file", "folder", "link"] = "file"
    mode: int = 0o644
    digest: str = ""
    size: int = 0
    target: str = ""


class FileDiff(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a unit did to the workspace: entries added or changed (whole), and paths removed."""

    changed: tuple[FileEntry, ...] = ()
    removed: tuple[str, ...] = ()


class FileReads(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a unit saw of the workspace as it was at its start.

    `read`: path -> digest of content (for a folder that was only looked up, a fixed one). `listed`: folder -> digest
    of its sorted entry names. `missed`: paths looked up and not there. `outside`: absolute path -> digest ("" if it was
    not there), for files beyond the workspace that are no part of an installed distribution or the system.
    """

    read: dict[str, str] = {}
    listed: dict[str, str] = {}
    missed: tuple[str, ...] = ()
    outside: dict[str, str] = {}

    def joined(self, other: FileReads) -> FileReads:
        """Return what two have seen of the same workspace."""
        if other == FileReads():
            return self
        missed = {*self.missed, *other.missed}
        return FileReads(
            read=dict(sorted({**other.read, **self.read}.items())),
            listed=dict(sorted({**other.listed, **self.listed}.items())),
            missed=tuple(sorted(path for path in missed if missed.isdisjoint(_above(path)))),
            outside=dict(sorted({**other.outside, **self.outside}.items())),
        )


def _above(path: str) -> list[str]:
    """Return the folders that a path lies in."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
