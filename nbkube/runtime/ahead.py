"""Starting the process of a template, before or after anything else is known; imports next to nothing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping

INLINE = "module://matplotlib_inline.backend_inline"
PACKAGE_PLACE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def supported() -> bool:
    """Tell whether this system can fork steps from a template."""
    return sys.platform == "linux"


def environment_of(env: Mapping[str, str], hash_seed: str = "0") -> dict[str, str]:
    """Return the environment of a step process whose options set the variables `env`."""
    return {"MPLBACKEND": INLINE, **os.environ, **env, "PYTHONHASHSEED": hash_seed}


class TemplateProcess:
    """A process that imports what steps need, and then waits for what a template asks of it.

    It ends with the thread that has started it.

    Args:
        environment: its environment, and that of the steps forked from it.
        python: the interpreter.
    """

    def __init__(self, environment: Mapping[str, str], python: str = sys.executable) -> None:
        self.environment = dict(environment)
        self.python = python
        self.socket, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [python, "-m", "nbkube.runtime", "template", str(other.fileno()), str(os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Where this very package is found, whatever the interpreter has installed.
                cwd=PACKAGE_PLACE,
                env=self.environment,
                pass_fds=(other.fileno(),),
                start_new_session=True,
            )

    def kill(self) -> None:
        """Have the process ended; returns at once."""
        self._process.kill()

    def close(self) -> None:
        """End the process and let go of it; it may have been done before."""
        self._process.kill()
        self._process.wait()
        self.socket.close()


__all__ = ["INLINE", "TemplateProcess", "environment_of", "supported"]
