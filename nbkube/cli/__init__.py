"""The command line `nbkube`: translates arguments into calls of `Client` and prints what comes back."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments` (default: the process's own, which ends with it); ends with SystemExit."""
    from nbkube.cli.app import app_for

    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        app_for(words)(args=words, prog_name="nbkube")
    except SystemExit as end:
        if arguments is None:
            _leave(end.code)
        raise


def _leave(code: object) -> None:
    """End the process without taking apart its objects, which takes longer than an empty step.

    What must not be missed is done: exit functions run, output is flushed. Where there is more to do, or somebody
    looks on, the interpreter ends as usual.
    """
    others = [one for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    watched = sys.gettrace() is not None or sys.getprofile() is not None
    if others or watched or not (code is None or isinstance(code, int)):
        return
    atexit._run_exitfuncs()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        return
    os._exit(code or 0)
