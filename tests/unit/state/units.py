"""Runs units one after the other, each in a process of its own, as the engine does: latest version of every name."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec

from nbkube.state.model import OutputRef
from tests.unit.state.unit_process import Answer, Order

ROOT = Path(__file__).parents[3]


class Units:
    """A notebook's units over one store."""

    def __init__(self, folder: Path, *, shell: bool = False, replay: str = "") -> None:
        self.store = str(folder / "store")
        self.folder = folder
        self.shell = shell
        self.replay = replay
        self.bindings: dict[str, OutputRef] = {}

    def run(
        self,
        *cells: str,
        root: str = "",
        seeded: bool = False,
        hash_seed: str = "0",
        filename: str = "",
        fails: bool = False,
    ) -> Answer:
        """Run cells as one unit in a new process and bind what it put out."""
        order = Order(
            store=self.store,
            cells=[textwrap.dedent(one) for one in cells],
            bindings=self.bindings,
            replay=self.replay,
            root=root,
            seeded=seeded,
            shell=self.shell,
            filename=filename,
        )
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": hash_seed, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.state.unit_process"],
            input=msgspec.json.encode(order),
            capture_output=True,
            env=environment,
            cwd=self.folder,
            timeout=300,
        )
        assert done.returncode == 0, done.stderr.decode()
        answer = msgspec.json.decode(done.stdout, type=Answer)
        assert fails or not answer.error, answer.error + done.stderr.decode()[-2000:]
        self.bindings = {**self.bindings, **answer.outputs}
        return answer
