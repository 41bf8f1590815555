"""The step process: runs the cells of a unit as a notebook would, publishes what they made, and reports."""

from __future__ import annotations

import asyncio
import bdb
import contextlib
import contextvars
import gc
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Coroutine, Iterator, Sequence
from types import TracebackType
from typing import Any, NoReturn, TypeVar

import msgspec

from nbkube.decoding import from_json, from_plain
from nbkube.errors import NbkubeError, StateError
from nbkube.runtime import cgroups
from nbkube.runtime.bytecode import keep_out_of_projects
from nbkube.runtime.channel import Channel
from nbkube.runtime.databases import KINDS, keep_to
from nbkube.runtime.isolation import Place, enter, folder_of
from nbkube.runtime.leaving import leave, open_files
from nbkube.runtime.observation import Observation
from nbkube.runtime.program import CellProgram, Failure, ReplayProgram, StepProgram, StepTask
from nbkube.runtime.shell import (
    InputRequestedError,
    count_from,
    is_place,
    make_shell,
    place_name,
    strip_ansi,
)
from nbkube.runtime.values import Values, reached
from nbkube.state.model import OutputRef
from nbkube.state.namespace import HoleError
from nbkube.state.reducers import plugins

T = TypeVar("T")

_THREADS_END = 30.0
_TASKS_END = 10.0
SHELL_FOLDER = "ipython"
"""Where IPython keeps its things, in the step's private folder."""


