"""Cell and line magics: `%load_ext nbkube` gives `%%step` and `%nbkube`.

`%%step NAME --cpu 2 …` marks a cell as (part of) a step. In a kernel it checks its line and the cell then runs as if
the line were not there, so a notebook with steps still runs as a notebook.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from nbkube.errors import Diagnostic, Place

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_STEP_LINE = re.compile(r"%%step(?=\s|$)(.*)")
_OF_A_NOTEBOOK = ("show", "check", "suggest", "tag", "run", "trace", "verify")


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Add the magics to a shell (`%load_ext nbkube`); doing it twice changes nothing."""
    shell.register_magic_function(_step_magic, "cell", "step")
    shell.register_magic_function(_nbkube_magic, "line", "nbkube")
    shell.register_magic_function(_replayed_magic, "cell", "replayed")
    from nbkube.kernel_profile import follow_profile

    follow_profile()
    # Taking the line off before IPython looks for magics gives the cell all it has without the line: await, display
    # of the last value, Out, the lines of tracebacks, and another cell magic below it.
    transforms = shell.input_transformer_manager.cleanup_transforms
    if _without_step_line not in transforms:
        transforms.append(_without_step_line)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magics away again (`%unload_ext nbkube`)."""
    transforms = shell.input_transformer_manager.cleanup_transforms
    if _without_step_line in transforms:
        transforms.remove(_without_step_line)
    shell.magics_manager.magics["cell"].pop("step", None)
    shell.magics_manager.magics["cell"].pop("replayed", None)
    shell.magics_manager.magics["line"].pop("nbkube", None)


def _without_step_line(lines: list[str]) -> list[str]:
    """Return a cell's lines without `%%step …`; a faulty line raises, so that the cell does not run."""
    match = _STEP_LINE.match(lines[0]) if lines else None
    if match is None:
        return lines
    _check_line(match.group(1).strip())
    if any(line.lstrip().startswith("%%") for line in lines[1:2]):
        return lines[1:]
    return ["\n", *lines[1:]]


def _check_line(line: str) -> None:
    from nbkube.notebook.names import BadNameError, step_name
    from nbkube.pipeline.options import merge, parse_magic

    place = Place("%%step")
    name, settings, faults = parse_magic(line, place)
    faults = [*faults, *merge(settings)[1]]
    if not name and not faults:
        faults.append(Diagnostic("error", "bad-magic", place, "the line names no step", "write %%step NAME"))
    try:
        if name:
            step_name(name)
    except BadNameError as error:
        faults.append(Diagnostic("error", "bad-name", place, str(error), error.hint))
    if faults:
        raise _usage_error("\n".join(str(one) for one in faults))


def _usage_error(message: str) -> Exception:
    from IPython.core.error import UsageError

    return UsageError(message)  # type: ignore[no-any-return]


def _step_magic(line: str, cell: str) -> None:
    """Mark the cell as part of a step of the pipeline, and run it.

    %%step NAME [--cpu 2] [--memory 4Gi] [--gpu 1] [--retries 2] [--timeout 1h] …
    """
    from IPython import get_ipython

    _check_line(line)
    shell = get_ipython()
    # Reached only where another magic calls this one; a cell that starts with the line was transformed before.
    shell.run_cell(cell, store_history=False).raise_error()


def _replayed_magic(line: str, cell: str) -> None:
    """Leave the cell alone: the first cell of an opened step has run it."""
    import sys

    sys.stderr.write("Run already by the first cell. Take the line %%replayed away to run it again.\n")


def _nbkube_magic(line: str) -> None:
    """Run a command of nbkube on this notebook: `%nbkube show`, `%nbkube check`, `%nbkube run -p rate=0.1`."""
    import shlex

    from nbkube import rich
    from nbkube.cli import kernel, main

    try:
        words = shlex.split(line)
    except ValueError as error:
        raise _usage_error(f"%nbkube: {error}. Fix: close the quote.") from None
    try:
        if kernel.is_for_kernel(words):
            kernel.main(_with_notebook(words))
        elif rich.can_be_rich(words) and _in_a_kernel():
            rich.show(_with_notebook(words), main)
        else:
            main(_with_notebook(words))
    except SystemExit as end:
        if end.code not in (None, 0):
            raise _usage_error(f"%nbkube {words[0] if words else ''} ended with exit code {end.code}") from None


def _in_a_kernel() -> bool:
    """Tell whether a front end takes more than text."""
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def _with_notebook(words: list[str]) -> list[str]:
    """Add this notebook's path after a command that wants one and got none."""
    if not words or words[0] not in _OF_A_NOTEBOOK or any(word.endswith((".ipynb", ".py")) for word in words[1:]):
        return words or ["--help"]
    if "--help" in words:
        return words
    path = _notebook_path()
    if not path:
        raise _usage_error(f"%nbkube {words[0]}: this notebook's file is not known. Fix: write its path after it.")
    return [words[0], path, *words[1:]]


def _notebook_path() -> str:
    """Return the file of the running notebook, as Jupyter and VS Code tell it, or ""."""
    from IPython import get_ipython

    namespace: dict[str, Any] = getattr(get_ipython(), "user_ns", {})
    for path in (namespace.get("__vsc_ipynb_file__"), os.environ.get("JPY_SESSION_NAME")):
        if isinstance(path, str) and path.endswith(".ipynb"):
            return path
    return ""
