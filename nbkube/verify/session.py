"""The notebook itself, run from top to bottom by a real kernel in a copy of the project."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from nbkube.decoding import from_json
from nbkube.errors import RunError
from nbkube.runtime.isolation import Place
from nbkube.runtime.program import CellProgram, Failure, StepProgram
from nbkube.state.snapshot import FileView, snapshot
from nbkube.state.workspace import prepare
from nbkube.storage.model import ObjectStore

_KERNEL = "nbkube-verify"


class Session:
    """A living kernel in a copy of the project; a context manager, and the copy outlives the kernel within it.

    Args:
        files: the project's files.
        cwd: the notebook's folder, relative to the project.
        folder: an empty folder of this session's own, outside the project.
        store: where values are exchanged.
        environment: environment variables of the kernel.
    """

    def __init__(
        self, files: FileView, cwd: str, folder: Path, store: ObjectStore, environment: Mapping[str, str]
    ) -> None:
        self._files = files
        self._cwd = cwd
        self._folder = folder
        self._store = store
        self._environment = dict(environment)
        self._open = ExitStack()
        self._client: Any = None
        self._asked = 0
        self.seconds = 0.0

    def __enter__(self) -> Session:
        import nbformat
        from nbclient import NotebookClient

        copy = self._folder / "project"
        prepare(self._files, copy, self._store)
        notebook = nbformat.v4.new_notebook()
        self._client = NotebookClient(notebook, km=self._kernel(), timeout=None, startup_timeout=120)
        # The kernel starts at the project's own path; the launcher goes to the copy that is shown there.
        log = self._open.enter_context((self._folder / "kernel.log").open("wb"))
        place = str(self._files.root)
        start = self._client.setup_kernel(cleanup_kc=True, cwd=place, env=self._environment, stdout=log, stderr=log)
        try:
            self._open.enter_context(start)
        except (RuntimeError, TimeoutError) as error:
            self._open.close()
            raise RunError(f"The notebook's kernel did not start: {self._last_words() or error}") from error
        return self

    def _last_words(self) -> str:
        text = (self._folder / "kernel.log").read_text(encoding="utf-8", errors="replace")
        return text.strip().rpartition("\n")[2]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the kernel, if it still lives."""
        self._open.close()

    def run(self, programs: Sequence[StepProgram], tell: Callable[[int], None]) -> Failure | None:
        """Execute all cells until one fails; `tell` is given the number of each before it runs.

        The options `env` and `when` of a step hold for its cells here as they do in the pipeline.
        """
        began = time.monotonic()
        try:
            for program in programs:
                failure = self._run_unit(program, tell)
                if failure is not None:
                    return failure
            return None
        finally:
            self.seconds = time.monotonic() - began

    def _run_unit(self, program: StepProgram, tell: Callable[[int], None]) -> Failure | None:
        if program.env:
            self.ask("environment", program.env)
        cells = program.cells if not program.when or self.ask("holds", program.when) else ()
        for cell in cells:
            tell(cell.number)
            failure = self._execute(cell)
            if failure is not None:
                return failure
        if program.env:
            self.ask("environment", {})
        return None

    def ask(self, question: str, request: Any) -> Any:
        """Have `nbkube.verify.inside` answer a question in the kernel's process; return its answer."""
        self._asked += 1
        order, reply = (self._folder / f"{self._asked}-{part}.json" for part in ("question", "answer"))
        order.write_bytes(msgspec.json.encode({"root": self.place().root, "request": request}))
        code = (
            "__import__('importlib').import_module('nbkube.verify.inside')"
            f".answer({question!r}, {str(order)!r}, {str(reply)!r})"
        )
        failure = self._execute(CellProgram(0, 0, "", code), silent=True)
        if failure is not None:
            raise RunError(f"The comparison itself failed: {failure.type}: {failure.message}\n{failure.traceback}")
        return msgspec.json.decode(reply.read_bytes())

    def place(self) -> Place:
        """Return where the kernel sees the project."""
        return from_json((self._folder / "place.json").read_bytes(), Place)

    def files(self) -> FileView:
        """Return the files of the copy as they are now; call it after `close`, so that everything is written."""
        copy = self._folder / "project"
        for made in self.place().made:
            (copy / made).rmdir()
        return snapshot(copy)

    def _kernel(self) -> Any:
        from jupyter_client.kernelspec import KernelSpecManager
        from jupyter_client.manager import AsyncKernelManager

        hold, specs = self._folder / "hold", self._folder / "kernels"
        hold.mkdir()
        (specs / _KERNEL).mkdir(parents=True)
        order = {
            "workspace": str(self._folder / "project"),
            "root": str(self._files.root),
            "cwd": self._cwd,
            "store": self._store.url,
            "hold": str(hold),
            "place": str(self._folder / "place.json"),
        }
        (self._folder / "order.json").write_bytes(msgspec.json.encode(order))
        arguments = [sys.executable, "-m", "nbkube.verify.launch", str(self._folder / "order.json")]
        arguments += ["-f", "{connection_file}", "--HistoryManager.hist_file=:memory:"]
        spec = {"argv": arguments, "display_name": "Python", "language": "python"}
        (specs / _KERNEL / "kernel.json").write_bytes(msgspec.json.encode(spec))
        manager = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
        kernel = AsyncKernelManager(kernel_name=_KERNEL, kernel_spec_manager=manager)
        kernel.connection_file = str(self._folder / "connection.json")
        kernel.transport, kernel.ip = "ipc", str(self._folder / "ipc")
        return kernel

    def _execute(self, cell: CellProgram, *, silent: bool = False) -> Failure | None:
        import nbformat
        from nbclient.exceptions import CellExecutionError, DeadKernelError

        tags = ["raises-exception"] if cell.raises else []
        node = nbformat.v4.new_code_cell(cell.source, metadata={"tags": tags})
        self._client.nb.cells.append(node)
        try:
            self._client.execute_cell(node, len(self._client.nb.cells) - 1, store_history=not silent)
        except CellExecutionError as error:
            return Failure("error", str(error.evalue), cell.number, cell.id, None, error.ename, str(error.traceback))
        except DeadKernelError:
            return Failure("killed", "the kernel died", cell.number, cell.id, exit_code=137)
        finally:
            # Outputs may be large and are not compared.
            node.outputs = []
        return None


def kernel_environment(hash_seed: str = "0") -> dict[str, str]:
    """Return the environment of the notebook's kernel: this process's, with what the steps of a run get too."""
    # Modules must be found from wherever the kernel starts.
    paths = [os.path.abspath(one) for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONDONTWRITEBYTECODE": "1"}
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment


_Result = TypeVar("_Result")


def run_in_own_loop(work: Callable[[], _Result]) -> _Result:
    """Run work that uses nbclient where no event loop is running, also when the caller has one (a server, a kernel)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(work).result()
