"""Does what a step once saw of the files still hold?"""

from __future__ import annotations

from nbkube.state.model import FileReads
from nbkube.state.snapshot import FileView


def matches(reads: FileReads, view: FileView) -> str | None:
    """Compare a result's file observations with a view: None if all hold, else a sentence that says what differs.

    Only files that are named in `reads` are read, and those only if their digest is not known yet.
    """
    return _names(reads, view) or _contents(reads, view)


def _names(reads: FileReads, view: FileView) -> str | None:
    """Compare what costs no reading."""
    for path in reads.missed:
        if view.exists(path):
            return f"{path} exists now"
    for path in reads.read:
        if path not in view:
            return f"{path} is no longer there"
    for folder, digest in reads.listed.items():
        if view.listing_digest(folder) != digest:
            place = "the project folder" if folder == "." else f"the folder {folder}"
            return f"{place} holds other files now"
    return None


def _contents(reads: FileReads, view: FileView) -> str | None:
    for path, digest in reads.read.items():
        if view.digest(path) != digest:
            return f"{path} has changed"
    for path, digest in reads.outside.items():
        present = view.outside_digest(path)
        if present != digest:
            if not digest:
                return f"{path} exists now"
            return f"{path} has changed" if present else f"{path} is no longer there"
    return None
