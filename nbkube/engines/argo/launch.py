"""What a run's pods need to know, as one blob in the store: the Workflow names it by its digest."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from nbkube.decoding import from_json
from nbkube.engines.model import Submission
from nbkube.errors import StorageError
from nbkube.runs.model import Run
from nbkube.state.snapshot import FileView
from nbkube.state.tree import load_tree, store_tree
from nbkube.storage.model import ObjectStore

_STAMP = re.compile(r"(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2}):(\d{2})")


class Launch(msgspec.Struct, frozen=True):
    """A submission with the project's files as a `tree` in the store, and the record of the run that it makes.

    `chain`: each unit waits for all earlier ones, so what it has made holds for good. `run.id` and `submission.run` are
    empty: the pods fill in the run they belong to.
    """

    submission: Submission
    tree: str
    run: Run
    chain: bool

    def store(self, store: ObjectStore) -> str:
        """Put it into the store; return its digest."""
        return store.put(msgspec.json.encode(self))

    @classmethod
    def load(cls, store: ObjectStore, digest: str) -> Launch:
        """Return the launch of a digest.

        Raises:
            StorageError: it is not in the store or was written by another version.
        """
        try:
            return from_json(store.get(digest), cls)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StorageError(f"the submission {digest[:12]} cannot be read here ({error}).") from error

    def of_run(self, run: str, root: Path) -> Submission:
        """Return the submission of a run whose workspaces lie at `root`."""
        return replace(self.submission, run=run, root=str(root))

    def files(self, store: ObjectStore, root: Path) -> FileView:
        """Return the project's files as they were at submission."""
        return load_tree(self.tree, store, root)


def freeze(
    submission: Submission,
    run: Run,
    view: FileView,
    store: ObjectStore,
    *,
    chain: bool,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> tuple[str, Launch]:
    """Put everything that pods need into the store; return the digest of the launch, and the launch."""
    tree = store_tree(view, store, tell)
    launch = Launch(replace(submission, run=""), tree, replace(run, id="", created=0.0, engine="argo"), chain)
    return launch.store(store), launch


def run_id(workflow: str, created: str) -> str:
    """Return the id of the run that a Workflow sent by kubectl carries out: ids sort by time.

    Args:
        workflow: the Workflow's name.
        created: when the Workflow was created, RFC 3339.
    """
    stamp = _STAMP.match(created)
    if stamp is None:
        return workflow
    year, month, day, hour, minute, second = stamp.groups()
    return f"{year}{month}{day}-{hour}{minute}{second}-{workflow}"
