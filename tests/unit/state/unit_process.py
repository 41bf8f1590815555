"""Runs one unit in this process, as told on standard input; the result goes to standard output as JSON."""

from __future__ import annotations

import contextlib
import io
import linecache
import sys
import traceback
from typing import Any

import msgspec

from nbkube.state.model import OutputRef
from nbkube.state.namespace import Namespace, install_main
from nbkube.state.process import Start, capture_process, restore_process, restore_random
from nbkube.state.publish import publish
from nbkube.storage import open_store


class Order(msgspec.Struct):
    store: str
    cells: list[str]
    bindings: dict[str, OutputRef] = {}
    replay: str = ""
    root: str = ""
    seeded: bool = False
    shell: bool = False
    filename: str = ""


class Answer(msgspec.Struct):
    outputs: dict[str, OutputRef] = {}
    touched: tuple[str, ...] = ()
    reads: dict[str, str] = {}
    stdout: str = ""
    error: str = ""


def run_cell(source: str, number: int, namespace: dict[str, Any], filename: str) -> None:
    name = f"{filename}<cell {number} {abs(hash(source))}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    exec(compile(source, name, "exec", dont_inherit=True), namespace)


def run_shell_cell(shell: Any, source: str) -> None:
    result = shell.run_cell(source)
    if not result.success:
        raise result.error_in_exec or result.error_before_exec


def main() -> None:
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    answer = Answer()
    namespace = Namespace(order.bindings, open_store(order.store), root=order.root)
    module = install_main(namespace)
    shell: Any = None
    if order.shell:
        from IPython.core.interactiveshell import InteractiveShell

        shell = InteractiveShell.instance(user_module=module, user_ns=namespace)
        shell.history_manager.enabled = False
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            start = Start.now(order.root)
            restore_process(namespace, start, replayed=True)
            if order.replay:
                exec(compile(order.replay, "<replay>", "exec", dont_inherit=True), namespace)
            namespace.settle()
            restore_random(namespace, start, seeded=order.seeded)
            for number, source in enumerate(order.cells):
                if shell is not None:
                    run_shell_cell(shell, source)
                else:
                    run_cell(source, number, namespace, order.filename)
            extra = capture_process(namespace, start, seeded=order.seeded)
            published = publish(namespace, extra=extra)
            answer.outputs, answer.touched = published.outputs, published.touched
        except BaseException:  # noqa: BLE001 - everything goes to the test
            answer.error = traceback.format_exc()
    answer.reads, answer.stdout = namespace.reads, out.getvalue()
    sys.__stdout__.buffer.write(msgspec.json.encode(answer))  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
