"""The folders of a pod. They are the same in all pods of all runs, so that the paths that values hold go on to fit."""

from __future__ import annotations

import os
from pathlib import Path

PLACE = "/nbkube"
"""Where the pod's own disk space is mounted; the tests, which have no pods, choose another by `VARIABLE`."""

VARIABLE = "NBKUBE_PLACE"


def place() -> Path:
    """Return the folder of this pod's own files."""
    return Path(os.environ.get(VARIABLE, PLACE))


def project() -> Path:
    """Return where the project's files are shown to the cells."""
    return place() / "project"
