"""Run in a mount namespace of its own: a run on a disk that fills up, then on the same disk with more room.

    full_disk.py PROJECT

Prints JSON lines: the state of the failed run, what the store held, the state after resuming with room.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from nbkube.client import Client
from nbkube.runs import RunState
from nbkube.runs.process import is_alive
from nbkube.storage import LocalStore


def mount(size: str, folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}" + "".join(options), "tmpfs", folder], check=True)


def ended(client: Client, run: str) -> RunState:
    while True:
        state = client.status(run)
        if state.phase.ended or (state.process is not None and is_alive(state.process) is False):
            return state
        time.sleep(0.05)


def tell(state: RunState) -> None:
    failed = next((step.failure.message for step in state.steps if step.failure), "")
    said = {"phase": state.phase, "reason": state.reason, "failure": failed, "metrics": state.metrics}
    print(json.dumps(said), flush=True)  # noqa: T201 - read by the test


def main() -> None:
    project = Path(sys.argv[1])
    folder = project / ".nbkube"
    folder.mkdir()
    mount("6m", folder)
    client = Client(project)
    run = client.submit(project / "work.ipynb")
    tell(ended(client, run))
    store = LocalStore(folder)
    whole = all(len(store.get(digest)) >= 0 for digest in store.blobs())
    results = sum(1 for _ in store.list("steps/"))
    print(json.dumps({"whole": whole, "results": results, "left": len(list((folder / "tmp").iterdir()))}))  # noqa: T201
    subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    client.resume(run)
    tell(ended(client, run))


if __name__ == "__main__":
    main()