class Worker:
    """One step process, from its task to its result.

    Args:
        channel: leads to the attempt.
        place: what `enter` has returned.
        cwd: the notebook's folder, relative to the root.
        private: a folder of the step's own.
    """

    def __init__(self, channel: Channel, place: Place, cwd: str, private: str) -> None:
        self._channel = channel
        self.context = contextvars.copy_context()
        self.root = place.root
        folder = os.path.join(place.root, cwd)
        os.makedirs(folder, exist_ok=True)  # no file of it may be part of the workspace
        os.chdir(folder)
        sys.argv = ["ipykernel_launcher.py"]
        self._values = Values(place.store, place.root)
        self.shell_folder = os.path.join(private, SHELL_FOLDER)
        self._shell = make_shell(self._values.namespace, channel, self.shell_folder)
        self._observation = Observation(place.root, (private, *_machinery(place.store)), is_place)
        self._shell.unobserved = self._observation.paused
        self._done: tuple[ReplayProgram, ...] = ()
        self._open_files: list[Any] = []
        self._random: Any = None
        self._failure: Failure | None = None
        self._begun = False
        self._metrics: dict[str, Any] = {}
        self._units = 0
        self._skipped: list[int] = []
        self._module_files: tuple[str, ...] = ()

    def watch(self) -> None:
        """Record what happens from now on."""
        self._observation.start()
        # As in a kernel: modules beside the notebook are found in whatever folder is the current one.
        sys.path.insert(0, "")
        self._values.watch()

    async def serve(self, task: StepTask) -> None:
        """Run the task's unit, then whatever the parent asks for, until it asks for the result."""
        self._values.bind(task.bindings)
        await self._run_unit(task.program)
        while True:
            message = await self._next_message()
            if message is None:
                os._exit(1)
            if message["op"] == "finish":
                break
            program = from_plain(message["program"], StepProgram)
            self._values.rebind(from_plain(message["bindings"], dict[str, OutputRef]))
            os.environ.update(program.env)
            await self._run_unit(program)
        self._finish()

    # -- being forked ----------------------------------------------------------------------------------------------

    async def practise(self, folder: str) -> None:
        """Do once what takes long only the first time: read a task, run a cell, store a value (in this folder)."""
        program = StepProgram("", "", (CellProgram(0, 0, "", ""),), (ReplayProgram(""),))
        task = StepTask(program, "", {"": OutputRef("blob", "")}, "", "", "")
        from_json(msgspec.json.encode(task), StepTask)
        from_plain(msgspec.to_builtins(task), StepTask)
        await self._run("None", "practice", 1, history=False)
        self._values.practise(folder)
        self._values.namespace.reads.clear()

    async def run_ahead(self, statements: Sequence[ReplayProgram], filename: str) -> Failure | None:
        """Run statements that come before the cells of the steps to be forked from this process."""
        failure = await self._replay(statements, filename)
        self._done += tuple(statements)
        return failure

    def project_modules(self) -> list[str]:
        """Return the files of the project's own modules loaded so far."""
        with self._observation.paused():
            return self._observation.modules.files()

    def looked(self) -> dict[str, list[str]]:
        """Return what the statements run ahead looked at in the workspace."""
        return self._observation.looked()

    def before_fork(self) -> None:
        """Do what each forked process would do, and keep its collector from touching, so copying, all that is there."""
        self._random = self._values.before_fork()
        if self._done:
            with self._observation.paused():
                plugins()
        self._observation.modules.remember()
        gc.collect()
        self._open_files += [weakref.ref(one) for one in open_files()]
        gc.freeze()

    def objection(self, task: StepTask) -> str:
        """Tell why the statements run ahead do not suit a task; "" if they do."""
        if task.program.replay[: len(self._done)] != self._done:
            return "its statements before the cells are others"
        return self._values.objection(task.bindings, task.store) if self._done else ""

    def move(self, place: Place, private: str, cwd: str) -> None:
        """Go on as the step of a workspace, in a process forked for it."""
        os.chdir(cwd)
        self._observation.go_on((private, *_machinery(place.store)))
        with self._observation.paused():
            self._values.move(place.store)
        self._values.after_fork(self._random)

    async def _next_message(self) -> dict[str, Any] | None:
        """Wait for the parent without stopping the tasks that cells have started."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._channel.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._channel.fileno())
        return self._channel.receive()

    # -- running ---------------------------------------------------------------------------------------------------

    async def _run_unit(self, program: StepProgram) -> None:
        holes: dict[str, str] = {}
        self._failure = None if self._begun else await self._begin(program)
        holds = self._failure is None and self._holds(program)
        if holds:
            self._failure = await self._run_cells(program)
        if self._failure is None:
            await self._settle()
            try:
                holes = self._values.publish(program)
                if holds:
                    self._take_metrics(program)
            except NbkubeError as error:
                kind = "unstorable" if isinstance(error, StateError) else "internal"
                self._failure = Failure(kind, str(error), type=type(error).__name__)
        self._channel.flush_all()
        failure = msgspec.to_builtins(self._failure) if self._failure is not None else None
        self._channel.place({"event": "executed", "failure": failure, "holes": holes})

    def _holds(self, program: StepProgram) -> bool:
        """Tell whether the unit's condition holds, so that its cells are to run; it may also be what fails."""
        at, self._units = self._units, self._units + 1
        if not program.when:
            return True
        try:
            # Checked when the notebook was read: names, literals and operators, no call, no attribute.
            holds = bool(eval(program.when, {"__builtins__": {}}, self._values.namespace))
        except Exception as error:  # noqa: BLE001 - operators run code of the notebook's classes
            message = f"the condition {program.when} cannot be decided: {error}"
            cell = program.cells[0]
            self._failure = Failure("error", message, cell.number, cell.id, type=type(error).__name__)
            return False
        if not holds:
            self._skipped.append(at)
        return holds

    async def _begin(self, program: StepProgram) -> Failure | None:
        """Bring the process to where the cells begin. Later units of this process go on from where it then is."""
        self._begun = True
        self._values.prepare()
        left = program.replay[len(self._done) :]
        failure = await self._replay(left, program.filename) if left else None
        if failure is None:
            self._values.begin(self._shell, program)
        return failure

    async def _replay(self, statements: Sequence[ReplayProgram], filename: str) -> Failure | None:
        """Run the statements of earlier cells again; their output is dropped."""
        self._channel.place({"event": "replay", "state": "started"})
        try:
            for statement in statements:
                place = place_name(filename, statement.cell)
                error = await self._run(statement.source, f"{place} (again)", statement.line, history=False)
                if error is not None:
                    return self._describe(error, f"{place} (again)", statement.cell, "")
        finally:
            self._channel.flush_all()
            self._channel.place({"event": "replay", "state": "finished"})
        return None

    async def _run_cells(self, program: StepProgram) -> Failure | None:
        for cell in program.cells:
            self._channel.place({"event": "cell", "cell": cell.number, "state": "started"})
            started = time.monotonic()
            count_from(self._shell, cell.code_number)
            place = place_name(program.filename, cell.number)
            error = await self._run(cell.source, place, cell.first_line, history=True, cell_id=cell.id)
            if os.getpid() != self._observation.process:
                # A child that the cell forked has come out of the cell: it is no step.
                os._exit(0)
            # Tasks that the cell has started get their turn, as between two cells of a kernel.
            await asyncio.sleep(0)
            self._channel.flush_all()
            seconds = round(time.monotonic() - started, 6)
            state = "failed" if error is not None else "finished"
            self._channel.place({"event": "cell", "cell": cell.number, "state": state, "seconds": seconds})
            if error is not None and not cell.raises:
                return self._describe(error, place, cell.number, cell.id)
        return None

    async def _run(
        self, source: str, place: str, first_line: int, *, history: bool, cell_id: str = ""
    ) -> BaseException | None:
        """Run code that stands at a line of its cell; return what it raised."""
        shell = self._shell
        shell.compile.place, shell.compile.uses = place, 0
        shell.last_traceback = ""
        broken = None
        try:
            # The shell drops blank lines at the top; with them, line numbers are those of the cell.
            blank = len(source) - len(source.lstrip())
            transformed = "\n" * (max(first_line - 1, 0) + source.count("\n", 0, blank)) + shell.transform_cell(source)
        except Exception:  # noqa: BLE001 - the shell reports it as the cell's error
            transformed, broken = source, sys.exc_info()
        result = await shell.run_cell_async(
            source,
            store_history=history,
            transformed_cell=transformed,
            preprocessing_exc_tuple=broken,
            cell_id=cell_id or None,
        )
        shell.events.trigger("post_execute")
        shell.events.trigger("post_run_cell", result)
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        return error

    def _describe(self, error: BaseException, place: str, cell: int, cell_id: str) -> Failure:
        kind = "error"
        if isinstance(error, SystemExit):
            kind = "exit"
        elif isinstance(error, InputRequestedError):
            kind = "input"
        elif isinstance(error, HoleError):
            kind = "unstorable"
        message = str(error) or type(error).__name__
        if kind == "exit":
            message = f"the cell ended the process (exit status {error.code if isinstance(error, SystemExit) else 1})"
        return Failure(
            kind=kind,
            message=strip_ansi(message),
            cell=cell or None,
            cell_id=cell_id,
            line=_line_in(error, place),
            type=type(error).__name__,
            traceback=self._shell.last_traceback,
        )

    # -- ending ----------------------------------------------------------------------------------------------------

    async def _settle(self) -> None:
        """Let tasks and threads that the cells have started come to their end: what they change belongs to the step."""
        current = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not current]
        if tasks:
            await asyncio.wait(tasks, timeout=_TASKS_END)
        deadline = time.monotonic() + _THREADS_END
        pools = {
            *getattr(sys.modules.get("concurrent.futures.thread"), "_threads_queues", ()),
            *getattr(sys.modules.get("concurrent.futures.process"), "_threads_wakeups", ()),
        }
        for thread in threading.enumerate():
            # Threads of pools wait for work for ever; the interpreter ends them.
            if not thread.daemon and thread is not threading.main_thread() and thread not in pools:
                while thread.is_alive() and time.monotonic() < deadline:
                    thread.join(0.05)
                    await asyncio.sleep(0)

    def _take_metrics(self, program: StepProgram) -> None:
        for name in program.metrics:
            with contextlib.suppress(KeyError):
                self._metrics[name] = plain(self._values.namespace[name])

    def leave(self) -> NoReturn:
        """End the process."""
        leave(self._values.namespace, self._module_files, [one() for one in self._open_files])

    def _finish(self) -> None:
        self._observation.stop()
        result: dict[str, Any] = {"failure": self._failure, "metrics": self._metrics}
        result["skipped"] = tuple(self._skipped)
        self._observation.into(result)
        self._module_files = result["module_files"]
        self._values.into(result)
        self._channel.flush_all()
        self._channel.place({"event": "result", "result": msgspec.to_builtins(result)})


