"""The end of a step process: all that its cells have made comes to its end, and then the process is gone.

The interpreter's own end takes apart every module of every library, which takes seconds where there are many. Nothing
of a notebook is in there; its objects live in its namespace and in the modules beside it.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import io
import os
import sys
import threading
from collections.abc import Iterable
from typing import Any, NoReturn

from nbkube.runtime.kernel import flush_all_c_files


def leave(namespace: dict[str, Any], module_files: Iterable[str], files: Iterable[Any] = ()) -> NoReturn:
    """End the process in the order in which the interpreter does: threads, exit handlers, objects, buffers.

    Args:
        namespace: the cells' names.
        module_files: files of the modules that are the project's own.
        files: open files that the collector does not know of.
    """
    _join_threads()
    with contextlib.suppress(BaseException):
        atexit._run_exitfuncs()
    own = set(module_files)
    # Without need none of them is touched: in a forked process that copies the pages they lie on.
    for module in [one for one in sys.modules.values() if getattr(one, "__file__", None) in own] if own else ():
        module.__dict__.clear()
    dict.clear(namespace)
    for name in ("last_value", "last_traceback", "last_exc"):
        setattr(sys, name, None)
    gc.collect()
    for one in (*files, *open_files()):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            one.flush()
    flush_all_c_files()
    os._exit(0)


def open_files() -> list[Any]:
    """Return the files of this process that may hold text not written yet."""
    kinds = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
    return [one for one in gc.get_objects() if isinstance(one, kinds) and not one.closed]


def _join_threads() -> None:
    # What the interpreter does first; it also lets pools of threads and processes finish what they have begun.
    shutdown = getattr(threading, "_shutdown", None)
    if shutdown is not None:
        shutdown()
