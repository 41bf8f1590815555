"""The template of a run: a process that has run the statements which all steps begin with, and is forked for each.

It does what a step does before its cells, in a workspace of the project's files shown at the project's own path, but
without any value of an earlier step. A forked process moves to the workspace of its step and goes on from there; for
the cells nothing tells it from a process started anew. What cannot be inherited makes the template useless, and it says
so: threads beyond those that importing libraries has started (a child could wait for ever for a lock that one of them
held), processes, devices of CUDA, tasks of an event loop.

Messages from the parent: {"op": "open"} with an `Opening`, {"op": "replay"} with statements,
{"op": "fork"} with five descriptors: control and watch sockets of the step, its three standard streams. Answers, but to
the last: {"ready": true, "looked": …}, or {"over": reason}, the last of all.
"""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Sequence
from typing import NoReturn

from nbkube.decoding import from_plain
from nbkube.runtime import cgroups, kernel
from nbkube.runtime.bytecode import keep_out_of_projects
from nbkube.runtime.channel import Channel
from nbkube.runtime.databases import KINDS, keep_to
from nbkube.runtime.isolation import Place, can_be_shown, enter, show
from nbkube.runtime.packets import receive, send
from nbkube.runtime.program import Opening, ReplayProgram, StepTask
from nbkube.runtime.watcher import split_off
from nbkube.runtime.worker import SHELL_FOLDER, Worker, failures_told, finish, run_in, tell_start


class _OverError(Exception):
    """Nothing may be forked from this process any more."""


def serve(control: socket.socket, parent: int) -> NoReturn:
    """Answer the parent until it closes the socket or ends."""
    kernel.end_with_parent(signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    try:
        _Template(control).run()
    except _OverError as over:
        with contextlib.suppress(OSError):
            send(control, {"over": str(over)})
    # Without the exit functions of libraries: they are for the steps.
    os._exit(0)


class _Template:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._channel = Channel()
        self._worker: Worker
        self._mounts = -1
        self._search = list(sys.path)
        self._threads = kernel.thread_count()
        self._steps: set[int] = set()
        self._sealed = False

    def run(self) -> None:
        """Answer messages; return when the parent has gone."""
        while True:
            message, descriptors = receive(self._control)
            if message is None:
                return
            if message["op"] == "fork":
                self._fork(descriptors, message["settle"], message["private"])
                continue
            if message["op"] == "open":
                self._open(from_plain(message["opening"], Opening))
            else:
                self._replay(from_plain(message["statements"], list[ReplayProgram]), message["filename"])
            send(self._control, {"ready": True, "looked": self._worker.looked()})

    # -- what is done once for all steps ---------------------------------------------------------------------------

    def _open(self, opening: Opening) -> None:
        """Show the template's workspace at the project's place, as a step does, and make the shell."""
        keep_out_of_projects()
        keep_to(os.environ.get(KINDS, ""))
        workspace, root = os.path.realpath(opening.workspace), os.path.realpath(opening.root)
        if not can_be_shown(workspace, root, opening.private) or not kernel.private_mounts():
            raise _OverError("this machine cannot show a workspace at the project's place")
        self._mounts = kernel.mount_table()
        if not kernel.another_mount_table():
            raise _OverError("this machine allows no further mount table")
        show(workspace, root, "", self._search)
        kernel.rest_powers()
        kernel.end_with_parent(signal.SIGKILL)
        self._channel.take_over_output()
        self._worker = Worker(self._channel, Place(root, opening.store, mounted=True), opening.cwd, opening.private)
        run_in(contextvars.copy_context(), self._worker.practise(os.path.join(opening.private, "practice")))
        self._worker.watch()

    def _replay(self, statements: Sequence[ReplayProgram], filename: str) -> None:
        """Run statements in the order of the notebook."""
        for one in statements:
            modules = set(self._worker.project_modules())
            failure, busy = run_in(self._worker.context, self._worker.run_ahead([one], filename))
            place = f"cell {one.cell}, line {one.line}"
            if failure is not None:
                raise _OverError(f"{place} fails before the steps that come first ({failure.type}: {failure.message})")
            if busy:
                raise _OverError(f"{place} starts a task that cannot be inherited")
            threads = kernel.thread_count()
            if one.kind in ("import", "future", "magic") and not set(self._worker.project_modules()) - modules:
                # Libraries see to it that the threads which they start when they are imported survive a fork; a magic
                # such as `%matplotlib` imports some, too.
                self._threads = threads
            self._check(f"{place} ")
        self._sealed = False

    def _check(self, what: str) -> None:
        """See to it that nothing is there which a fork would leave behind."""
        count = kernel.thread_count()
        if count != self._threads:
            raise _OverError(f"{what}has started threads, which cannot be inherited ({count} now, not {self._threads})")
        own = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
        if own:
            raise _OverError(f"{what}has started the thread {own[0]!r}, which cannot be inherited")
        self._reap()
        if set(kernel.children(os.getpid())) - self._steps:
            raise _OverError(f"{what}has started a process, which cannot be inherited")
        if kernel.holds_device("/dev/nvidia"):
            raise _OverError(f"{what}has opened a device of CUDA, which cannot be inherited")

    # -- forking ---------------------------------------------------------------------------------------------------

    def _fork(self, descriptors: Sequence[int], settle: float, private: str) -> None:
        try:
            self._check("a statement run beforehand ")
            if not self._sealed:
                self._worker.before_fork()
                self._sealed = True
            kernel.flush_all_c_files()
            with warnings.catch_warnings():
                # Later Pythons warn of threads, which have been looked at.
                warnings.simplefilter("ignore", DeprecationWarning)
                process = os.fork()
            if process == 0:
                self._become_step(descriptors, settle, private)
            self._steps.add(process)
            # Libraries may have ended threads of theirs for the fork.
            self._threads = kernel.thread_count()
        finally:
            for one in descriptors:
                os.close(one)

    def _become_step(self, descriptors: Sequence[int], settle: float, private: str) -> NoReturn:
        try:
            self._control.close()
            control, watch = (socket.socket(fileno=one) for one in descriptors[:2])
            for one, wanted in zip(descriptors[2:], (0, 1, 2), strict=True):
                os.dup2(one, wanted)
                os.close(one)
            for connection in (control, watch):
                connection.set_inheritable(False)
            os.setsid()
            split_off(watch, settle, private, control)
            self._channel.connect(control)
            self._serve_step()
        finally:
            os._exit(1)

    def _serve_step(self) -> None:
        channel, worker = self._channel, self._worker
        message = channel.receive()
        if message is None:
            return
        channel.mark_with(message["secret"])
        with failures_told(channel):
            task, private = from_plain(message["task"], StepTask), message["private"]
            cwd = os.getcwd()
            kernel.wake_powers()
            kernel.return_to(self._mounts)
            reason = worker.objection(task)
            if reason:
                channel.send({"event": "declined", "reason": reason})
                channel.receive()
                return
            cgroups.enter(task.memory_group)
            own = os.path.join(private, SHELL_FOLDER)
            os.mkdir(own)
            place = enter(task.workspace, task.root, task.store, private, self._search, (own, worker.shell_folder))
            worker.move(place, private, cwd)
            tell_start(channel, place)
            finish(worker, task)

    def _reap(self) -> None:
        """Let go of steps that have ended."""
        for process in list(self._steps):
            with contextlib.suppress(ChildProcessError):
                if os.waitpid(process, os.WNOHANG) == (0, 0):
                    continue
            self._steps.discard(process)