def _machinery(store: str) -> tuple[str, ...]:
    """Return the folders of nbkube and its store, which are no inputs of a step."""
    if not store.startswith("s3://"):
        return folder_of(store), os.path.dirname(__file__)
    from nbkube.storage.cache import cache_folder

    keys = os.environ.get("NBKUBE_S3_CREDENTIALS", "")
    return str(cache_folder()), keys and os.path.abspath(keys), os.path.dirname(__file__)


def plain(value: Any) -> Any:
    """Return a metric's value as JSON can hold it: numbers of libraries become plain ones, other things text."""
    if hasattr(value, "item") and getattr(value, "size", None) == 1:
        value = value.item()
    elif hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    return str(value)


def _line_in(error: BaseException, place: str) -> int | None:
    if isinstance(error, SyntaxError) and error.filename == place:
        return error.lineno
    found = None
    trace: TracebackType | None = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == place:
            found = trace.tb_lineno
        trace = trace.tb_next
    return found


def run(channel: Channel) -> None:
    """Serve one task from start to end, and leave; return only if there is none."""
    if "://" in (store := os.environ.get("NBKUBE_STORE", "")):
        reached(store)  # in a pod the task's store is known before the task
    message = channel.receive()
    if message is None:
        return
    keep_out_of_projects()
    keep_to(os.environ.get(KINDS, ""))
    channel.take_over_output()
    channel.mark_with(message["secret"])
    with failures_told(channel):
        task, private = from_plain(message["task"], StepTask), message["private"]
        cgroups.enter(task.memory_group)
        place = enter(task.workspace, task.root, task.store, private)
        tell_start(channel, place)
        worker = Worker(channel, place, task.cwd, private)
        worker.watch()
        finish(worker, task)


