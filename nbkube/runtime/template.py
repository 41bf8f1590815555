"""The parent's side of a run's template: it starts the process, has it run ahead, and has steps forked from it."""

from __future__ import annotations

import contextlib
import importlib.machinery
import os
import select
import shutil
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from nbkube.errors import NbkubeError
from nbkube.runtime.packets import PIECE, receive, send
from nbkube.runtime.program import Opening, ReplayProgram, StepProgram
from nbkube.runtime.spawning import StepProcess, TemplateProcess
from nbkube.state.model import FileReads
from nbkube.state.proof import matches
from nbkube.state.snapshot import FileView, Node
from nbkube.state.workspace import Workspace, prepare, remove_tree
from nbkube.storage.model import ObjectStore

Statements = tuple[ReplayProgram, ...]

_PATIENCE = 120.0
_LAST_WORDS = 2.0
_ENDED = "the template process has ended"
_WHOLE = 1000
_SMALL = 1 << 20


class TemplateError(Exception):
    """A step cannot be forked; the message says why, in a clause that fits after "because"."""


class Template:
    """A template process; used from any thread.

    It holds the files of the project as they were at the start of the run, and must see none that a step would not.
    So its workspace may leave files out: a statement that missed one of them does not suit the steps that have it.

    Args:
        view: the project's files at the start of the run.
        folder: a folder that does not exist, for its workspace.
        store: where values lie.
        root: the project's folder.
        cwd: the notebook's folder, relative to it.
        filename: the notebook's path, relative to it.
        environment: the environment of the processes.
        python: the interpreter.
        process: one that has been started already, with the same environment and interpreter.
    """

    def __init__(
        self,
        view: FileView,
        folder: Path,
        store: ObjectStore,
        *,
        root: str,
        cwd: str,
        filename: str,
        environment: Mapping[str, str],
        python: str = sys.executable,
        process: TemplateProcess | None = None,
    ) -> None:
        self._view = for_modules(view)
        self._folder = folder
        self._private = ""
        self._store = store
        self._root, self._cwd, self._filename = root, cwd, filename
        self._environment = dict(environment)
        self._python = python
        self._changed = threading.Condition()
        self._poked, self._poker = os.pipe()
        self._process = process
        self._workspace: Workspace | None = None
        self._done: Statements = ()
        self._target: Statements = ()
        self._idle = False
        self._over = ""
        self._reads = FileReads()
        # The process ends with the thread that has started it.
        self._thread = threading.Thread(target=self._live, name="template", daemon=True)
        self._thread.start()

    # -- what callers see ------------------------------------------------------------------------------------------

    def reach(self, statements: Statements) -> None:
        """Let the process run these statements, of which it has run the first already, when it has time."""
        with self._changed:
            if len(statements) > len(self._target) and statements[: len(self._target)] == self._target:
                self._target = statements
                self._poke()

    def fork(
        self,
        program: StepProgram,
        goal: Statements,
        view: FileView,
        environment: Mapping[str, str],
        options: tuple[float, str],
        cancelled: Callable[[], bool],
    ) -> tuple[StepProcess, FileReads]:
        """Return a process forked for a step, and what it has looked at of its workspace before.

        Args:
            program: the step.
            goal: the statements that it is worth waiting for.
            view: the files the step is to see.
            environment: the environment the step is to have.
            options: the seconds that processes left behind may take to end, and the step's private folder.
            cancelled: tells that nobody needs the process any more; see `wake`.

        Raises:
            TemplateError: it must be started in another way.
        """
        if dict(environment) != self._environment:
            raise TemplateError("its environment variables are others")
        with self._changed:
            self._changed.wait_for(
                lambda: self._over or cancelled() or (self._idle and len(self._done) >= len(goal)), _PATIENCE
            )
            if self._over or not self._idle:
                raise TemplateError(self._over or "the template process is busy")
            self._check(program, view)
            return self._send_fork(options), self._reads

    @property
    def ready(self) -> bool:
        """Whether a process can be forked without waiting."""
        return self._idle or bool(self._over)

    def reason(self) -> str:
        """Return why nothing can be forked any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._over, _LAST_WORDS)
            return self._over or _ENDED

    def wake(self) -> None:
        """Let those that wait for a process ask whether they still need it."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End the process and clear up; steps that have been forked and have begun go on."""
        with self._changed:
            self._over = self._over or "the run has ended"
            process = self._process
            self._poke()
        if process is not None:
            process.kill()
        self._thread.join()
        # Not with the process: a step that was forked before begins where it was, and mounts what is its own there.
        if self._private:
            shutil.rmtree(self._private, ignore_errors=True)
        remove_tree(self._folder)

    # -- forking ---------------------------------------------------------------------------------------------------

    def _check(self, program: StepProgram, view: FileView) -> None:
        if program.replay[: len(self._done)] != self._done:
            raise TemplateError("its statements before the cells are others")
        reason = matches(self._reads, view) if self._done else None
        if reason:
            raise TemplateError(f"{reason}, which a statement that comes before the cells has looked at")

    def _send_fork(self, options: tuple[float, str]) -> StepProcess:
        assert self._process is not None
        own_control, control = socket.socketpair()
        own_watch, watch = socket.socketpair()
        out, own_out = os.pipe()
        err, own_err = os.pipe()
        nothing = os.open(os.devnull, os.O_RDWR)
        step = StepProcess(own_control, own_watch, open(out, "rb", buffering=0), open(err, "rb", buffering=0))  # noqa: SIM115
        given = [control.fileno(), watch.fileno(), nothing, own_out, own_err]
        try:
            send(self._process.socket, {"op": "fork", "settle": options[0], "private": options[1]}, given)
        except OSError:
            step.close()
            raise TemplateError(_ENDED) from None
        finally:
            control.close()
            watch.close()
            for descriptor in (nothing, own_out, own_err):
                os.close(descriptor)
        return step

    # -- the process -----------------------------------------------------------------------------------------------

    def _live(self) -> None:
        try:
            self._private = tempfile.mkdtemp(prefix="nbkube-")
            self._open()
            while self._next():
                pass
        except (OSError, NbkubeError, TemplateError) as error:
            self._end(str(error))
        finally:
            self._end(_ENDED)
            with self._changed:
                if self._process is not None:
                    self._process.close()
                for one in (self._poked, self._poker):
                    os.close(one)
                self._poker = -1

    def _open(self) -> None:
        with self._changed:
            if self._over:
                return
            self._process = self._process or TemplateProcess(self._environment, self._python)
        # The process imports what it needs meanwhile.
        self._workspace = prepare(self._view, self._folder, self._store)
        opening = Opening(str(self._folder), self._root, self._cwd, self._store.url, self._private)
        self._ask({"op": "open", "opening": msgspec.to_builtins(opening)})
        self._be_idle((), FileReads())

    def _next(self) -> bool:
        """Wait for statements to run ahead, and have them run; False at the end."""
        left: Statements = ()
        while not left:
            ready, _, _ = select.select([self._own_socket().fileno(), self._poked], [], [])
            if self._own_socket().fileno() in ready:  # unasked, it only says that it is over
                self._answer()
            os.read(self._poked, 4096)
            with self._changed:
                if self._over:
                    return False
                left = self._target[len(self._done) :]
                self._idle = not left
        request = {"op": "replay", "statements": msgspec.to_builtins(left), "filename": self._filename}
        reads = self._looked(self._ask(request))
        self._be_idle(left, reads)
        return True

    def _be_idle(self, done: Statements, reads: FileReads) -> None:
        with self._changed:
            self._reads = reads
            self._done += done
            self._idle = True
            self._changed.notify_all()

    def _ask(self, message: Mapping[str, Any]) -> dict[str, list[str]]:
        """Return what the process has looked at so far. Raises `TemplateError` when it is over."""
        with contextlib.suppress(OSError):
            send(self._own_socket(), message)
        return self._answer()

    def _answer(self) -> dict[str, list[str]]:
        try:
            answer, _ = receive(self._own_socket())
        except OSError:
            answer = None
        if answer is None:
            raise TemplateError(_ENDED)
        if "over" in answer:
            raise TemplateError(answer["over"])
        looked: dict[str, list[str]] = answer["looked"]
        return looked

    def _own_socket(self) -> socket.socket:
        if self._process is None:
            raise TemplateError(self._over or _ENDED)
        return self._process.socket

    def _looked(self, looked: Mapping[str, Sequence[str]]) -> FileReads:
        """Return what the statements saw of the project. Raises `TemplateError` if they have changed something."""
        assert self._workspace is not None
        reads, diff = self._workspace.observe(
            opened=looked["opened"], missed=looked["missed"], written=looked["written"]
        )
        changed = [*(entry.path for entry in diff.changed), *diff.removed]
        if changed:
            raise TemplateError(f"a statement that comes before the cells changes {changed[0]}")
        return reads

    def _poke(self) -> None:
        """Let everybody look at what has changed; the condition is held."""
        if self._poker >= 0:
            os.write(self._poker, b"x")
        self._changed.notify_all()

    def _end(self, reason: str) -> None:
        with self._changed:
            self._over = self._over or reason
            self._changed.notify_all()


def for_modules(view: FileView) -> FileView:
    """Return the part of a view that imports need: its modules, or all small files where there are few."""
    suffixes = tuple(importlib.machinery.all_suffixes())
    few = len(view.nodes) <= _WHOLE

    def wanted(path: str, node: Node) -> bool:
        return node.kind != "file" or path.endswith(suffixes) or (few and node.size <= _SMALL)

    return view.only(wanted)


def shared_beginning(replays: Sequence[Statements]) -> list[Statements]:
    """Return for each position the statements with which all lists from there on begin.

    It ends before the first statement that needs values of the notebook.
    """
    shared: list[Statements] = []
    for one in reversed(replays):
        count = next((at for at, statement in enumerate(one) if statement.needs or _is_large(statement)), len(one))
        if shared:
            pairs = zip(one, shared[-1], strict=False)
            same = next((at for at, (left, right) in enumerate(pairs) if left != right), len(shared[-1]))
            count = min(count, same, len(shared[-1]))
        shared.append(one[:count])
    return shared[::-1]


def _is_large(statement: ReplayProgram) -> bool:
    return len(statement.source) > PIECE


__all__ = ["Template", "TemplateError", "for_modules", "shared_beginning"]
