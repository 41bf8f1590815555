"""Starting a worker process; imports little: the first worker starts before its server has imported the rest."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import msgspec

from nbkube.serving.model import ServerTask


class Spawned(msgspec.Struct, frozen=True):
    """A worker that has been started, and this end of the connection to it."""

    process: subprocess.Popen[bytes]
    connection: socket.socket

    def drop(self) -> None:
        """End it before anybody has used it."""
        self.connection.close()
        self.process.kill()
        self.process.wait()


def spawn(task: ServerTask, version: int) -> Spawned:
    """Start a worker for a version; it loads the model and tells when it is ready."""
    ours, theirs = socket.socketpair()
    arguments = [task.store, task.name, str(version), task.folder, str(theirs.fileno())]
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "nbkube.serving.worker", *arguments],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=_environment(task.workers),
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
    return Spawned(process, ours)


def _environment(workers: int) -> dict[str, str]:
    """Share the CPUs among workers: numerical libraries would each start as many threads as there are CPUs."""
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return {
        **dict.fromkeys(names, threads),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_MODULE_LOADING": "LAZY",
        **os.environ,
    }
