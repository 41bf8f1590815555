"""Where Python may keep what it has compiled: beside installed modules, never beside those of a project.

Some installers leave compiling to the first import. A step that kept nothing would compile its libraries anew each
time: seconds for scikit-learn, most of a minute for TensorFlow.
"""

from __future__ import annotations

import os
import sys
from importlib.machinery import SourceFileLoader
from typing import Any

from nbkube.runtime.looks import library_folders


def keep_out_of_projects() -> None:
    """Let this process keep compiled modules in the folders of the interpreter and of installed distributions alone.

    Processes that it starts keep none. Nothing happens where this user may not write.
    """
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    if sys.flags.dont_write_bytecode:
        return  # the user wants none at all
    sys.dont_write_bytecode = False
    libraries = library_folders()
    keep = SourceFileLoader.set_data

    def set_data(self: SourceFileLoader, path: str, data: Any, *, _mode: int = 0o666) -> None:
        if path.startswith(libraries):
            keep(self, path, data, _mode=_mode)

    SourceFileLoader.set_data = set_data  # type: ignore[method-assign]