def tell_start(channel: Channel, place: Place) -> None:
    """Tell the parent that the process is ready."""
    said = {"mounted": place.mounted, "made": place.made, "root": place.root, "process": os.getpid()}
    channel.send({"event": "started", **said})


def finish(worker: Worker, task: StepTask) -> NoReturn:
    """Run a task to its end, and leave."""
    run_in(worker.context, worker.serve(task))
    worker.leave()


def run_in(context: contextvars.Context, work: Coroutine[Any, Any, T]) -> tuple[T, bool]:
    """Run work in a loop of its own, which no other process has; tell whether tasks are left that it has started.

    What it sets for its context (numpy's handling of errors, the precision of decimals) stays set in `context`.
    """
    loop = asyncio.SelectorEventLoop()
    result = loop.run_until_complete(loop.create_task(work, context=context))
    left = bool(asyncio.all_tasks(loop))
    if not left:
        loop.close()
    return result, left


@contextlib.contextmanager
def failures_told(channel: Channel) -> Iterator[None]:
    """Let the parent learn of whatever goes wrong, and end."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever it is
        failure = Failure("internal", f"{type(error).__name__}: {error}", traceback=traceback.format_exc())
        channel.place({"event": "executed", "failure": msgspec.to_builtins(failure), "holes": {}})
        os._exit(1)


# The shell imports it in the first cell; then it would count as something that the cell looks up.
_ = bdb
