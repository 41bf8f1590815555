"""One attempt at a unit, as its parent sees it: workspace, process, events, files, result."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from nbkube.decoding import from_plain
from nbkube.runtime.connection import Connection
from nbkube.runtime.program import Failure, StepProgram, StepResult, StepTask
from nbkube.runtime.spawning import SETTLE, Ahead, StepProcess, environment_of, private_folder, spawn
from nbkube.runtime.template import Statements, Template, TemplateError
from nbkube.runtime.transcript import Transcript
from nbkube.state.model import FileDiff, FileReads, OutputRef
from nbkube.state.snapshot import FileView
from nbkube.state.workspace import Workspace, prepare
from nbkube.storage.model import ObjectStore

_START = 120.0
"""Seconds in which a process is ready even on a machine that has much to do."""

Event = dict[str, Any]


class Executed(msgspec.Struct, frozen=True):
    """How the cells of a unit ended; `holes`: names whose values could not be stored -> why."""

    failure: Failure | None
    holes: dict[str, str]


class Finished(msgspec.Struct, frozen=True):
    """What an attempt leaves when its last process has gone. `log`: digest of all it printed."""

    result: StepResult
    reads: FileReads
    diff: FileDiff
    log: str
    seconds: float
    mounted: bool


class Attempt:
    """One step process; used from one thread, `cancel` from any.

    Args:
        task: what to run and where.
        view: the files it is to see.
        store: where values and outputs go; the process opens it again by its URL.
        on_event: receives progress, in the thread that calls the methods.
        python: the interpreter.
        settle: seconds that processes left behind may take to end by themselves.
        warm: the template to fork the process from if it can be, and the statements worth waiting for; without one a
            new interpreter is started.
        ahead: a process that was started early, to be taken where it suits.
    """

    def __init__(
        self,
        task: StepTask,
        view: FileView,
        store: ObjectStore,
        on_event: Callable[[Event], None],
        *,
        python: str = sys.executable,
        settle: float = SETTLE,
        warm: tuple[Template, Statements] | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self._task = task
        self._view = view
        self._store = store
        self._on_event = on_event
        self._python = python
        self._settle = settle
        self._warm = warm
        self._ahead = None
        if ahead is not None and settle == SETTLE and ahead.environment == self._environment():
            self._ahead = ahead
        elif ahead is not None:
            ahead.close()
        self._forked = False
        self._secret = secrets.token_hex(16)
        self._inherited = FileReads()
        self._lock = threading.Lock()
        self._stopped: Failure | None = None
        self._connection: Connection | None = None
        self._failure: Failure | None = None
        self._private = Path(tempfile.gettempdir())
        self._started = 0.0
        self._workspace: Workspace | None = None
        self._closed = False

    def execute(self, timeout: float | None = None) -> Executed:
        """Prepare the workspace, run the unit, and store what it made; the process stays for `extend` or `finish`.

        Raises:
            StateError: the workspace cannot be prepared.
        """
        self._started = time.monotonic()
        self._private = self._ahead.private if self._ahead else private_folder()
        self._transcript = Transcript(self._on_event)
        self._transcript.expect(self._task.program.cells)
        self._transcript.begin(self._secret)
        # A process imports what it needs while the workspace is made.
        early = self._warm is None or self._warm[0].ready
        try:
            if early:
                self._connect()
            self._workspace = prepare(self._view, Path(self._task.workspace), self._store)
            if not early:
                self._connect()
        except BaseException:
            self.cancel()
            self._end()
            self._clear()
            raise
        if self._connection is None:
            self._transcript.close()
            return Executed(self._stopped, {})
        self._send_task()
        for finding in self._workspace.diagnostics[len(self._view.diagnostics) :]:
            self._on_event({"event": "warning", "message": str(finding)})
        self._on_event({"event": "started"})
        return self._await_executed(timeout)

    def extend(self, program: StepProgram, bindings: dict[str, OutputRef], timeout: float | None = None) -> Executed:
        """Run one more unit in the living process; names it has not loaded or bound come from `bindings` now."""
        assert self._connection is not None, "extend comes after execute"
        self._transcript.expect(program.cells)
        self._connection.send(
            {"op": "extend", "program": msgspec.to_builtins(program), "bindings": msgspec.to_builtins(bindings)}
        )
        return self._await_executed(timeout)

    def finish(self) -> Finished:
        """End the process, wait until nothing of it is left, and take what it made and what it did to its files.

        Raises:
            StorageError: outputs cannot be stored.
        """
        connection = self._connection
        if connection is None:
            self._clear()
            return Finished(StepResult(failure=self._stopped), FileReads(), FileDiff(), "", 0.0, mounted=False)
        try:
            connection.send({"op": "finish"})
            self._end()
            result = self._result()
            diff, reads = FileDiff(), FileReads()
            if self._stopped is None or self._stopped.kind != "cancelled":
                reads, diff = self._files(result)
            executed = self._store.put(self._transcript.notebook())
            log = self._store.put(self._transcript.log())
            return Finished(
                msgspec.structs.replace(
                    result,
                    executed=executed,
                    cpu_seconds=connection.cpu_seconds,
                    peak_memory=connection.peak_memory,
                    gpu_memory=connection.gpu.memory,
                    gpus=connection.gpu.count,
                ),
                reads,
                diff,
                log,
                time.monotonic() - self._started,
                bool(connection.started.get("mounted")),
            )
        finally:
            self._clear()

    def cancel(self, failure: Failure | None = None) -> None:
        """End the whole process group, or keep it from starting; returns at once, `execute` and `finish` follow."""
        with self._lock:
            if self._stopped is None:
                self._stopped = failure or Failure("cancelled", "the step was cancelled", exit_code=130)
            if self._connection is not None:
                self._connection.kill()
        if self._warm is not None:
            self._warm[0].wake()

    # -- the process -----------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Start the process, by a fork if possible, unless the attempt has been cancelled."""
        forked = self._fork()
        with self._lock:
            if forked is not None:
                self._connection = self._connection_to(forked)
            elif self._stopped is None:
                self._connection = self._start()
            if self._stopped is not None and self._connection is not None:
                self._connection.kill()

    def _fork(self) -> StepProcess | None:
        if self._warm is None:
            return None
        template, goal = self._warm
        environment = self._environment()
        options = (self._settle, str(self._private))
        try:
            process, self._inherited = template.fork(
                self._task.program, goal, self._view, environment, options, lambda: self._stopped is not None
            )
        except TemplateError as error:
            self._say_why(str(error))
            return None
        self._forked = True
        return process

    def _environment(self) -> dict[str, str]:
        return environment_of(self._task.program.env, self._task.hash_seed)

    def _start(self) -> Connection:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            return self._connection_to(ahead.process)
        return self._connection_to(
            spawn(
                [self._python, "-m", "nbkube.runtime"],
                self._environment(),
                [str(self._settle), str(self._private)],
            )
        )

    def _connection_to(self, process: StepProcess) -> Connection:
        return Connection(process, self._transcript, lambda size: self._on_event({"event": "memory", "bytes": size}))

    def _send_task(self) -> None:
        assert self._connection is not None
        task = msgspec.to_builtins(self._task)
        self._connection.send({"op": "task", "task": task, "secret": self._secret, "private": str(self._private)})

    def _await_start(self) -> None:
        """Wait until the process is ready; one that was forked and is of no use is replaced by a new interpreter."""
        assert self._connection is not None
        connection = self._connection
        connection.pump(lambda: bool(connection.started or connection.declined), time.monotonic() + _START)
        if not self._forked or connection.started:
            return
        assert self._warm is not None
        reason = connection.declined or self._warm[0].reason()
        with self._lock:
            if self._stopped is not None:
                return
            connection.drop()
            self._transcript.restart()
            shutil.rmtree(self._private, ignore_errors=True)  # the watcher that was dropped removes it, too
            self._private = private_folder()
            self._forked, self._inherited = False, FileReads()
            self._connection = connection = self._start()
        self._say_why(reason)
        self._send_task()
        connection.pump(lambda: bool(connection.started), time.monotonic() + _START)

    def _say_why(self, reason: str) -> None:
        if self._stopped is None:
            self._transcript.say(f"nbkube: this step has a new interpreter instead of a fork of a warm one: {reason}\n")

    def _await_executed(self, timeout: float | None) -> Executed:
        try:
            return self._executed(timeout)
        except BaseException:
            # The listener has failed or the person has: nothing may run on.
            if self._connection is not None:
                self._connection.kill()
                self._connection.abandon()
            self._clear()
            raise

    def _executed(self, timeout: float | None) -> Executed:
        self._await_start()
        assert self._connection is not None
        passed = self._transcript.passed
        # The step's time begins when its process is ready, however busy the machine is.
        deadline = None if timeout is None else time.monotonic() + timeout
        if not self._connection.pump(lambda: bool(passed), deadline):
            cell = self._transcript.cell
            self.cancel(
                Failure(
                    "timeout",
                    f"the step took longer than {timeout:g} seconds",
                    cell=cell.number if cell else None,
                    cell_id=cell.id if cell else "",
                    exit_code=124,
                )
            )
            self._connection.pump(lambda: False, None)
        if not passed or self._stopped is not None:
            self._end()
            self._failure = self._stopped or self._death()
            return Executed(self._failure, {})
        message = passed.popleft()
        if message["failure"] is not None:
            self._failure = from_plain(message["failure"], Failure)
        return Executed(self._failure, message["holes"])

    def _end(self) -> None:
        """Wait until no process is left."""
        if self._connection is None:
            self._closed = True
            return
        if not self._connection.ended:
            self._connection.pump(lambda: False, None)
        if not self._closed:
            self._closed = True
            self._connection.close()

    def _death(self) -> Failure:
        """Say how a process ended that did not answer any more."""
        assert self._connection is not None
        status, cell = self._connection.status, self._transcript.cell
        kind, code = "internal", 1
        if status is not None and status < 0:
            name = signal.Signals(-status).name
            hint = " (perhaps there was not enough memory)" if -status == signal.SIGKILL else ""
            kind, code, message = "killed", 128 - status, f"the process was ended by {name}{hint}"
        elif cell is not None:
            kind, message = "exit", f"the process ended with status {status} before the step had finished"
        else:
            message = f"the step process could not start (status {status}): {self._log_tail()}"
        return Failure(
            kind, message, cell=cell.number if cell else None, cell_id=cell.id if cell else "", exit_code=code
        )

    def _log_tail(self) -> str:
        text = b"".join(self._transcript.log()).decode("utf-8", "replace").strip()
        return text.rpartition("\n")[2]

    # -- the result ------------------------------------------------------------------------------------------------

    def _result(self) -> StepResult:
        for message in self._transcript.passed:
            if message["event"] == "result":
                result = from_plain(message["result"], StepResult)
                return msgspec.structs.replace(result, failure=self._stopped or self._failure)
        return StepResult(failure=self._stopped or self._failure or self._death())

    def _files(self, result: StepResult) -> tuple[FileReads, FileDiff]:
        assert self._connection is not None
        assert self._workspace is not None
        for made in self._connection.started.get("made", ()):
            # A step may have put files of its own beside a mounted folder.
            with contextlib.suppress(OSError):
                (self._workspace.target / made).rmdir()
        seen = self._workspace.observe(
            opened=(*result.opened, *result.module_files),
            listed=result.listed,
            missed=result.missed,
            written=result.replaced,
        )
        self._workspace.remove()  # the run's next workspace is made from it
        return seen[0].joined(self._inherited), seen[1]

    def _clear(self) -> None:
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None
        if self._started:
            self._transcript.discard()
            shutil.rmtree(self._private, ignore_errors=True)


__all__ = ["Attempt", "Executed", "Finished"]
