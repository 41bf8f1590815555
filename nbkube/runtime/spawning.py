"""Starting a step process. Light: a pod starts one before it loads anything else."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

PACKAGE_PLACE = Path(__file__).parents[2]

SETTLE = 30.0
"""Seconds that processes which a step has started may run on after its good end."""

INLINE = "module://matplotlib_inline.backend_inline"


def supported() -> bool:
    """Tell whether this system can fork steps from a template."""
    return sys.platform == "linux"


class Started(Protocol):
    """A child process of this one."""

    def wait(self) -> int:
        """Wait for its end; return its exit status, or minus the signal."""


@dataclass(frozen=True)
class StepProcess:
    """A step process and its watcher as the parent holds them: two sockets, two pipes, and how to wait for the end.

    `started` is the process that was started for it, None for one that a template has forked.
    """

    control: socket.socket
    watch: socket.socket
    stdout: IO[bytes]
    stderr: IO[bytes]
    started: Started | None = None

    def wait(self) -> int | None:
        """Wait until the watcher has gone; return its exit status if it can be known."""
        return None if self.started is None else self.started.wait()

    def close(self) -> None:
        """Let go of sockets and pipes; a process that was started for it is waited for."""
        self.control.close()
        self.watch.close()
        self.wait()
        self.stdout.close()
        self.stderr.close()


def spawn(command: Sequence[str], environment: Mapping[str, str], options: Sequence[str]) -> StepProcess:
    """Start a step process as a new interpreter.

    Args:
        command: the interpreter and its options, up to the module's arguments.
        environment: the process's environment.
        options: the seconds that processes left behind may take to end by themselves, and the step's private folder.
    """
    own_control, control = socket.socketpair()
    own_watch, watch = socket.socketpair()
    with control, watch:
        process = subprocess.Popen(
            [*command, str(control.fileno()), str(watch.fileno()), *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Where this very package is found, whatever the interpreter has installed.
            cwd=PACKAGE_PLACE,
            env=dict(environment),
            pass_fds=(control.fileno(), watch.fileno()),
            start_new_session=True,
        )
    assert process.stdout is not None
    assert process.stderr is not None
    return StepProcess(own_control, own_watch, process.stdout, process.stderr, process)


class _Branch:
    """A process that this one has forked."""

    def __init__(self, process: int) -> None:
        self._process = process
        self._status: int | None = None

    def wait(self) -> int:
        """Wait for its end; return its exit status, or minus the signal."""
        if self._status is None:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._process, 0)[1])
        return self._status


def branch_off(private: Path) -> StepProcess:
    """Start a step process as a fork of this one, which has one thread and hardly begun.

    Args:
        private: the step's private folder.
    """
    own_control, control = socket.socketpair()
    own_watch, watch = socket.socketpair()
    out, err = os.pipe(), os.pipe()
    process = os.fork()
    if process == 0:
        try:
            own_control.close()
            own_watch.close()
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for number, descriptor in enumerate((nothing, out[1], err[1])):
                os.dup2(descriptor, number)
            for descriptor in (nothing, *out, *err):
                os.close(descriptor)
            from nbkube.runtime.beginning import be_step

            be_step(control, watch, SETTLE, str(private))
        except BaseException:  # noqa: BLE001 - the parent shows it as what the step has said
            import traceback

            traceback.print_exc()
        finally:
            os._exit(1)
    control.close()
    watch.close()
    os.close(out[1])
    os.close(err[1])
    return StepProcess(own_control, own_watch, open(out[0], "rb"), open(err[0], "rb"), _Branch(process))


def environment_of(env: Mapping[str, str], hash_seed: str = "0") -> dict[str, str]:
    """Return the environment of a step process whose options set the variables `env`."""
    return {"MPLBACKEND": INLINE, **os.environ, **env, "PYTHONHASHSEED": hash_seed}


def private_folder() -> Path:
    """Make a folder of a step's own."""
    return Path(tempfile.mkdtemp(prefix="nbkube-"))


class Ahead:
    """A step process that was started before anybody knew what it will run: it loads what every step needs.

    It is of use for a step that sets no environment variables of its own. Where this interpreter hashes as steps do it
    is a fork, which need not start an interpreter and import once more what is here.
    """

    def __init__(self) -> None:
        self.environment = environment_of({})
        self.private = private_folder()
        if supported() and os.environ.get("PYTHONHASHSEED") == self.environment["PYTHONHASHSEED"]:
            os.environ.update(self.environment)
            self.process = branch_off(self.private)
        else:
            command = [sys.executable, "-m", "nbkube.runtime"]
            self.process = spawn(command, self.environment, [str(SETTLE), str(self.private)])

    def close(self) -> None:
        """End the process, which nobody needs."""
        with contextlib.suppress(OSError):
            self.process.watch.send(b"K")
        self.process.close()
        shutil.rmtree(self.private, ignore_errors=True)


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
