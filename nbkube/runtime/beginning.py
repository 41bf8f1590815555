"""How a step process begins: it splits into the worker and its watcher before it imports anything else."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
import sys
from collections.abc import Iterator


def be_step(control: socket.socket, watch: socket.socket, settle: float, private: str) -> None:
    """Become a watcher and a worker; return only in a worker for which there is no task.

    The worker imports what it will need while its parent still prepares the workspace, and waits for its task.

    Args:
        control: leads to the attempt, for the worker.
        watch: leads to the attempt, for the watcher.
        settle: seconds that left-over processes may take to end by themselves.
        private: a folder of the step's own.
    """
    for connection in (control, watch):
        connection.set_inheritable(False)

    from nbkube.runtime.watcher import split_off

    split_off(watch, settle, private, control)
    own_search_path()
    with importing():
        from nbkube.runtime.channel import Channel
        from nbkube.runtime.worker import run

    run(Channel(control))


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Collect no garbage: what is imported stays, and to look through it again and again takes 12 of 179 ms."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def own_search_path() -> None:
    """Search modules as the interpreter would without this package's folder in front."""
    if sys.path[0] in ("", os.getcwd()):
        del sys.path[0]
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    if package not in sys.path:
        # Not an installed nbkube: stay importable, behind everything else.
        sys.path.append(package)
