"""What an image made by `nbkube build --bake` runs: its notebook, as a pipeline, in a copy of the project.

python3 -m nbkube.baked    the results lie in $NBKUBE_WORK, by default /tmp/nbkube
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROJECT = Path("/opt/nbkube/project")
NOTEBOOK = ".nbkube-notebook"


def main() -> int:
    """Run the notebook that is in this image and return the exit code."""
    from nbkube.client import Client
    from nbkube.runs import Phase

    work = Path(os.environ.get("NBKUBE_WORK", "/tmp/nbkube"))
    project = work / "project"
    shutil.copytree(PROJECT, project, dirs_exist_ok=True)
    notebook = project / (project / NOTEBOOK).read_text("utf-8").strip()
    client = Client(notebook.parent, store=str(work / "store"), profile="local")
    state = client.run(notebook, engine="local", on_event=_tell)
    return 0 if state.phase is Phase.SUCCEEDED else 1


def _tell(event: Mapping[str, Any]) -> None:
    if event.get("event") == "log":
        sys.stdout.write(str(event.get("text", "")))
    elif event.get("event") in ("started", "step-ended", "run-ended"):
        reason = (event.get("failure") or {}).get("message", "") if event.get("failure") else ""
        sys.stderr.write(f"{event.get('step', 'run')}: {event.get('phase', 'Running')} {reason}\n")


if __name__ == "__main__":
    sys.exit(main())
